"""`health`: what is wrong, what to do about it, how the parts and the agents fare."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from dpi_dual.cli.command import OK, PROBLEM, Answer, Command, View, judge, listed, mapping
from dpi_dual.cli.table import Column, table
from dpi_dual.cli.terminal import clip, safe
from dpi_dual.cli.units import ago, count, plural


def wrapped(text: object, view: View, first: str, rest: str) -> list[str]:
    """`text` as a paragraph within the view's room."""
    room = view.room or 10_000
    return textwrap.wrap(safe(text), max(room, 30), initial_indent=first, subsequent_indent=rest) or [first]


def problem_lines(problem: dict[str, Any], view: View) -> Iterator[str]:
    """A problem: how bad, what, and what to do."""
    severity = str(problem.get("severity", ""))
    dress = {"error": view.style.bad, "warning": view.style.warn}.get(severity, view.style.faint)
    first, *more = wrapped(problem.get("message", ""), view, " " * 9, " " * 9)
    yield dress(f"{clip(safe(severity), 8):9}") + first[9:]
    yield from more
    if problem.get("hint"):
        yield from wrapped(problem["hint"], view, " " * 9 + "→ ", " " * 11)


def _part(part: dict[str, Any], view: View) -> tuple[str, str]:
    told = [f"since {ago(part['since_at'], view.now)}"] if part.get("since_at") else []
    if part.get("restarts"):
        told.append(f"started again {plural(part['restarts'], 'time')}")
    if part.get("error"):
        told.append(f"last error: {safe(part['error'])}")
    return safe(part.get("state", "")), ", ".join(told)


def agent_name(agent: dict[str, Any]) -> str:
    """What the agent says it is: `netifyd 4.4.7`."""
    return " ".join(safe(agent[key]) for key in ("kind", "agent_version") if agent.get(key))


def _agent(agent: dict[str, Any], view: View) -> tuple[str, str]:
    told = [text for text in (agent_name(agent), safe(agent.get("address", ""))) if text]
    if agent.get("last_message_at"):
        told.append(f"last heard {ago(agent['last_message_at'], view.now)}")
    if agent.get("error"):
        told.append(f"last error: {safe(agent['error'])}")
    return "connected" if agent.get("connected") else "waiting", ", ".join(told)


def _states(title: str, rows: list[tuple[str, str, str]], view: View) -> Iterator[str]:
    """Name, state and what else there is, a paragraph each."""
    if rows:
        yield ""
        yield view.style.title(title)
    for name, state, told in rows:
        yield from wrapped(f"{clip(name, 16):16} {clip(state, 10):10} {told}", view, "  ", " " * 30)


def show_health(answer: Answer, view: View) -> Iterator[str]:
    """The verdict, each problem with what to do, the parts, the agents, and what was counted."""
    problems = listed(answer.get("problems"))
    if answer.get("ok"):
        yield view.style.good("Everything is well.")
    else:
        worst = [p for p in problems if p.get("severity") in ("error", "warning")]
        yield view.style.bad(f"Not well: {plural(len(worst), 'problem')}.")
    for number, problem in enumerate(problems):
        # Notes are mostly one line each and stand together.
        if not number or problem.get("severity") != "info":
            yield ""
        yield from problem_lines(problem, view)
    rows = [(safe(name), *_part(mapping(part), view)) for name, part in mapping(answer.get("parts")).items()]
    yield from _states("Parts", rows, view)
    rows = [(safe(agent.get("name", "")), *_agent(agent, view)) for agent in listed(answer.get("agents"))]
    yield from _states("DPI agents", rows, view)
    counted = {k: v for k, v in mapping(answer.get("counters")).items() if v}
    if counted:
        yield ""
        yield view.style.title("Counted since the start (drops and oddities)")
        layout = (Column("", lambda row: row["count"], right=True), Column("", lambda row: row["what"], least=10))
        figures = [{"what": k.replace("_", " "), "count": count(v)} for k, v in sorted(counted.items())]
        yield from table(layout, figures, view.room, view.style)[1:]


def judge_health(answer: Answer) -> int:
    """Scripts ask one thing of `health`: is it well?"""
    return judge(answer) or (OK if answer.get("ok") else PROBLEM)


COMMANDS = (
    Command(
        ("health",),
        "dpi.status",
        "health",
        show_health,
        (
            ("health", "what is wrong and what to do about it"),
            ("health >/dev/null || echo trouble", "in a script: the exit code says it"),
        ),
        judge=judge_health,
    ),
)
