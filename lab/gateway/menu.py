"""LuCI's menu out of `menu.d` files: which pages there are, who may see them, which one a path means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Node = dict[str, Any]
Groups = dict[str, list[str]]
#: True when a package of UCI, or one of its sections or options, is as a menu entry wants it.
UciCheck = Callable[[str, Any], bool]


@dataclass(frozen=True)
class Resolved:
    """What a path leads to: the node after all forwarding, the path of that node."""

    node: Node
    path: list[str]


def read(*directories: Path) -> dict[str, Node]:
    """The entries of all files, later ones adding to earlier ones of the same path."""
    entries: dict[str, Node] = {}
    for directory in directories:
        for file in sorted(directory.glob("*.json")):
            document = json.loads(file.read_text(encoding="utf-8"))
            for path, entry in document.items():
                entries[path] = {**entries.get(path, {}), **entry}
    return entries


def tree(entries: dict[str, Node], groups: Groups, uci: UciCheck) -> Node:
    """The menu as one user has it: `satisfied` and `readonly` on each node, a node being no more than its parent is."""
    root: Node = {"children": {}, "satisfied": True}
    for path in sorted(entries, key=lambda name: (name.count("/"), name)):
        node, inherited = root, root
        for name in path.split("/"):
            inherited = node
            node = node.setdefault("children", {}).setdefault(name, {"satisfied": True})
        entry = entries[path]
        depends = entry.get("depends", {})
        writable = _permission(depends.get("acl", []), groups)
        there = all(uci(package, wanted) for package, wanted in _pairs(depends.get("uci")))
        node.update({key: entry[key] for key in ("title", "order", "action", "firstchild_ineligible") if key in entry})
        node["satisfied"] = bool(inherited.get("satisfied")) and writable is not None and there
        if writable is False or inherited.get("readonly"):
            node["readonly"] = True
    return root


def _pairs(wanted: Any) -> Iterable[tuple[str, Any]]:
    for item in wanted if isinstance(wanted, list) else [wanted]:
        yield from item.items() if isinstance(item, dict) else ()


def _permission(required: list[str], groups: Groups) -> bool | None:
    """None: not allowed; False: reading only."""
    if not required:
        return True
    held = [groups.get(name, []) for name in required]
    if not all("read" in rights or "write" in rights for rights in held):
        return None
    return any("write" in rights for rights in held)


def resolve(root: Node, path: list[str]) -> Resolved | None:
    """Follows a path, then `firstchild` and `alias` entries to a page; None when there is none that one may see."""
    node = root
    for depth, name in enumerate(path):
        child = node.get("children", {}).get(name)
        if child is None or not child["satisfied"]:
            return None
        node = child
        action = node.get("action", {})
        if action.get("type") == "alias" and depth == len(path) - 1:
            return resolve(root, action["path"].split("/"))
    if node.get("action", {}).get("type", "firstchild") == "firstchild":
        return _first(node, path)
    return Resolved(node, path)


def _first(node: Node, path: list[str]) -> Resolved | None:
    """The first page below, by order; the preferred one before the others."""
    preferred = node.get("action", {}).get("preferred")
    children = sorted(
        node.get("children", {}).items(),
        key=lambda item: (item[0] != preferred, item[1].get("order", 1000), item[0]),
    )
    for name, child in children:
        if not child["satisfied"] or "title" not in child or child.get("firstchild_ineligible"):
            continue
        if child.get("action", {}).get("type") == "firstchild":
            found = _first(child, [*path, name])
            if found is not None:
                return found
        else:
            return Resolved(child, [*path, name])
    return None
