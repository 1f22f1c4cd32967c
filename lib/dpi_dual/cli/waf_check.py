"""`waf-check`: requests as JSON lines in, verdicts as JSON lines out; needs no engine."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from select import select
from signal import SIG_IGN, SIGINT, signal
from typing import TYPE_CHECKING, Any

from dpi_dual.cli.command import OK, PROBLEM, REFUSED

if TYPE_CHECKING:
    from multiprocessing.pool import AsyncResult, Pool

    from dpi_dual.settings import Settings
    from dpi_dual.waf.crs import Rules

_ABOUT = """Reads requests, one JSON object a line, from standard input:
  {"id": 1, "method": "GET", "path": "/search?q=x", "headers": {"Host": "a.example"}, "body": ""}
and writes one verdict a line, in the same order:
  {"id": 1, "score": 0, "categories": [], "rules": [], "alert": false, "block": false, "tier": "deep"}
Only "path" must be there; other keys are ignored. A line that is no such object is answered with
{"line": N, "error": "..."}, and the exit code is then 1."""

#: One line may not fill memory.
_MAX_LINE = 8 * 1_048_576
#: Lines a worker takes at once: enough to make the pipe cheap, few enough to stream.
_BATCH = 32
#: Batches under way before the oldest is waited for, per worker.
_AHEAD = 4
_READ = 1_048_576


class BadLineError(ValueError):
    """A line that is no request; the text says why."""


def _text(record: dict[str, Any], key: str, default: str) -> str:
    value = record.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise BadLineError(f"'{key}' is not a string")
    return value


def _headers(record: dict[str, Any]) -> list[tuple[str, str]]:
    value = record.get("headers")
    if value is None:
        return []
    if isinstance(value, dict):
        pairs: Iterable[Any] = value.items()
    elif isinstance(value, list):
        pairs = value
    else:
        raise BadLineError("'headers' is neither an object nor a list of pairs")
    found: list[tuple[str, str]] = []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise BadLineError("'headers' has an entry that is no pair")
        name, content = pair
        for one in content if isinstance(content, list) else [content]:
            found.append((str(name), one if isinstance(one, str) else json.dumps(one)))
    return found


def judge_line(rules: Rules, number: int, line: bytes) -> str:
    """The answer to one line of input."""
    from dpi_dual.waf.request import parse

    try:
        if len(line) > _MAX_LINE:
            raise BadLineError(f"longer than {_MAX_LINE} bytes")
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadLineError(f"no JSON: {error}") from error
        if not isinstance(record, dict):
            raise BadLineError("no JSON object")
        if "path" not in record:
            raise BadLineError("'path' is missing")
        request = parse(
            _text(record, "method", "GET"), _text(record, "path", "/"), _headers(record), _text(record, "body", "")
        )
    except BadLineError as error:
        return json.dumps({"line": number, "error": f"line {number}: {error}"})
    return json.dumps({"id": record.get("id"), **rules.judge(request).as_dict()})


def _rules(tier: str, paranoia: int, settings: Settings) -> Rules:
    mitm = settings.mitm
    thresholds = mitm.alert_threshold, mitm.block_threshold
    if tier == "quick":
        from dpi_dual.waf.quick import QuickRules

        return QuickRules(paranoia, settings.exclusion, *thresholds)
    from dpi_dual.waf.crs import DeepRules

    return DeepRules(paranoia, mitm.crs_dir, settings.exclusion, *thresholds)


Lines = list[tuple[int, bytes]]


def _batches(descriptor: int) -> Iterator[tuple[Lines, bool]]:
    """Numbered lines as they come, and whether nothing more has come yet: then whoever writes may wait for answers."""
    partial = b""
    number = 0
    while True:
        data = os.read(descriptor, _READ)
        *whole, partial = (partial + data).split(b"\n") if data else [partial, b""]
        # Of an endless line only so much is kept as shows that it is too long.
        partial = partial[: _MAX_LINE + 1]
        lines: Lines = []
        for line in whole:
            number += 1
            if line.strip():
                lines.append((number, line))
        idle = bool(data) and not select([descriptor], [], [], 0)[0]
        for start in range(0, len(lines), _BATCH):
            yield lines[start : start + _BATCH], idle and start + _BATCH >= len(lines)
        if not data:
            return


def _write(answers: Iterable[str]) -> bool:
    """False if one of them is an error."""
    good = True
    for answer in answers:
        sys.stdout.write(answer + "\n")
        good = good and not answer.startswith('{"line": ')
    sys.stdout.flush()
    return good


_worker_rules: Rules


def _judge_batch(batch: Lines) -> list[str]:
    return [judge_line(_worker_rules, number, line) for number, line in batch]


def _start_worker(make: Callable[[], Rules]) -> None:
    global _worker_rules  # noqa: PLW0603 - a worker process has one set of rules, made once
    signal(SIGINT, SIG_IGN)
    _worker_rules = make()


def _judge_all(descriptor: int, make: Callable[[], Rules], jobs: int) -> bool:
    """Answers every line in order, in worker processes once there is more to do than one can keep up with."""
    rules = make()
    good = True
    under_way: deque[AsyncResult[list[str]]] = deque()
    with ExitStack() as stack:
        pool: Pool | None = None
        for batch, idle in _batches(descriptor):
            if jobs == 1 or (pool is None and len(batch) < _BATCH):
                good = _write(judge_line(rules, number, line) for number, line in batch) and good
                continue
            if pool is None:
                pool = stack.enter_context(get_context("fork").Pool(jobs, _start_worker, (make,)))
            under_way.append(pool.apply_async(_judge_batch, (batch,)))
            while under_way and (idle or under_way[0].ready() or len(under_way) >= jobs * _AHEAD):
                good = _write(under_way.popleft().get()) and good
        while under_way:
            good = _write(under_way.popleft().get()) and good
    return good


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dpi-dualctl waf-check", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tier", choices=("quick", "deep"), default="deep", help="default: deep")
    parser.add_argument("--paranoia", type=int, choices=(1, 2, 3, 4), help="default: what is configured, else 1")
    parser.add_argument("--config-dir", help="UCI directory: exclusions, thresholds, crs_dir")
    parser.add_argument("--jobs", type=int, default=0, help="processes; default: one a core for the deep tier")
    return parser


def _move_to_checkout_environment() -> None:
    """In a checkout, libmodsecurity is in its virtual environment: goes on there, or stays where it is not."""
    root = Path(__file__).resolve().parents[3]
    python = root / ".venv" / "bin" / "python"
    if Path(sys.prefix) != root / ".venv" and (root / "pyproject.toml").exists() and os.access(python, os.X_OK):
        os.execv(python, [str(python), "-I", *sys.argv])  # noqa: S606 - no shell, our own interpreter and arguments


def main(argv: Sequence[str]) -> int:
    """Runs the command with the arguments after its name."""
    options = _parser().parse_args(argv)
    if options.tier == "deep" and find_spec("libmodsecurity") is None:
        _move_to_checkout_environment()
    from dpi_dual import config, paths

    directory = options.config_dir or paths.CONFIG_DIR
    known = options.config_dir or os.path.exists(f"{directory}/{config.PACKAGE}")  # noqa: PTH110 - pathlib costs 5 ms
    settings = config.load(directory) if known else config.defaults()
    for problem in settings.problems:
        print(f"dpi-dualctl waf-check: {problem.message}", file=sys.stderr)
    paranoia = options.paranoia or settings.mitm.paranoia

    def make() -> Rules:
        return _rules(options.tier, paranoia, settings)

    from dpi_dual.waf.core_rules import CrsUnavailableError

    jobs = options.jobs or (1 if options.tier == "quick" else os.cpu_count() or 1)
    try:
        good = _judge_all(sys.stdin.fileno(), make, max(1, jobs))
    except CrsUnavailableError as error:
        print(f"dpi-dualctl waf-check: {error}; '--tier quick' needs nothing", file=sys.stderr)
        return REFUSED
    return OK if good else PROBLEM
