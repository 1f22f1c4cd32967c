"""The project about itself: README, schemas, access rights and code agree."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from dpi_dual.rpc.signatures import methods
from dpi_dual.schema.values import schema as uci_schema
from dpi_dual.schema.values import show

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
ACL = ROOT / "luci-app-dpi-dual/root/usr/share/rpcd/acl.d/luci-app-dpi-dual.json"


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\n") if name]


def test_every_row_of_the_readme_s_table_is_an_option_with_its_default() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+) \| `([^|`]+)` \|", README, re.MULTILINE)
    assert len(rows) >= 10
    specs = uci_schema()
    for section, option, default in rows:
        entry = specs[section]["properties"][option]
        assert show(entry.get("default", "")) == default.strip(), (section, option)


def test_the_readme_names_every_object() -> None:
    for obj in methods():
        assert obj in README


@pytest.mark.parametrize("obj", methods())
def test_access_rights_list_each_method_read_apart_from_write(obj: str) -> None:
    (rights,) = json.loads(ACL.read_text()).values()
    for name, method in methods()[obj].items():
        other = "read" if method.access == "write" else "write"
        assert name in rights[method.access]["ubus"].get(obj, []), f"{obj} {name} is not in {method.access}"
        assert name not in rights[other]["ubus"].get(obj, []), f"{obj} {name} is in {other} too"


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in _tracked("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^ {4})make ([a-z]+)", README, re.MULTILINE)) <= targets


def test_library_modules_say_what_they_do() -> None:
    for module in _tracked("lib/*.py"):
        first = module.read_text().lstrip().split("\n", 1)[0]
        assert first.startswith('"""'), module


#: Modules without a test of their own name, by the tests that run them: parts of one thing, and programs run as such.
TESTED_BY = {
    "tests/capture/test_agent.py": ("capture/session.py",),
    "tests/capture/test_flows.py": ("capture/tallies.py",),
    "tests/cli/test_command.py": ("cli/mitm.py", "cli/service.py", "cli/threats.py"),
    "tests/cli/test_local.py": ("cli/haproxy.py",),
    "tests/cli/test_programs.py": ("cli/collectors.py", "cli/duald.py", "cli/dualctl.py", "cli/watch.py"),
    "tests/cli/test_with_engine.py": ("cli/run.py",),
    "tests/correlation/test_bus.py": ("correlation/bus_process.py",),
    "tests/correlation/test_correlator.py": ("correlation/files.py", "correlation/notify.py", "correlation/store.py"),
    "tests/correlation/test_crowdsec.py": ("correlation/crowdsec_wire.py",),
    "tests/correlation/test_crowdsec_setup.py": ("cli/crowdsec.py",),
    "tests/correlation/test_flow_watch.py": ("correlation/events.py",),
    "tests/engine/test_service.py": ("capture/netifyd_agent.py",),
    "tests/export/test_exports.py": ("export/figures.py", "export/mqtt_process.py"),
    "tests/integration/test_mitm_proxy.py": (
        *("mitm/addon.py", "mitm/exchange.py", "mitm/feed.py", "mitm/options.py", "mitm/refusal.py", "mitm/resend.py"),
    ),
    "tests/luci/test_options.py": ("schema/luci.py",),
    "tests/mitm/test_analyser.py": ("mitm/analysis.py", "mitm/event.py", "mitm/queries.py"),
    "tests/mitm/test_anomaly.py": ("mitm/trees.py",),
    "tests/mitm/test_wire.py": ("mitm/record.py",),
    "tests/rest/test_cgi.py": ("rest/errors.py", "rest/request.py", "rest/routes.py", "rest/session.py"),
    "tests/rest/test_openapi.py": ("rest/markdown.py",),
    "tests/rpc/test_answers.py": ("rpc/dispatch.py", "rpc/lan.py", "rpc/status.py"),
    "tests/rpc/test_correlator.py": ("correlation/answers.py",),
    "tests/rpc/test_plugin.py": ("rpc/client.py", "rpc/offline.py"),
    "tests/test_http_post.py": ("http_post_process.py",),
    "tests/waf/test_crs.py": ("waf/core_rules.py",),
    "tests/waf/test_request.py": ("waf/body.py", "waf/values.py"),
    "tests/waf/test_signatures.py": ("waf/protocol.py", "waf/sqli.py", "waf/xss.py"),
}


def test_each_library_module_has_its_tests_where_they_are_looked_for() -> None:
    library = ROOT / "lib/dpi_dual"
    modules = {str(path.relative_to(library)) for path in _tracked("lib/*.py") if path.name != "__init__.py"}
    mirrored = {name for name in modules if (ROOT / "tests" / name).with_name(f"test_{Path(name).name}").exists()}
    elsewhere = [name for names in TESTED_BY.values() for name in names]
    assert sorted(elsewhere) == sorted(modules - mirrored)
    assert [name for name in TESTED_BY if not (ROOT / name).exists()] == []
