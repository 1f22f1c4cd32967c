"""The configuration as the package installs it, and the schema's options by kind."""

from __future__ import annotations

import json
from pathlib import Path

from dpi_dual import config

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_FILE = ROOT / "config" / "dpi-dual"
SCHEMA = json.loads((ROOT / "lib/dpi_dual/schema/uci.json").read_text())
DEFAULTS = config.defaults()

SINGLETONS = [name for name, spec in SCHEMA["properties"].items() if "uciType" in spec and spec["type"] == "object"]
REPEATED = [name for name, spec in SCHEMA["properties"].items() if spec["type"] == "array"]
OPTIONS = [
    (section, option, spec)
    for section in SINGLETONS
    for option, spec in SCHEMA["properties"][section]["properties"].items()
]
