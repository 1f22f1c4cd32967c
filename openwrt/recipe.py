"""Reads a package's facts from its OpenWrt recipe, so that they are written once: a Makefile with literal names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    """What a package says about itself."""

    name: str
    version: str
    release: str
    license: str
    maintainer: str
    title: str
    section: str
    url: str
    depends: tuple[str, ...]
    description: str
    conffiles: tuple[str, ...] = ()
    scripts: dict[str, str] = field(default_factory=dict)
    """`preinst`, `postinst`, `prerm`, `postrm` as written, with make's `$$` as the shell's `$`."""

    @property
    def full_version(self) -> str:
        return f"{self.version}-r{self.release}"


SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def read(makefile: Path, name: str) -> Recipe:
    """The recipe of package `name`; raises ValueError for what it lacks."""
    text = makefile.read_text(encoding="utf-8").replace("\\\n", " ")
    variables = dict(re.findall(r"^(PKG_[A-Z_]+|LUCI_[A-Z_]+) *:?= *(.*?) *$", text, re.MULTILINE))
    blocks = dict(re.findall(r"^define (\S+)\n(.*?)^endef$", text, re.MULTILINE | re.DOTALL))
    fields = dict(re.findall(r"^ *([A-Z]+) *:?= *(.*?) *$", blocks.get(f"Package/{name}", ""), re.MULTILINE))

    def fact(place: dict[str, str], key: str, otherwise: str = "") -> str:
        value = place.get(key) or variables.get(otherwise, "")
        if not value:
            raise ValueError(f"{makefile}: {name} has no {key}")
        return value

    depends = fact(fields, "DEPENDS", "LUCI_DEPENDS")
    about = blocks.get(f"Package/{name}/description", variables.get("LUCI_DESCRIPTION", ""))
    return Recipe(
        name=name,
        version=fact(variables, "PKG_VERSION"),
        release=fact(variables, "PKG_RELEASE"),
        license=fact(variables, "PKG_LICENSE"),
        maintainer=fact(variables, "PKG_MAINTAINER"),
        title=fact(fields, "TITLE", "LUCI_TITLE"),
        section=fields.get("SECTION", "luci"),
        url=fields.get("URL", ""),
        depends=tuple(word.removeprefix("+") for word in depends.split()),
        description=" ".join(about.split()),
        conffiles=tuple(blocks.get(f"Package/{name}/conffiles", "").split()),
        scripts={
            script: blocks[key].replace("$$", "$")
            for script in SCRIPTS
            if (key := f"Package/{name}/{script}") in blocks
        },
    )
