"""`mirror`, `mirror start`, `mirror stop`: the copy of the WAN onto the capture interface."""

from __future__ import annotations

from collections.abc import Iterator

from dpi_dual.cli.command import OK, PROBLEM, Answer, Command, View, judge_without_engine, listed, mapping
from dpi_dual.cli.health import problem_lines
from dpi_dual.cli.terminal import clip, safe
from dpi_dual.cli.units import amount, plural


def show(answer: Answer, view: View) -> Iterator[str]:
    """What the kernel has: the capture interface, the sources, and what was copied."""
    # The kernel's names have at most 15 characters.
    name, mode = clip(safe(answer.get("interface", "")), 15), clip(safe(answer.get("mode", "")), 10)
    if not answer.get("exists"):
        yield f"{name}: {view.style.warn('not there')} ({mode} mode)"
    elif answer.get("complete"):
        yield f"{name}: {view.style.good('mirroring' if mode == 'software' else 'watched')} ({mode} mode)"
    else:
        up = "up" if answer.get("up") else "down"
        yield f"{name}: {view.style.warn('incomplete')} ({mode} mode, {up})"
    for source in listed(answer.get("sources")):
        state = "gone" if not source.get("exists") else "up" if source.get("up") else "down"
        ways = [(way, mapping(source.get(way))) for way in ("ingress", "egress")]
        copied = [f"{way} {plural(seen.get('packets', 0), 'packet')}" for way, seen in ways if seen.get("present")]
        told = f", mirrored: {', '.join(copied)}" if copied else ", not mirrored"
        shown = state if state == "up" else view.style.warn(state)
        yield f"from {clip(safe(source.get('name', '')), 15)}: {shown}{told}"
    yield f"{plural(answer.get('packets_mirrored', 0), 'packet')}, {amount(answer.get('bytes_mirrored', 0))} copied"
    for problem in listed(answer.get("problems")):
        yield ""
        yield from problem_lines(problem, view)


def judge_complete(answer: Answer) -> int:
    """0 only when every source is mirrored both ways."""
    return judge_without_engine(answer) or (OK if answer.get("complete") else PROBLEM)


_STATUS = (
    ("mirror", "is it there, and what was copied"),
    ("mirror status --watch", "the packets as they are counted"),
    ("mirror status || dpi-dualctl mirror start", "exit code 1: it is not complete"),
)

COMMANDS = (
    Command(("mirror",), "dpi.status", "mirror", show, _STATUS, judge=judge_complete),
    Command(("mirror", "status"), "dpi.status", "mirror", show, _STATUS, judge=judge_complete),
    Command(
        ("mirror", "start"),
        "dpi.status",
        "mirror_start",
        show,
        (("mirror start", "copy dpi-dual.tap.mirror_source onto dpi-dual.tap.interface; twice does no harm"),),
        judge=judge_complete,
    ),
    Command(
        ("mirror", "stop"),
        "dpi.status",
        "mirror_stop",
        show,
        (("mirror stop", "take away our filters and nothing else, until 'mirror start'"),),
        judge=judge_without_engine,
    ),
)
