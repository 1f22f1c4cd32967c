"""`python -m tests.fuzz [TARGET ...] --seconds N`: long runs of the table's parsers, guided by coverage with atheris.

Without atheris (it has builds for some Pythons only) the same damaged messages are tried unguided. What is found is
kept in `.fuzz/TARGET/`; mended, it belongs to `tests/fuzz/found/TARGET/`, where the property tests try it again.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import random
import subprocess
import sys
import tempfile
import time
import traceback
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".fuzz"
#: One input that takes longer is a finding, in seconds; the machine may be busy.
SLOW_S = 20
LONGEST = 65_536


def _guided(name: str, seconds: int, kept: Path) -> int:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["dpi_dual"]):
        from tests.fuzz.damage import damaged, damaged_json
        from tests.fuzz.table import TARGETS
    target = TARGETS[name]

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        source = random.Random(seed)
        if source.random() < 0.5:
            found = damaged_json(data, source) if source.random() < 0.6 else None
            return (found if found is not None else damaged(data, source.choice(target.seeds), source))[:most]
        return bytes(atheris.Mutate(data, most))

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, str(number)).write_bytes(seed[:LONGEST])
        options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SLOW_S}", "-verbosity=0"]
        atheris.Setup(
            [name, *options, "-print_final_stats=1", f"-artifact_prefix={kept}/", corpus],
            lambda data: target.run(bytes(data)),
            custom_mutator=mutated,
        )
        atheris.Fuzz()
    return 0


def _unguided(name: str, seconds: int, kept: Path, seed: int) -> int:
    from tests.fuzz.table import TARGETS
    from tests.fuzz.test_targets import example

    source, until, tried, found = random.Random(seed), time.monotonic() + seconds, 0, set[str]()
    while time.monotonic() < until:
        data = example(name, source)
        tried += 1
        try:
            TARGETS[name].run(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} {place.filename}:{place.lineno}"
            if key not in found:
                found.add(key)
                file = kept / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
                file.write_bytes(data)
                print(f"{key}\n  {str(error)[:200]}\n  {file}")
    print(f"{name}: {tried} inputs tried, {len(found)} findings")
    return 1 if found else 0


def _one(name: str, seconds: int, unguided: bool, seed: int) -> int:
    logging.disable()
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    if unguided or find_spec("atheris") is None:
        return _unguided(name, seconds, kept, seed)
    return _guided(name, seconds, kept)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help="all of them, one after another, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the unguided run")
    parser.add_argument("--unguided", action="store_true", help="even where atheris is installed")
    parser.add_argument("--list", action="store_true", help="the targets")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        return _one(options.target[0], options.seconds, options.unguided, options.seed)
    from tests.fuzz.table import TARGETS

    if options.list:
        for target in TARGETS.values():
            print(f"{target.name:12} {target.what}")
        return 0
    unknown = set(options.target) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if find_spec("atheris") is None and not options.unguided:
        print("atheris is not installed (pip install 'dpi-dual[fuzz]'): unguided by coverage", file=sys.stderr)
    bad = []
    for name in options.target or TARGETS:
        print(f"== {name}: {TARGETS[name].what}", flush=True)
        more = ["--unguided"] if options.unguided else []
        command = [sys.executable, "-m", "tests.fuzz", name, "--here", "--seconds", str(options.seconds), *more]
        # A process each: coverage is counted from the import on, and libFuzzer ends its process.
        if subprocess.run([*command, "--seed", str(options.seed)], cwd=ROOT, check=False).returncode:
            bad.append(name)
    print(f"findings in: {', '.join(bad)}; see {KEPT}" if bad else "nothing found")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
