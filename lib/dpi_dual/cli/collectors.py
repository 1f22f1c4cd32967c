"""`dpi-flow-collector` and `dpi-lan-collector`: one part of the engine in the foreground, and questions about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from dpi_dual.cli import flows, health, lan, mirror, overview, run
from dpi_dual.cli.command import Answer, Command, View


def _run_only(part: str) -> run.Foreground:
    def start() -> int:
        from dpi_dual.cli import duald

        return duald.main(["--only", part])

    return run.Foreground("run this part alone, in the foreground, until Ctrl-C", start)


def _never(answer: Answer, view: View) -> Iterator[str]:
    yield from ()


def _tap_aggregate(answer: Answer) -> Answer:
    """The content of `dpi-flows.json`: the answer without its page of flows."""
    return {key: value for key, value in answer.items() if key not in ("flows", "total", "next")}


def _once(obj: str, method: str, about: str, pick: Callable[[Answer], Answer]) -> Command:
    return Command(("once",), obj, method, _never, (("once", about),), help=about, json_only=pick)


def _lan_aggregate(answer: Answer) -> Answer:
    """The content of the four `lan-*.json`: the figures, and the lists of the other three under their names."""
    whole = dict(answer)
    for command in lan.COMMANDS:
        if command.method in ("clients", "destinations", "protocols"):
            whole[command.method] = run.ask(command, {}).get(command.method, [])
    return whole


FLOW = run.Program(
    name="dpi-flow-collector",
    about="The TAP stream alone: collects WAN flows, and answers questions about them.",
    groups=(
        (
            "Commands",
            (
                _once("dpi.status", "flows", "print one aggregate, the content of dpi-flows.json", _tap_aggregate),
                *flows.COMMANDS,
                *(command for command in mirror.COMMANDS if command.words != ("mirror",)),
                *health.COMMANDS,
                *(command for command in overview.COMMANDS if command.words != ("version",)),
            ),
        ),
    ),
    examples=(("start", "collect in the foreground"), ("once", "one aggregate as JSON"), ("flows --watch", "live")),
    foreground={"start": _run_only("tap")},
)

LAN = run.Program(
    name="dpi-lan-collector",
    about="The LAN alone: collects who talks to whom, and answers questions about it.",
    groups=(
        (
            "Commands",
            (
                _once("dpi.lan", "status", "print one aggregate, the content of the lan-*.json files", _lan_aggregate),
                replace(lan.STATUS, words=("status",), examples=(("status", "the LAN in four lines"),)),
                *(command for command in lan.COMMANDS if command.words[0] != "lan"),
                replace(lan.FLOWS, words=("flows",), examples=(("flows --limit 10", "the ten newest"),)),
                replace(lan.HISTORY, words=("history",), examples=(("history --period week", "by day"),)),
            ),
        ),
    ),
    examples=(("start", "collect in the foreground"), ("once", "one aggregate as JSON"), ("clients --watch", "live")),
    foreground={"start": _run_only("lan")},
)


def flow_main() -> int:
    """The entry point of `sbin/dpi-flow-collector`."""
    return run.main(FLOW)


def lan_main() -> int:
    """The entry point of `sbin/dpi-lan-collector`."""
    return run.main(LAN)
