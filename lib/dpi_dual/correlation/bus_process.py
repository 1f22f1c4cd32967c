"""The small process that sends ubus events through python3-ubus: one `["name", {content}]` a line, one answer a line.

Not in the engine: the binding waits for ubusd without a time limit and without letting other threads run, and there
is one connection a process. It ends when its standard input does, so also when the engine was killed.
"""

from __future__ import annotations

import json
import sys

#: Exit status: the binding is not installed.
NOT_HERE = 3
#: ubusd cannot be reached.
NO_BUS = 4


def main() -> int:
    """Reads until the end of standard input; `1` for an event that was sent, `0` for one that was not."""
    try:
        import ubus  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return NOT_HERE
    try:
        ubus.connect()
    except (RuntimeError, OSError):
        return NO_BUS
    for line in sys.stdin.buffer:
        name, content = json.loads(line)
        try:
            sent = ubus.send(name, content)
        except (RuntimeError, ValueError, TypeError):
            sent = False
        print("1" if sent else "0", flush=True)
    return 0
