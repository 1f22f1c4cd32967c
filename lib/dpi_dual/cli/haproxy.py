"""`haproxy render`, `check`, `apply`, `status`: TLS in front of mitmproxy, from the settings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dpi_dual.cli.command import OK, PROBLEM, REFUSED, Answer, View, listed
from dpi_dual.cli.health import problem_lines
from dpi_dual.cli.local import Local
from dpi_dual.cli.terminal import safe
from dpi_dual.cli.units import count, span
from dpi_dual.errors import QueryError

if TYPE_CHECKING:
    from dpi_dual.model import Problem
    from dpi_dual.settings import Settings


#: What the loader says of a value that is not used as it stands. A default in its place does no harm elsewhere;
#: here it could publish a service where nobody wanted it, or quietly not at all.
_GRAVE = (
    "config_bad_value",
    "config_unknown_section",
    "config_damaged_file",
    "config_missing_file",
    "config_unreadable_file",
)


def _rendered() -> tuple[str, Settings, list[str]]:
    """The configuration that the settings ask for, and what else to say about them; QueryError if there is none."""
    from dpi_dual import config
    from dpi_dual.mitm import haproxy, haproxy_install

    settings = config.load()
    said = list(_said_of_ours(settings))
    bad = [problem.message for problem in said if problem.code in _GRAVE]
    if bad:
        raise QueryError("bad_settings", "; ".join(bad))
    try:
        text = haproxy.render(settings, haproxy_install.this_host())
    except haproxy.HaproxyError as error:
        raise QueryError("bad_settings", str(error)) from None
    return text, settings, [problem.message for problem in said]


def _said_of_ours(settings: Settings) -> Iterator[Problem]:
    """The problems that the loader found with what this configuration is made of."""
    from dpi_dual import uci
    from dpi_dual.config import PACKAGE, SECRETS_PACKAGE

    try:
        sections = uci.read(PACKAGE)
    except OSError:
        sections = []
    parts = {f"{PACKAGE}.{section.label}" for section in sections if section.type == "backend"}
    parts |= {f"{PACKAGE}.haproxy", f"{PACKAGE}.mitm.listen"}
    for problem in settings.problems:
        option = str(problem.details.get("option", ""))
        whole_file = problem.code.endswith("_file") and not option.startswith(SECRETS_PACKAGE)
        if problem.severity != "info" and (whole_file or {option, option.rpartition(".")[0]} & parts):
            yield problem


def render(given: argparse.Namespace) -> Answer:
    """The configuration, nowhere but on standard output."""
    del given
    text, settings, notes = _rendered()
    if not settings.haproxy.enabled:
        notes.append("dpi-dual.haproxy.enabled is 0: 'apply' will refuse until it is 1")
    return {"configuration": text, "notes": notes}


def check(given: argparse.Namespace) -> Answer:
    """Renders, and asks HAProxy what it thinks of it."""
    del given
    from dpi_dual.mitm import haproxy_install

    text, settings, notes = _rendered()
    haproxy_install.program()
    haproxy_install.check_certificate(settings.haproxy.certificate)
    return {"ok": True, "warnings": haproxy_install.check_text(text), "notes": notes}


def apply(given: argparse.Namespace) -> Answer:
    """Renders, checks, installs, reloads; stops at the first that fails."""
    from pathlib import Path

    from dpi_dual.mitm import haproxy_install

    text, settings, notes = _rendered()
    if not settings.haproxy.enabled:
        raise QueryError("disabled", "dpi-dual.haproxy.enabled is 0: set it to 1 first")
    haproxy_install.program()
    haproxy_install.check_certificate(settings.haproxy.certificate)
    target = Path(given.output or haproxy_install.default_target())
    done = haproxy_install.install(text, target, given.force)
    reason = haproxy_install.reload(target)
    return {**done, "reloaded": not reason, "notes": [*notes, reason] if reason else notes}


def status(given: argparse.Namespace) -> Answer:
    """What is installed, and what HAProxy says about mitmproxy."""
    import asyncio
    from dataclasses import asdict
    from pathlib import Path

    from dpi_dual.mitm import haproxy_install, haproxy_state

    target = Path(given.output or haproxy_install.default_target())
    there = haproxy_install.installed(target)
    answer: Answer = {"target": str(target), "problems": []}
    if there is None or not haproxy_install.is_ours(there):
        answer["installed"] = "nothing" if there is None else "not ours"
    else:
        try:
            answer["installed"] = "current" if there == _rendered()[0] else "outdated"
        except QueryError as error:
            answer["installed"] = "outdated"
            answer["problems"] = [_problem(error.code, error.message)]
    try:
        state = asyncio.run(haproxy_state.read_state())
    except haproxy_state.StateError as error:
        answer["running"] = False
        answer["problems"] += [_problem("haproxy_unreachable", str(error))]
        return answer
    answer["running"] = True
    answer["problems"] += [problem.answer() for problem in haproxy_state.problems_of(state)]
    return {**answer, **asdict(state)}


def _problem(code: str, message: str) -> Answer:
    from dpi_dual.model import Problem

    return Problem(code, message).answer()


def _show_render(answer: Answer, view: View) -> Iterator[str]:
    del view
    yield answer["configuration"].removesuffix("\n")


def _show_check(answer: Answer, view: View) -> Iterator[str]:
    for line in answer["warnings"]:
        yield f"{view.style.warn('warning')}  {safe(line)}"
    yield view.style.good("HAProxy accepts the configuration.")


def _show_apply(answer: Answer, view: View) -> Iterator[str]:
    for line in answer["warnings"]:
        yield f"{view.style.warn('warning')}  {safe(line)}"
    target = safe(answer["target"])
    if answer["changed"]:
        yield f"Installed {target}" + (f"; the file before it is {safe(answer['kept'])}." if answer["kept"] else ".")
    else:
        yield f"{target} is as it should be."
    if answer["reloaded"]:
        yield "HAProxy reloaded."


_INSTALLED = {
    "current": "as the settings ask for",
    "outdated": "not as the settings ask for now: 'dpi-dualctl haproxy apply' renews it",
    "not ours": "there, but not written by 'dpi-dualctl haproxy apply'",
    "nothing": "not there",
}


def _show_status(answer: Answer, view: View) -> Iterator[str]:
    yield f"{safe(answer['target'])}: {_INSTALLED[answer['installed']]}"
    if answer["running"]:
        up = answer["mitm_up"]
        word = view.style.good("inspected") if up else view.style.bad("not inspected")
        if not up and not answer["fail_open"]:
            word = view.style.bad("refused")
        yield f"requests are {word} for {span(answer['changed_s'])} (last check: {safe(answer['check']) or 'none'})"
        counted = f"{count(answer['inspected'])} through mitmproxy, {count(answer['bypassed'])} past it"
        yield f"since HAProxy was loaded: {counted}"
        yield f"when mitmproxy is down: {'to the services directly' if answer['fail_open'] else 'refused with 503'}"
    for problem in listed(answer["problems"]):
        yield ""
        yield from problem_lines(problem, view)


def _judge_status(answer: Answer) -> int:
    if "error" in answer:
        return REFUSED
    return OK if answer["installed"] == "current" and not answer["problems"] else PROBLEM


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FILE", help="the file, if not the one that this system's HAProxy reads")


def _apply_options(parser: argparse.ArgumentParser) -> None:
    _output(parser)
    parser.add_argument("--force", action="store_true", help="replace a file that is not ours; it is kept as .orig")


COMMANDS = (
    Local(
        ("haproxy", "render"),
        "print the HAProxy configuration that the settings ask for",
        render,
        _show_render,
        examples=(("haproxy render | less", "read it first"),),
    ),
    Local(
        ("haproxy", "check"),
        "have HAProxy check it, installing nothing",
        check,
        _show_check,
        examples=(("haproxy check && echo good", "exit code 4: it is refused, and why"),),
    ),
    Local(
        ("haproxy", "apply"),
        "install it if HAProxy accepts it, and reload HAProxy",
        apply,
        _show_apply,
        _apply_options,
        (
            ("haproxy apply", "after a change of the settings or the certificate"),
            ("haproxy apply --force", "replace a configuration that is not ours; it is kept as .orig"),
            ("haproxy apply --output /etc/haproxy/dpi.cfg", "for a HAProxy of your own; not reloaded"),
        ),
    ),
    Local(
        ("haproxy", "status"),
        "is it installed and current, are requests inspected",
        status,
        _show_status,
        _output,
        (("haproxy status || echo look", "exit code 1: something is not as it should be"),),
        _judge_status,
    ),
)
