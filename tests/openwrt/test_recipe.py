"""The recipes: what they say is true, and the tree that they install is that of `make install`."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dpi_dual
from openwrt import recipe
from openwrt.__main__ import RECIPES

ROOT = Path(__file__).resolve().parents[2]

#: Which of OpenWrt's packages has which part of the standard library; what is not here is in python3-light.
SPLIT = {
    "python3-asyncio": {"asyncio"},
    "python3-ctypes": {"ctypes"},
    "python3-dbm": {"dbm"},
    "python3-decimal": {"decimal", "statistics", "fractions"},
    "python3-logging": {"logging"},
    "python3-lzma": {"lzma"},
    "python3-multiprocessing": {"multiprocessing"},
    "python3-ncurses": {"curses"},
    "python3-openssl": {"ssl"},
    "python3-pydoc": {"pydoc", "doctest"},
    "python3-readline": {"readline"},
    "python3-sqlite3": {"sqlite3"},
    "python3-unittest": {"unittest"},
    "python3-urllib": {"urllib", "email", "http"},
    "python3-uuid": {"uuid"},
    "python3-xml": {"xml", "xmlrpc"},
}
#: Packages of others.
OTHERS = {
    "jsonschema": "python3-jsonschema",
    "pyroute2": "python3-pyroute2",
    "ubus": "python3-ubus",
    "uci": "python3-uci",
}
#: Used when it is there.
OPTIONAL = {"orjson", "paho", "uciparse"}
#: The full rules run beside mitmproxy too.
BESIDE_MITMPROXY = {"libmodsecurity"}


def _imports(beside_mitmproxy: bool) -> set[str]:
    """Top-level names; with those of what runs beside mitmproxy, where pip brings what it needs, or without."""
    found: set[str] = set()
    for module in (ROOT / "lib/dpi_dual").rglob("*.py"):
        if not beside_mitmproxy and module.parent.name == "mitm":
            continue
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - {"dpi_dual"}


@pytest.fixture(params=sorted(RECIPES))
def facts(request: pytest.FixtureRequest) -> recipe.Recipe:
    return recipe.read(RECIPES[request.param], request.param)


def test_the_version_is_the_library_s(facts: recipe.Recipe) -> None:
    assert facts.version == dpi_dual.__version__
    assert facts.license == "GPL-3.0-only"
    assert facts.description


def test_every_import_has_its_package() -> None:
    depends = set(recipe.read(RECIPES["secubox-dpi-dual"], "secubox-dpi-dual").depends)
    imports = _imports(beside_mitmproxy=True)
    needed = {package for package, modules in SPLIT.items() if modules & imports}
    needed |= {package for module, package in OTHERS.items() if module in imports}
    assert needed <= depends
    strangers = (
        _imports(beside_mitmproxy=False) - set(sys.stdlib_module_names) - set(OTHERS) - OPTIONAL - BESIDE_MITMPROXY
    )
    assert not strangers, "nothing else is on a router"


def test_only_what_openwrt_has_is_depended_on(facts: recipe.Recipe) -> None:
    known = {*SPLIT, *OTHERS.values(), "python3-light", "python3-codecs", "netifyd", "luci-base", "secubox-dpi-dual"}
    for name in facts.depends:
        assert name in known or name.startswith("kmod-"), name


def test_host_names_need_the_codecs_package() -> None:
    """Resolving a name imports encodings.idna, and that unicodedata, which OpenWrt has in python3-codecs."""
    code = "import sys, encodings.idna; print('unicodedata' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-I", "-S", "-c", code], text=True) == "True\n"
    assert "python3-codecs" in recipe.read(RECIPES["secubox-dpi-dual"], "secubox-dpi-dual").depends


def test_what_a_recipe_lacks_is_named(tmp_path: Path) -> None:
    lame = tmp_path / "Makefile"
    lame.write_text("PKG_VERSION:=1\ndefine Package/x\n  TITLE:=X\nendef\n")
    with pytest.raises(ValueError, match="x has no DEPENDS"):
        recipe.read(lame, "x")


def test_scripts_are_shell_again(facts: recipe.Recipe) -> None:
    assert "postinst" in facts.scripts
    for text in facts.scripts.values():
        assert text.startswith("#!/bin/sh\n")
        assert "$$" not in text


# --- OpenWrt's build system


STUB = """
BuildPackage=$(eval staged:;$$(call Package/$(1)/install,$(OUT))) $(eval name:;@echo $(1) $(PKG_NAME) $(PKG_VERSION))
"""


@pytest.fixture
def topdir(tmp_path: Path) -> Path:
    """Just enough of a build system to expand a recipe."""
    (tmp_path / "include").mkdir()
    (tmp_path / "rules.mk").write_text(f"INCLUDE_DIR:={tmp_path}/include\nSTAGING_DIR_HOSTPKG:={tmp_path}/hostpkg\n")
    (tmp_path / "include/package.mk").write_text(STUB)
    (tmp_path / "hostpkg/bin").mkdir(parents=True)
    (tmp_path / "hostpkg/bin/python3").symlink_to(sys.executable)
    return tmp_path


def _make(topdir: Path, *goals: str, where: Path = ROOT / "openwrt/secubox-dpi-dual") -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "-C", str(where), f"TOPDIR={topdir}", f"OUT={topdir}/out", *goals]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _contents(root: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.stat().st_mode & 0o777, path.read_bytes()) for path in files}


def test_both_ways_into_the_recipe(topdir: Path) -> None:
    """A feed comes through openwrt/secubox-dpi-dual, a checkout below package/ directly."""
    version = dpi_dual.__version__
    for where in (ROOT, ROOT / "openwrt/secubox-dpi-dual"):
        assert _make(topdir, "name", where=where) == f"secubox-dpi-dual secubox-dpi-dual {version}\n"


def test_the_recipe_installs_the_tree_of_make_install(topdir: Path, tmp_path: Path) -> None:
    _make(topdir, "staged")
    environment = {**os.environ, "PYTHON": sys.executable, "BYTECODE_ONLY": "1"}
    ours, luci = tmp_path / "whole", tmp_path / "luci"
    for target, package in ((ours, "all"), (luci, "luci-app-dpi-dual")):
        given = {**environment, "DESTDIR": str(target), "PACKAGE": package}
        subprocess.run([ROOT / "install.sh"], env=given, capture_output=True, check=True)
    whole, pages, built = _contents(ours), _contents(luci), _contents(topdir / "out")
    assert not set(built) & set(pages)
    # LuCI's build makes packages of their own of the translations.
    assert built | pages == {name: file for name, file in whole.items() if not name.endswith(".lmo")}


def test_a_feed_finds_both_packages_and_nothing_else() -> None:
    """What `scripts/feeds` greps for; at the top of a feed it would take the line itself for a package's name."""
    signature = re.compile(r"call (Build/DefaultTargets|BuildPackage|KernelPackage)")
    listed = subprocess.run(["git", "ls-files", "*Makefile"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = {name for name in listed.stdout.split() if signature.search((ROOT / name).read_text())}
    assert found == {"luci-app-dpi-dual/Makefile", "openwrt/secubox-dpi-dual/Makefile"}
