"""The owner's documents: what they quote is what the programs say, what they name is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from dpi_dual.schema.values import schema

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = ("install", "haproxy-crowdsec", "hardware", "upgrade", "privacy", "troubleshooting")


@cache
def _sayings() -> frozenset[str]:
    """Every text in the library and the shell scripts, with `…` for each part that varies."""
    found: set[str] = set()
    for module in (ROOT / "lib/dpi_dual").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    for script in (ROOT / "init.d/dpi-dual", ROOT / "lib/netifyd-setup.sh"):
        texts = re.findall(r'(?:logger|say) .*?"(.+)"', script.read_text())
        found |= {re.sub(r"\$\{[^}]*\}|\$\w+", "…", text) for text in texts}
    return frozenset(re.sub("…(?: …)+", "…", text) for text in found)


def _quoted() -> list[tuple[str, str]]:
    """`**`code`** — message` of the troubleshooting page; the line below is advice."""
    text = (DOCS / "troubleshooting.md").read_text()
    return re.findall(r"\*\*`(\w+)`\*\* — (.+)$", text, re.MULTILINE)


def test_the_page_quotes_enough() -> None:
    assert len(_quoted()) > 25


@pytest.mark.parametrize(("code", "message"), _quoted(), ids=[code for code, _ in _quoted()])
def test_every_message_quoted_is_said(code: str, message: str) -> None:
    assert code in _sayings(), f"nothing says {code}"
    if message.startswith(("in the log", "nobody can be banned:", "its local API")):
        return  # not a quotation
    # Joined texts (`"a" + b`) are said in pieces.
    said = any(message == text or (len(text) > 18 and text in message) for text in _sayings())
    assert said, f"nobody says: {message}"


@pytest.mark.parametrize(
    "message",
    [
        "mitm.manage is 1, but there is no mitmdump on this router: the MITM stream does not run",
        "an engine runs already (process …); stop it first: dpi-dualctl stop",
        "its interfaces were chosen by hand; for DPI Dual-Stream add: list internal_if '…'",
        "…: it does not; using the default",
    ],
)
def test_what_the_log_is_quoted_with_is_said(message: str) -> None:
    assert message in _sayings()
    page = (DOCS / "troubleshooting.md").read_text()
    assert max(message.split("…"), key=len) in page


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_named_exist(page: str) -> None:
    specs = schema()
    names = {option for spec in specs.values() for option in (spec.get("items") or spec)["properties"]}
    for section, option in re.findall(r"\bdpi-dual\.(\w+)\.(\w+)", (DOCS / f"{page}.md").read_text()):
        assert option in specs[section]["properties"], f"dpi-dual.{section}.{option}"
        assert option in names


@pytest.mark.parametrize("page", PAGES)
def test_files_of_ours_that_are_named_exist(page: str) -> None:
    installed = {
        "/etc/uci-defaults/60-dpi-dual": "uci-defaults/60-dpi-dual",
        "/etc/init.d/dpi-dual": "init.d/dpi-dual",
        "/etc/capabilities/dpi-dual.json": "openwrt/capabilities/dpi-dual.json",
    }
    text = (DOCS / f"{page}.md").read_text()
    for path in re.findall(r"/etc/(?:uci-defaults|init\.d|capabilities)/[\w.-]*dpi-dual[\w.-]*", text):
        assert (ROOT / installed[path.rstrip(".")]).is_file()


@pytest.mark.parametrize("page", PAGES)
def test_places_within_pages_exist(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([\w.-]*)#([\w-]+)\)", (DOCS / f"{page}.md").read_text()):
        text = (DOCS / (target or f"{page}.md")).read_text()
        anchors = {
            re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
            for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert anchor in anchors, f"{target}#{anchor}"
