"""Measurements of the suite against its budgets, each beside its baseline in the same run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))
