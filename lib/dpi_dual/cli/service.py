"""`start`, `stop`, `restart`: the service as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from dpi_dual.cli.command import Answer, Command, View, judge_without_engine
from dpi_dual.cli.terminal import safe


def show(answer: Answer, view: View) -> Iterator[str]:
    """What was done and what runs now."""
    done = {"start": "Started", "stop": "Stopped", "restart": "Restarted"}.get(answer.get("action", ""), "Done")
    yield f"{done}: the engine {'runs' if answer.get('running') else 'does not run'}."
    if not answer.get("ok", True):
        yield safe(answer.get("error", ""))


def _command(word: str, about: str) -> Command:
    return Command((word,), "dpi.status", word, show, ((word, about),), judge=judge_without_engine)


COMMANDS = (
    _command("start", "start the service now; 'dpi-dualctl status' shows what runs"),
    _command("stop", "stop it and remove the mirror; it stays stopped until 'start' or a boot"),
    _command("restart", "the same settings, from a clean start"),
)
