"""`threats`, `timeline`, `bans` and the whole of `dpi-correlator`: who did what, how bad it is, what was done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dpi_dual.cli import run
from dpi_dual.cli.command import Answer, Command, View, judge_without_engine
from dpi_dual.cli.threats import (
    show_acknowledged,
    show_auto_ban,
    show_ban,
    show_bans,
    show_context,
    show_correlated,
    show_decay,
    show_notifications,
    show_reputation,
    show_reset,
    show_scorecard,
    show_stats,
    show_threats,
    show_tuning,
    show_unban,
    show_whitelist,
)

_OBJECT = "dpi.correlator"

#: For `dpi-dualctl`.
COMMANDS = (
    Command(
        ("threats",),
        _OBJECT,
        "timeline",
        show_threats,
        (("threats 20", "the twenty newest"), ("threats --ip 198.51.100.0/24", "those from a network")),
        positional="limit",
        help="correlated threats, newest first",
    ),
    Command(
        ("timeline",),
        _OBJECT,
        "timeline",
        show_threats,
        (
            ("timeline --type scanner --min-score 50", "scanners only"),
            ("timeline --state new --watch", "what is open, live"),
        ),
    ),
    Command(
        ("scorecard",),
        _OBJECT,
        "scorecard",
        show_scorecard,
        (("scorecard --period week", "offenders, categories and trend of a week"),),
    ),
    Command(("bans",), _OBJECT, "bans", show_bans, (("bans", "who is banned now"),)),
    Command(
        ("ban",),
        _OBJECT,
        "ban",
        show_ban,
        (("ban 198.51.100.7 --duration 1d", "for a day"),),
        positional="ip duration reason",
    ),
    Command(("unban",), _OBJECT, "unban", show_unban, (("unban 198.51.100.7", "undo it"),), positional="ip"),
    Command(
        ("acknowledge",),
        _OBJECT,
        "acknowledge",
        show_acknowledged,
        (("acknowledge 12", "seen"), ("acknowledge 12 --mute", "and never again")),
        positional="id",
    ),
)

_ALL = (
    Command(
        ("correlate",),
        _OBJECT,
        "correlate",
        show_correlated,
        (('correlate 192.168.1.100 waf_alert "suspicious_request" 75', "record it by hand"),),
        positional="ip event_type reason score",
    ),
    Command(
        ("reputation",),
        _OBJECT,
        "reputation",
        show_reputation,
        (("reputation 192.168.1.100", "of one address"), ("reputation", "the worst of all")),
        positional="ip",
    ),
    Command(
        ("context",),
        _OBJECT,
        "context",
        show_context,
        (("context 192.168.1.100", "all that is known"), ("context --id 12", "one threat as it was")),
        positional="ip",
    ),
    Command(
        ("search",),
        _OBJECT,
        "search",
        show_threats,
        (("search 192.168.1.100 50", "its threats, at most 50"), ("search sqlmap", "those with a word in them")),
        positional="query limit",
    ),
    Command(("stats",), _OBJECT, "stats", show_stats, (("stats", "figures and CrowdSec's state"),)),
    *COMMANDS,
    Command(("notifications",), _OBJECT, "notifications", show_notifications, (("notifications", "what was told"),)),
    Command(("tuning",), _OBJECT, "tuning", show_tuning, (("tuning", "weights and thresholds"),)),
    Command(
        ("tune",),
        _OBJECT,
        "set_tuning",
        show_tuning,
        (("tune --sensitivity high", "weights ×1.3"), ("tune --sensitivity custom --scanner 50", "your own")),
    ),
    Command(
        ("auto-ban",),
        _OBJECT,
        "set_auto_ban",
        show_auto_ban,
        (("auto-ban --enabled --threshold 80", "ban at a reputation of 80"), ("auto-ban --no-enabled", "off")),
    ),
    Command(
        ("whitelist",),
        _OBJECT,
        "whitelist",
        show_whitelist,
        (("whitelist", "who is never banned"),),
        judge=judge_without_engine,
    ),
    Command(
        ("whitelist", "add"),
        _OBJECT,
        "whitelist_add",
        show_whitelist,
        (("whitelist add 203.0.113.0/24", "never ban it"),),
        positional="ip",
    ),
    Command(
        ("whitelist", "remove"),
        _OBJECT,
        "whitelist_remove",
        show_whitelist,
        (("whitelist remove 203.0.113.0/24", "ban it again if need be"),),
        positional="ip",
    ),
    Command(("decay",), _OBJECT, "decay", show_decay, (("decay", "one step now"),)),
    Command(
        ("reset",),
        _OBJECT,
        "reset_reputation",
        show_reset,
        (("reset 198.51.100.7", "begin anew with it"),),
        positional="ip",
    ),
)


def _start() -> int:
    from dpi_dual.cli import duald

    return duald.main(["--only", "correlation"])


def _once(answer: Answer, view: View) -> Iterator[str]:
    yield from ()


PROGRAM = run.Program(
    name="dpi-correlator",
    about="The correlation engine: who did what, how bad it has been, what was done about it.",
    groups=(
        (
            "Commands",
            (
                Command(
                    ("once",),
                    _OBJECT,
                    "stats",
                    _once,
                    (("once", "the figures as JSON"),),
                    help="print one aggregate as JSON",
                    json_only=lambda answer: answer,
                ),
                *(replace(command) for command in _ALL),
            ),
        ),
    ),
    examples=(
        ("correlate 192.168.1.100 waf_alert odd 75", "record it by hand"),
        ("context 192.168.1.100", "all that is known about it"),
        ("search 192.168.1.100 50", "its threats"),
    ),
    foreground={"start": run.Foreground("run this part alone, in the foreground, until Ctrl-C", _start)},
)


def main() -> int:
    """The entry point of `sbin/dpi-correlator`."""
    return run.main(PROGRAM)
