"""What the WAF's two tiers catch, what they mistake, and what a request costs; the Core Rule Set alone as the baseline.

Run by itself (`python -m bench.waf`) it also prints the figures by category.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.row import Row
from dpi_dual.waf.core_rules import CoreRuleSet, CrsUnavailableError
from dpi_dual.waf.crs import DeepRules
from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import Request, parse

ROOT = Path(__file__).resolve().parent.parent
CORPORA = {
    "dev corpus": ROOT.parent / "shared" / "waf-corpus" / "dev.jsonl.gz",
    "own, tuned on": ROOT / "tests" / "waf" / "data" / "tuning.jsonl",
    "own, held out": ROOT / "tests" / "waf" / "data" / "heldout.jsonl",
}

#: A critical match is worth 5, and 5 is the Core Rule Set's own threshold.
CRS_POINTS = {2: 5, 3: 4, 4: 3, 5: 2}
CRS_THRESHOLD = 5
QUICK_BUDGET_US = 150.0


@dataclass(slots=True)
class Tally:
    """Verdicts beside labels."""

    caught: int = 0
    missed: int = 0
    mistaken: int = 0
    passed: int = 0
    micros: list[float] = field(default_factory=list)
    categories: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    @property
    def true_positive_rate(self) -> float:
        return self.caught / max(1, self.caught + self.missed)

    @property
    def false_positive_rate(self) -> float:
        return self.mistaken / max(1, self.mistaken + self.passed)

    @property
    def balanced_accuracy(self) -> float:
        return (self.true_positive_rate + 1 - self.false_positive_rate) / 2


Judge = Callable[[dict[str, Any]], bool]


def records(path: Path) -> list[dict[str, Any]]:
    """The corpus, or nothing when it is not beside this checkout."""
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def request_of(record: dict[str, Any]) -> Request:
    """A record as the WAF takes it; parsing is part of what is timed."""
    return parse(record["method"], record["path"], record["headers"], record["body"])


def tally(corpus: list[dict[str, Any]], judge: Judge) -> Tally:
    """Judges the corpus."""
    found = Tally()
    for record in corpus[:200]:
        judge(record)  # patterns are compiled when first needed
    for record in corpus:
        start = time.perf_counter()
        alert = judge(record)
        found.micros.append((time.perf_counter() - start) * 1e6)
        if record["label"] == "attack":
            found.caught += alert
            found.missed += not alert
            counts = found.categories[record["category"]]
            counts[0] += alert
            counts[1] += 1
        else:
            found.mistaken += alert
            found.passed += not alert
    return found


def judges() -> dict[str, Judge]:
    """The tiers, and the Core Rule Set alone at paranoia 1, where it is installed."""
    quick = QuickRules()
    found: dict[str, Judge] = {"quick": lambda record: quick.judge(request_of(record)).alert}
    try:
        deep, alone = DeepRules(), CoreRuleSet()
    except CrsUnavailableError as error:
        print(f"the deep tier is not measured: {error}", file=sys.stderr)
        return found

    def core_rules_alert(record: dict[str, Any]) -> bool:
        severities = {hit.rule: hit.severity for hit in alone.hits(request_of(record))}
        return sum(CRS_POINTS.get(severity, 0) for severity in severities.values()) >= CRS_THRESHOLD

    found["deep"] = lambda record: deep.judge(request_of(record)).alert
    found["crs"] = core_rules_alert
    return found


def typical_us(judge: Judge) -> float:
    """Median microseconds of ordinary requests: pages, forms and API calls of a browser."""
    headers = {
        "Host": "shop.example",
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Language": "en-US,en;q=0.5",
        "Accept-Encoding": "gzip, deflate, br",
        "Referer": "https://shop.example/items?page=2&sort=price",
        "Cookie": "session=8f3a1c9b7d; theme=dark; cart=3",
        "Connection": "keep-alive",
    }
    form = headers | {"Content-Type": "application/x-www-form-urlencoded"}
    api = headers | {"Content-Type": "application/json"}
    made = [
        ("GET", "/items/view?id=42&sort=price_asc&page=2", headers, ""),
        ("GET", "/search?q=garden%20chairs%20%26%20tables", headers, ""),
        ("POST", "/login", form, "user=anna%40example.test&password=S3cret%21x&csrf=9f8a7b"),
        (
            "POST",
            "/api/notes",
            api,
            '{"title": "Shopping", "tags": ["home", "food"], "text": "Milk, bread, it\'s all."}',
        ),
    ]
    corpus = [dict(zip(("method", "path", "headers", "body"), one, strict=True), label="benign") for one in made]
    return statistics.median(tally(corpus * 250, judge).micros)


def measure() -> list[Row]:
    """Balanced accuracy against the baseline's on the same requests, and the cost of an ordinary request."""
    rows: list[Row] = []
    tiers = judges()
    for corpus_name, path in CORPORA.items():
        corpus = records(path)
        if not corpus:
            continue
        tallies = {name: tally(corpus, judge) for name, judge in tiers.items()}
        baseline = tallies.get("crs")
        for tier in [name for name in ("quick", "deep") if name in tallies]:
            for what in ("balanced_accuracy", "true_positive_rate", "false_positive_rate"):
                value = getattr(tallies[tier], what)
                beside = getattr(baseline, what) if baseline else None
                judged = what == "balanced_accuracy" and beside is not None
                name = f"waf {tier}: {what.replace('_', ' ')}, {corpus_name}"
                rows.append(
                    Row(name, value, "ratio", beside, "≥ the baseline" if judged else "", not judged or value >= beside)
                )
        print(f"{corpus_name}: caught of attacks, by category", file=sys.stderr)
        for category in sorted(tallies["quick"].categories):
            shown = [f"{name} {'/'.join(map(str, one.categories[category]))}" for name, one in tallies.items()]
            print(f"  {category:16}{'  '.join(shown)}", file=sys.stderr)
    beside = typical_us(tiers["crs"]) if "crs" in tiers else None
    quick_us = typical_us(tiers["quick"])
    rows.append(
        Row(
            "waf quick: ordinary request", quick_us, "µs", beside, f"≤ {QUICK_BUDGET_US:g}", quick_us <= QUICK_BUDGET_US
        )
    )
    if "deep" in tiers:
        rows.append(Row("waf deep: ordinary request", typical_us(tiers["deep"]), "µs", beside, "", True))
    return rows


if __name__ == "__main__":
    from bench.__main__ import table

    print(table(measure()))
