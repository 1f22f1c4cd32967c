"""The buffer directory: opened so that nobody else's symbolic link or directory can stand in its place."""

from __future__ import annotations

import os

from dpi_dual import directory

FILE_MODE = 0o600


def open_folder(path: str) -> int:
    """A descriptor of `path`, made if absent; raises OSError. The caller closes it.

    A container's bind mount may belong to root and be open to our group; a directory anybody may write is refused.
    """
    return directory.private_directory(path, or_root=True)


def append_to(folder: int, name: str) -> int:
    """A descriptor that appends to `name`, made 0600 if absent."""
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=folder)


def read_from(folder: int, name: str, limit: int) -> bytes:
    """At most `limit` bytes of `name`; raises OSError."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def replace_in(folder: int, name: str, data: bytes) -> None:
    """Writes `name` whole or not at all; raises OSError."""
    directory.replace_in(folder, name, data, FILE_MODE)


def remove_from(folder: int, name: str) -> None:
    """Removes `name` if it is there."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
