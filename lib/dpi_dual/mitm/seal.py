"""Encryption of what is stored: AES-256-GCM with a key that lives in memory, or in a file of its own (0600)."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
#: NIST SP 800-38D: 96 bits. Random ones are safe for 2^32 messages under one key; a ring never writes that many.
NONCE_BYTES = 12

_PLAIN, _SEALED = b"\x00", b"\x01"


class SealError(ValueError):
    """Not sealed with this key, or not for this purpose, or damaged."""


class Seal:
    """Seals and opens; without a key (`encrypt_buffer 0`) it only marks what it stores as plain."""

    def __init__(self, key: bytes | None) -> None:
        self._cipher = AESGCM(key) if key else None

    def close(self, data: bytes, purpose: bytes) -> bytes:
        """`data` sealed; `purpose` must be the same when it is opened."""
        if self._cipher is None:
            return _PLAIN + data
        nonce = os.urandom(NONCE_BYTES)
        return _SEALED + nonce + self._cipher.encrypt(nonce, data, purpose)

    def open(self, blob: bytes, purpose: bytes) -> bytes:
        """The data back; raises SealError."""
        if self._cipher is None and blob[:1] == _PLAIN:
            return blob[1:]
        if self._cipher is None or blob[:1] != _SEALED:
            raise SealError("stored under another setting of encrypt_buffer")
        try:
            return self._cipher.decrypt(blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :], purpose)
        except (InvalidTag, ValueError):
            raise SealError("stored under another key, or damaged") from None


def new_key() -> bytes:
    """A fresh key."""
    return AESGCM.generate_key(8 * KEY_BYTES)


def _read(path: str) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise ValueError(f"others can read {path} (mode {mode:04o}); chmod 600 it")
        return file.read(KEY_BYTES + 1)


def key_from_file(path: str) -> bytes:
    """The key kept in `path`, made (0600) if absent.

    Raises OSError, or ValueError for a file that holds no key or that others can read.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        key = _read(path)
        if len(key) != KEY_BYTES:
            raise ValueError(f"{path} holds {len(key)} bytes, not a key of {KEY_BYTES}") from None
        return key
    with os.fdopen(descriptor, "wb") as file:
        key = new_key()
        file.write(key)
    return key
