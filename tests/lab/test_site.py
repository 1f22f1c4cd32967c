"""The parts of the lab's LuCI that need no browser: menu, catalogues, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.gateway import catalogue, menu
from lab.gateway.static import find

ENTRIES: dict[str, menu.Node] = {
    "admin": {"title": "Administration", "action": {"type": "firstchild"}},
    "admin/a": {"title": "A", "order": 20, "action": {"type": "view", "path": "a"}, "depends": {"acl": ["one"]}},
    "admin/b": {"title": "B", "order": 10, "action": {"type": "firstchild"}, "depends": {"uci": {"there": True}}},
    "admin/b/c": {"title": "C", "action": {"type": "view", "path": "c"}},
    "admin/d": {"title": "D", "order": 1, "action": {"type": "view", "path": "d"}, "firstchild_ineligible": True},
    "admin/e": {"title": "E", "action": {"type": "alias", "path": "admin/b/c"}},
}


def path_of(path: str, groups: menu.Groups, packages: tuple[str, ...] = ("there",)) -> tuple[str, bool] | None:
    root = menu.tree(ENTRIES, groups, lambda package, _: package in packages)
    found = menu.resolve(root, path.split("/") if path else [])
    return ("/".join(found.path), bool(found.node.get("readonly"))) if found else None


BOTH = {"one": ["read", "write"]}


@pytest.mark.parametrize(
    ("path", "groups", "found"),
    [
        ("", BOTH, ("admin/b/c", False)),
        ("admin/e", BOTH, ("admin/b/c", False)),
        ("admin/d", BOTH, ("admin/d", False)),
        ("admin/a", BOTH, ("admin/a", False)),
        ("admin/a", {"one": ["read"]}, ("admin/a", True)),
        ("admin/a", {}, None),
        ("admin/a/more", BOTH, None),
        ("admin/x", BOTH, None),
    ],
)
def test_menu(path: str, groups: menu.Groups, found: tuple[str, bool] | None) -> None:
    assert path_of(path, groups) == found


def test_menu_without_the_package() -> None:
    assert path_of("admin/b/c", BOTH, ()) is None
    assert path_of("", BOTH, ()) == ("admin/a", False)


PO = r"""
# a comment
msgid ""
msgstr "Language: fr\n"

#: somewhere
msgid "Hello \"you\"\n"
msgstr ""
"Bonjour "
"« toi »\n"

msgctxt "bytes"
msgid "Sent"
msgstr "Envoyés"

msgid "%d flow"
msgid_plural "%d flows"
msgstr[0] "%d flux"
msgstr[1] "%d flux (pl.)"

#, fuzzy
msgid "Not sure"
msgstr "Pas sûr"

msgid "Missing"
msgstr ""
"""


def test_catalogue(tmp_path: Path) -> None:
    file = tmp_path / "fr" / "dpi-dual.po"
    file.parent.mkdir()
    file.write_text(PO)
    assert catalogue.read(file) == {
        'Hello "you"\n': "Bonjour « toi »\n",
        "bytes\x04Sent": "Envoyés",
        "%d flow": ["%d flux", "%d flux (pl.)"],
    }
    assert catalogue.languages(tmp_path) == {"fr": file}


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("fr", "fr"),
        ("fr-CA,en;q=0.8", "fr"),
        ("it,de;q=0.5,fr;q=0.9", "fr"),
        ("en-US,fr;q=0.5", "en"),
        ("it", "en"),
        ("", "en"),
        ("fr;q=x,de", "de"),
        ("," * 5000, "en"),
    ],
)
def test_language(header: str, language: str) -> None:
    assert catalogue.best(header, {"fr": Path("fr"), "de": Path("de")}) == language


def test_files_lie_within_their_root(tmp_path: Path) -> None:
    first, second, outside = (tmp_path / name for name in ("first", "second", "outside"))
    for directory in (first, second, outside):
        (directory / "view").mkdir(parents=True)
        (directory / "view" / "a.js").write_text(directory.name)
    (second / "b.js").write_text("second")
    (second / "key.pem").write_text("secret")
    (second / "out.js").symlink_to(outside / "view" / "a.js")

    def text(name: str) -> Any:
        path = find(name, first, second)
        return path.read_text() if path else None

    assert text("view/a.js") == "first"
    assert text("b.js") == "second"
    for name in (
        "",
        "view",
        "view/",
        "key.pem",
        "out.js",
        "../outside/view/a.js",
        "view/../b.js",
        "/b.js",
        "b.js\0",
        "./b.js",
    ):
        assert text(name) is None, name
