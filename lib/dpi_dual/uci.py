"""UCI packages on disk: the one module that reads and writes `/etc/config`, on OpenWrt and elsewhere alike.

Files are read and edited directly, not through libuci (`uci`, `python3-uci`) or `uciparse`, because

* libuci folds the changes that somebody else staged in `/tmp/.uci` into what it reads and, on commit, into what
  it writes (its default delta directory stays on the path whatever `-P`, `-t` or `savedir` say): setting one
  option of ours would commit another person's half-made changes;
* libuci and `uciparse` refuse a damaged file whole (see `ucifile.py`), and libuci drops the owner's comments.

Writing follows libuci's protocol (`flock` on the file itself, a hidden temporary file beside it, `rename`), so
that `uci`, LuCI and rpcd see every change at once, and what is staged stays staged.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dpi_dual import paths
from dpi_dual.ucifile import NAME_OF_PACKAGE, Damage, Document, Section, UciError, Value

__all__ = ["Damage", "Document", "Section", "UciError", "Value", "document", "edit", "read"]

#: The largest real ones, with thousands of DHCP hosts, stay below this.
MAX_BYTES = 256 * 1024
LOCK_TIMEOUT_S = 10.0

#: How procd learns of a committed change; both are there on OpenWrt only.
UBUS = "/bin/ubus"
PROCD = "/sbin/procd"


def document(package: str, config_dir: str = paths.CONFIG_DIR) -> Document:
    """The committed content of a package; OSError when there is no such file or it cannot be read."""
    with _path(package, config_dir).open("rb") as file:
        return _decode(file.read(MAX_BYTES + 1))


def read(package: str, config_dir: str = paths.CONFIG_DIR) -> list[Section]:
    """The sections of any package (`dhcp`, `network`, `firewall` …), committed values only; [] if there is none."""
    try:
        return document(package, config_dir).sections()
    except FileNotFoundError:
        return []


def _decode(data: bytes) -> Document:
    damage = []
    if len(data) > MAX_BYTES:
        damage = [Damage(0, f"larger than {MAX_BYTES} bytes; the rest is not read")]
        data = data[:MAX_BYTES]
    return Document(data.decode("utf-8", "surrogateescape"), damage)


def _path(package: str, config_dir: str) -> Path:
    if not NAME_OF_PACKAGE.fullmatch(package):
        raise UciError(f"{package!r:.60} cannot be a UCI package")
    return Path(config_dir, package)


# --- writing ---------------------------------------------------------------------------------------------------


@contextmanager
def edit(package: str, config_dir: str = paths.CONFIG_DIR) -> Iterator[Document]:
    """Change a package under its lock: all the edits of the block are written at once, or none if it raises.

    Waits for other writers (ours, `uci`, LuCI) up to `LOCK_TIMEOUT_S`: not for an event loop's own thread.
    """
    path = Path(os.path.realpath(_path(package, config_dir)))  # a link stays a link
    lock = _lock(path)
    try:
        with os.fdopen(os.dup(lock), "rb") as file:
            doc = _decode(file.read(MAX_BYTES + 1))
        if doc.damage and not doc.damage[0].line:
            raise UciError(f"{path}: {doc.damage[0].reason}")
        before = doc.text
        yield doc
        if doc.text != before:
            _replace(path, doc.text.encode("utf-8", "surrogateescape"), lock)
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    """An exclusive lock on the file that is at `path` now (a writer before us may have replaced it)."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise UciError(f"{path} is locked by another program for {LOCK_TIMEOUT_S:g} s") from None
            time.sleep(0.02)
        except FileNotFoundError:
            pass  # replaced between open and stat: look again
        os.close(descriptor)


def _replace(path: Path, data: bytes, old: int) -> None:
    status = os.fstat(old)
    temporary = path.with_name(f".{path.name}.uci-{os.getpid():x}{time.monotonic_ns():x}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, status.st_mode & 0o7777)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def set_options(
    package: str,
    section: str,
    options: Mapping[str, str | Sequence[str] | None],
    config_dir: str = paths.CONFIG_DIR,
) -> None:
    """Set or (None) remove options of one section, all at once."""
    with edit(package, config_dir) as doc:
        for option, value in options.items():
            doc.set(section, option, value)


def add_section(
    package: str,
    section_type: str,
    name: str = "",
    options: Mapping[str, str | Sequence[str] | None] | None = None,
    config_dir: str = paths.CONFIG_DIR,
) -> str:
    """Add a section with its options; returns its name."""
    with edit(package, config_dir) as doc:
        name = doc.add_section(section_type, name)
        for option, value in (options or {}).items():
            doc.set(name, option, value)
    return name


def delete_section(package: str, section: str, config_dir: str = paths.CONFIG_DIR) -> None:
    with edit(package, config_dir) as doc:
        doc.delete_section(section)


def change_list(
    package: str,
    section: str,
    option: str,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    config_dir: str = paths.CONFIG_DIR,
) -> tuple[str, ...]:
    """Add what is not in the list yet, remove what is; returns the list as it is now."""
    with edit(package, config_dir) as doc:
        now = doc.existing(section).options.get(option, ())
        kept = [v for v in ((now,) if isinstance(now, str) else now) if v not in remove]
        changed = tuple(dict.fromkeys([*kept, *add]))
        doc.set(section, option, changed)
    return changed


def config_changed(package: str) -> bool:
    """Tell procd that a package was committed, as `reload_config` does; False where there is nobody to tell."""
    if not (os.access(UBUS, os.X_OK) and Path(PROCD).exists()):
        return False
    import logging  # both are heavy, and this is rare
    import subprocess

    event = f'{{"type":"config.change","data":{{"package":"{package}"}}}}'
    command = [UBUS, "call", "service", "event", event]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        logging.getLogger(__name__).warning("%s was written, but procd was not told: %s", package, error)
        return False
    return True
