"""`make generate` knows every file that says it is made by it, and has nothing to change."""

from __future__ import annotations

import subprocess

import pytest

from lab.generate import ROOT, documents


def test_what_is_made_is_as_it_would_be_made_now() -> None:
    for name, text in documents().items():
        assert (ROOT / name).read_text() == text, f"make generate: {name}"


def test_every_file_that_says_so_is_made() -> None:
    words = "by `make generate`; " + "do not edit"
    command = ["git", "grep", "-lF", words, "--", ":!lib", ":!openwrt", ":!tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        pytest.skip("not a git checkout")
    named = set(done.stdout.split())
    assert named and named <= set(documents())
