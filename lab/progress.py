"""How far a generator of traffic has come: lines on standard output, or one small file that is replaced as it goes."""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_KEPT_ERRORS = 20


class Progress:
    """Sums and the latest errors; with `path` they are kept there, else each line is printed."""

    def __init__(self, path: Path | None, names: Iterable[str], head: dict[str, Any] | None = None) -> None:
        """`names` are the sums that are said even when they are 0; `head` is said with them."""
        self.sums: Counter[str] = Counter(dict.fromkeys(names, 0))
        self._path = path
        self._head = head or {}
        self._errors: deque[dict[str, Any]] = deque(maxlen=_KEPT_ERRORS)
        self._written = 0.0

    def note(self, line: dict[str, Any]) -> None:
        """One thing done, or tried; `ok` says which."""
        if not line["ok"]:
            self.sums["errors"] += 1
            self._errors.append(line)
        if self._path is None:
            print(json.dumps(line), flush=True)
        elif time.monotonic() - self._written > 1:
            self.write()

    def write(self) -> None:
        """Says the sums."""
        text = json.dumps({**self._head, "sums": dict(self.sums), "errors": list(self._errors)})
        if self._path is None:
            print(text, flush=True)
            return
        self._written = time.monotonic()
        fresh = self._path.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self._path)
