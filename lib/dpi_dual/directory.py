"""A directory of ours below /tmp, where anybody may have put something in its place; files replaced or grown whole."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from dpi_dual.model import Problem

FILE_MODE = 0o640
DIRECTORY_MODE = 0o750


def make_directory(path: str | Path) -> None:
    """Makes a directory (0750) if it is absent, and what is above it (0755): a umask of 0 opens neither to all."""
    place = Path(path)
    missing = [place, *place.parents]
    missing = missing[: next((n for n, above in enumerate(missing) if above.exists()), len(missing))]
    for folder in reversed(missing):
        folder.mkdir(DIRECTORY_MODE if folder is place else 0o755, exist_ok=True)


def unwritten(failures: Mapping[str, str], hint: str) -> list[Problem]:
    """Files that cannot be written, by path with the reason: one problem a directory and reason, not one a file."""
    alike: dict[tuple[str, str], list[str]] = {}
    for path, reason in sorted(failures.items()):
        folder, _, name = path.rpartition("/")
        alike.setdefault((folder, reason), []).append(name)
    return [
        Problem(
            "snapshot_failed",
            f"{folder}: {', '.join(names)} cannot be written ({reason}); who reads what is there sees old figures.",
            hint,
            "error",
            {"directory": folder, "files": names},
        )
        for (folder, reason), names in alike.items()
    ]


def private_socket(path: str, mode: int) -> socket.socket:
    """A unix socket bound to `path` with that mode from its first moment; raises OSError.

    No other work of the process runs under the umask that this takes.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o777 & ~mode)
    try:
        made.bind(path)
    except BaseException:
        made.close()
        raise
    finally:
        os.umask(mask)
    return made


def private_directory(path: str, make: bool = True, or_root: bool = False) -> int:
    """Opens a directory of ours, made if absent (0750) unless `make` is false; the caller closes the descriptor.

    /tmp is anybody's: a symbolic link or a directory of another user in our place is refused (OSError); root's own
    is accepted with `or_root` (a container's bind mount, open to our group).
    """
    if make:
        make_directory(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, "a link or a file is in the place of the directory", path) from None
    found = os.fstat(descriptor)
    owners = (os.geteuid(), 0) if or_root else (os.geteuid(),)
    if found.st_uid not in owners or stat.S_IMODE(found.st_mode) & stat.S_IWOTH:
        os.close(descriptor)
        raise PermissionError(f"{path} belongs to another user or is writable by all")
    return descriptor


def replace_file(directory: str, name: str, data: bytes | Iterable[bytes], mode: int = FILE_MODE) -> None:
    """Writes `directory/name` so that a reader sees the old file or the new one, never a part; raises OSError.

    Of many parts no more than one need be in memory at a time.
    """
    folder = private_directory(directory)
    try:
        replace_in(folder, name, data, mode)
    finally:
        os.close(folder)


def replace_in(folder: int, name: str, data: bytes | Iterable[bytes], mode: int) -> None:
    """The same in an open directory."""
    with replacing(folder, name, mode) as file:
        file.writelines((data,) if isinstance(data, bytes) else data)


@contextlib.contextmanager
def replacing(folder: int, name: str, mode: int = FILE_MODE) -> Iterator[IO[bytes]]:
    """The same for who writes in steps: the file takes its place at the end, if nothing was raised."""
    temporary = f".{name}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, mode, dir_fd=folder), "wb") as file:  # noqa: PTH123 - by dir_fd
            os.fchmod(file.fileno(), mode)
            yield file
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def append_in(folder: int, name: str, data: bytes) -> int:
    """Appends all of `data` or nothing: half a line left by a full disk would spoil the next one.

    The file's size before; raises OSError.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(name, flags, FILE_MODE, dir_fd=folder)
    try:
        before = os.fstat(file).st_size
        try:
            written = 0
            while written < len(data):
                written += os.write(file, data[written:])
        except OSError:
            os.ftruncate(file, before)
            raise
    finally:
        os.close(file)
    return before
