"""The seal: opens for its key and purpose only; the key file is private."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpi_dual.mitm.seal import Seal, SealError, key_from_file, new_key

KEY = new_key()


def test_a_seal_opens_only_for_its_key_and_purpose() -> None:
    sealed = Seal(KEY).close(b"text", b"ring")
    assert b"text" not in sealed
    assert Seal(KEY).open(sealed, b"ring") == b"text"
    for seal, blob, purpose in (
        (Seal(new_key()), sealed, b"ring"),
        (Seal(KEY), sealed, b"spool"),
        (Seal(KEY), sealed[:-1], b"ring"),
        (Seal(KEY), b"", b"ring"),
        (Seal(KEY), b"\x00text", b"ring"),
        (Seal(None), sealed, b"ring"),
    ):
        with pytest.raises(SealError):
            seal.open(blob, purpose)
    assert Seal(None).open(Seal(None).close(b"text", b"ring"), b"ring") == b"text"


def test_a_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = key_from_file(str(path))
    assert key_from_file(str(path)) == key
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="not a key"):
        key_from_file(str(path))
