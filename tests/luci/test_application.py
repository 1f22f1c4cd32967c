"""The LuCI application's files: menu, access rights, and what scripts and style sheets may not do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[2] / "luci-app-dpi-dual"
RESOURCES = APP / "htdocs/luci-static/resources"
MENUS = APP / "root/usr/share/luci/menu.d"
MENU = json.loads((MENUS / "luci-app-dpi-dual.json").read_text())
ACL = json.loads((APP / "root/usr/share/rpcd/acl.d/luci-app-dpi-dual.json").read_text())
SCRIPTS = sorted(RESOURCES.rglob("*.js"))
PAGES = ("overview", "timeline", "lan", "settings")

#: Of LuCI's own modules, those that scripts may ask for.
LUCI = {"baseclass", "dom", "form", "fs", "network", "poll", "request", "rpc", "tools.widgets", "uci", "ui", "view"}

FORBIDDEN = {
    r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser": "markup from text",
    r"\beval\(|\bnew Function\b|setTimeout\(\s*['\"`]": "code from text",
    r"#[0-9A-Fa-f]{3}(?:[0-9A-Fa-f]{3})?\b(?=['\";\s])|\brgba?\(|\bhsla?\(": "a colour that no theme can change",
    r"^\s*var ": "var",
    r"location\.reload": "a page that reloads itself",
    r"https?://(?!127\.0\.0\.1|www\.w3\.org/)[a-z]": "an address outside the router",
    r"console\.(?:log|debug)": "a message for developers",
}


def _code(path: Path) -> str:
    return re.sub(r"/\*.*?\*/|^\s*//[^\n]*", " ", path.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_keep_to_what_is_safe(script: Path) -> None:
    code = _code(script)
    for pattern, what in FORBIDDEN.items():
        found = re.search(pattern, code, re.MULTILINE)
        assert not found, f"{script.name}: {what}: {code[found.start() : found.start() + 60]!r}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_ask_for_modules_that_there_are(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("'use strict';\n")
    required = re.findall(r"^'require ([\w.-]+)(?: as (\w+))?';$", text, re.MULTILINE)
    assert required
    for module, name in required:
        ours = RESOURCES / (module.replace(".", "/") + ".js")
        assert module in LUCI or ours.is_file(), f"{script.name}: no module {module}"
        used = name or module.split(".")[-1]
        assert len(re.findall(rf"\b{used}\b", _code(script))) > 1, f"{script.name}: {module} is not used"


@pytest.mark.parametrize("sheet", sorted(RESOURCES.rglob("*.css")), ids=lambda path: path.name)
def test_colours_come_from_the_theme(sheet: Path) -> None:
    assert not re.search(r"#[0-9A-Fa-f]{3,8}\b|\brgba?\(|\bhsla?\(", sheet.read_text())


def test_every_view_of_the_menu_is_there() -> None:
    paths = {entry["action"].get("path") for entry in MENU.values()} - {None}
    assert paths == {f"dpi-dual/{page}" for page in PAGES}
    for path in paths:
        assert (RESOURCES / f"view/{path}.js").is_file(), path


def test_the_menu_works_alone_and_gives_way_to_others() -> None:
    """LuCI reads the files by name, a later one over earlier ones: whoever else describes `admin/secubox` is right."""
    first, *_ = sorted(path.name for path in MENUS.glob("*.json"))
    assert first < "a", "before any package's own file"
    assert json.loads((MENUS / first).read_text()) == {
        "admin/secubox": {"title": "SecuBox", "order": 45, "action": {"type": "firstchild", "recurse": True}}
    }
    assert "admin/secubox" not in MENU
    orders = [MENU[f"admin/secubox/dpi-dual/{page}"]["order"] for page in PAGES]
    assert orders == sorted(orders)


def test_the_pages_need_the_access_rights() -> None:
    assert MENU["admin/secubox/dpi-dual"]["depends"] == {"acl": list(ACL), "uci": {"dpi-dual": True}}


def test_secrets_can_be_written_and_never_read() -> None:
    (rights,) = ACL.values()
    assert rights["read"]["uci"] == ["dpi-dual"]
    assert sorted(rights["write"]["uci"]) == ["dpi-dual", "dpi-dual-secrets"]
    assert set(rights) == {"description", "read", "write"}
    for kind in ("read", "write"):
        assert set(rights[kind]) == {"ubus", "uci"}
        assert "*" not in json.dumps(rights[kind])


def test_pictures_of_the_documents_are_small() -> None:
    pictures = sorted((APP.parent / "docs/screenshots").glob("*.png"))
    assert {picture.stem for picture in pictures} == {
        f"{name}-{scheme}" for name in (*PAGES, "card") for scheme in ("light", "dark")
    }
    for picture in pictures:
        assert picture.stat().st_size <= 150_000, picture.name
