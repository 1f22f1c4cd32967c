"""Compiled translations, read back as LuCI looks texts up."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from lab import pofile
from openwrt import lmo

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = sorted(ROOT.glob("luci-app-dpi-dual/po/*/dpi-dual.po"))

SMALL = r"""
msgid ""
msgstr ""
"Language: fr\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\n"

msgid "Sent"
msgstr "Envoyé"

msgctxt "verb"
msgid "Ban"
msgstr "Bannir"

msgid "%d flow"
msgid_plural "%d flows"
msgstr[0] "%d flux"
msgstr[1] "%d flux à la fois"

msgid "TAP"
msgstr "TAP"

msgid "not yet"
msgstr ""
"""


def _entries(data: bytes) -> dict[int, tuple[int, str]]:
    (start,) = struct.unpack(">I", data[-4:])
    found = {}
    for key, forms, offset, length in struct.iter_unpack(">4I", data[start:-4]):
        found[key] = (forms, data[offset : offset + length].decode())
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"", 0), (b"a", 0x115EA782), (b"abc", 0xD2BE198A), (b"abcd", 0xDAD8B8DB)],
)
def test_the_hash_keeps_its_values(text: bytes, value: int) -> None:
    assert lmo.fast_hash(text) == value


def test_texts_are_found_by_their_hash() -> None:
    found = _entries(lmo.compiled(SMALL))
    assert found[0] == (0, "nplurals=2; plural=(n > 1);")
    assert found[lmo.fast_hash(b"Sent")] == (1, "Envoyé")
    assert found[lmo.fast_hash(b"verb\1Ban")] == (1, "Bannir")
    assert found[lmo.fast_hash(b"%d flow\x020")] == (2, "%d flux")
    assert found[lmo.fast_hash(b"%d flow\x021")] == (2, "%d flux à la fois")
    # What reads the same in both, and what nobody has translated, is left to LuCI.
    assert len(found) == 5


def test_the_index_is_sorted_and_texts_are_aligned() -> None:
    data = lmo.compiled(SMALL)
    (start,) = struct.unpack(">I", data[-4:])
    rows = list(struct.iter_unpack(">4I", data[start:-4]))
    assert rows == sorted(rows)
    assert all(offset % 4 == 0 for _, _, offset, _ in rows)


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=[path.parent.name for path in CATALOGUES])
def test_every_translation_is_in(catalogue: Path) -> None:
    text = catalogue.read_text()
    found = _entries(lmo.compiled(text))
    _, messages = pofile.parse(text)
    for message in messages:
        if not message.context and not message.many and message.texts[0] not in ("", message.one):
            key = message.one.replace("\n", "\\n").encode()
            assert found[lmo.fast_hash(key)][1] == message.texts[0].replace("\n", "\\n")


@pytest.mark.skipif(shutil.which("po2lmo") is None, reason="needs LuCI's po2lmo")
@pytest.mark.parametrize("catalogue", CATALOGUES, ids=[path.parent.name for path in CATALOGUES])
def test_luci_s_own_compiler_writes_the_same(catalogue: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.lmo"
    subprocess.run(["po2lmo", catalogue, theirs], check=True)
    assert lmo.compiled(catalogue.read_text()) == theirs.read_bytes()
