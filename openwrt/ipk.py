"""Writes `.ipk` packages as opkg reads them: a gzipped tar of debian-binary, data.tar.gz and control.tar.gz.

The same input gives the same bytes: names are sorted, everybody is root, every time is `epoch`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

#: What OpenWrt's own build puts around a package's scripts: init scripts are enabled and started, uci-defaults run.
_HEAD = """#!/bin/sh
[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
"""
POSTINST = _HEAD + "default_postinst $0 $@\n"
PRERM = _HEAD.replace('[ "${IPKG_NO_SCRIPT}" = "1" ] && exit 0\n', "") + "default_prerm $0 $@\n"

Member = tuple[str, bytes | None, int]
"""Name below the root, content (None: a directory), mode."""


def tree(root: Path) -> list[Member]:
    """All directories and files below `root`, sorted; nothing else may be there."""
    members: list[Member] = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ValueError(f"{path} is neither a file nor a directory")
        content = None if path.is_dir() else path.read_bytes()
        members.append((path.relative_to(root).as_posix(), content, path.stat().st_mode & 0o777))
    return members


def packed(members: Iterable[Member], epoch: int) -> bytes:
    """A gzipped tar of them, all below `./`."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content, mode in members:
            info = tarfile.TarInfo(f"./{name}")
            info.mode, info.mtime = mode, epoch
            info.uname = info.gname = "root"
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def control_file(fields: Mapping[str, str]) -> str:
    """`Field: value` lines; further lines of a value are indented."""
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def package(
    fields: Mapping[str, str],
    data: list[Member],
    scripts: Mapping[str, str],
    conffiles: Iterable[str],
    epoch: int,
) -> bytes:
    """A whole `.ipk`. `scripts` are the package's own; opkg's default actions are put around them."""
    installed = sum(len(content) for _, content, _ in data if content is not None)
    control = {**fields, "Installed-Size": str(installed)}
    about = control.pop("Description", "")
    members: list[Member] = [("control", control_file({**control, "Description": about}).encode(), 0o644)]
    listed = sorted(conffiles)
    files = {f"/{name}" for name, content, _ in data if content is not None}
    if missing := set(listed) - files:
        raise ValueError(f"conffiles that are not in the package: {', '.join(sorted(missing))}")
    if listed:
        members.append(("conffiles", "".join(f"{name}\n" for name in listed).encode(), 0o644))
    programs = {"postinst": POSTINST, "prerm": PRERM}
    for name, text in scripts.items():
        programs[f"{name}-pkg" if name in programs else name] = text
    members += [(name, text.encode(), 0o755) for name, text in programs.items()]
    return packed(
        [
            ("debian-binary", b"2.0\n", 0o644),
            ("data.tar.gz", packed(data, epoch), 0o644),
            ("control.tar.gz", packed(sorted(members), epoch), 0o644),
        ],
        epoch,
    )


def index_entry(control: str, file: Path) -> str:
    """The package's paragraph in the `Packages` index of a feed."""
    content = file.read_bytes()
    head, _, about = control.partition("Description: ")
    facts = f"Filename: {file.name}\nSize: {len(content)}\nSHA256sum: {hashlib.sha256(content).hexdigest()}\n"
    return f"{head}{facts}Description: {about}"
