"""The directory of Buffer B: refused where anybody could have made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpi_dual.mitm.folder import open_folder


def test_a_directory_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PermissionError):
        open_folder(str(tmp_path / "open"))
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(OSError, match="link"):
        open_folder(str(tmp_path / "link"))
