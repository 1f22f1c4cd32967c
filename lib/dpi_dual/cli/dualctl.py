"""`dpi-dualctl`: the whole suite from a shell."""

from __future__ import annotations

from collections.abc import Sequence

from dpi_dual.cli import correlator, crowdsec, flows, haproxy, health, lan, mirror, mitm, overview, replay, run, service


def _waf_check(argv: Sequence[str]) -> int:
    from dpi_dual.cli import waf_check

    return waf_check.main(argv)


PROGRAM = run.Program(
    name="dpi-dualctl",
    about="Deep packet inspection of both streams: what runs, what it sees, what is wrong.\n"
    "For reputation, context, search, whitelist and tuning see 'dpi-correlator --help'.",
    groups=(
        ("Service", service.COMMANDS),
        ("At a glance", (*health.COMMANDS, *overview.COMMANDS)),
        ("WAN (TAP stream)", (*flows.COMMANDS, *mirror.COMMANDS)),
        ("LAN", lan.COMMANDS),
        ("Requests (MITM stream)", mitm.COMMANDS),
        ("Threats (correlation)", correlator.COMMANDS),
    ),
    examples=(
        ("status --watch", "everything at a glance, live"),
        ("clients --sort rate", "who uses the line right now"),
        ("flows --limit 20", "the twenty newest WAN flows"),
        ("health || logread -e dpi-dual", "why, if something is wrong"),
    ),
    foreground={
        "waf-check": run.Foreground(
            "judge requests given as JSON lines, without the engine",
            run_with=_waf_check,
            group="Requests (MITM stream)",
        )
    },
    local=(
        ("Requests again", replay.COMMANDS),
        ("Set-up (as root; needs no engine)", (*haproxy.COMMANDS, *crowdsec.COMMANDS)),
    ),
)


def main() -> int:
    """The entry point of `sbin/dpi-dualctl`."""
    return run.main(PROGRAM)
