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
