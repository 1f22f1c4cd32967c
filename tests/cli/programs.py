"""The programs as a person runs them: real processes, an isolated place, no engine unless one is started there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def place(folder: Path) -> dict[str, str]:
    """An environment that keeps the suite inside `folder`: a configuration where only the LAN part may run, on `lo`."""
    config = folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "dpi-dual").write_text(
        "config global 'settings'\n"
        "\toption mode 'tap-only'\n"
        "\toption correlation '0'\n"
        f"\toption stats_dir '{folder}/stats'\n"
        f"\toption flow_dir '{folder}/flows'\n"
        f"\toption state_dir '{folder}/state'\n"
        "config tap 'tap'\n\toption enabled '0'\n"
        "config lan 'lan'\n\toption enabled '1'\n\tlist interface 'lo'\n"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DPI_DUAL_", "COLUMNS", "LINES"))}
    return {
        **kept,
        "DPI_DUAL_CONFIG_DIR": str(config),
        "DPI_DUAL_RUN_DIR": str(folder / "run"),
        "DPI_DUAL_INIT": str(folder / "no-init-script"),
        "DPI_DUAL_NETIFYD_SOCKET": str(folder / "no-agent.sock"),
        "TERM": "xterm",
    }


def run(
    env: dict[str, str], program: str, *argv: str, root: Path = ROOT / "sbin", timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """`program` with `argv`, run to its end by this interpreter (the system's may lack our dependencies)."""
    command = [sys.executable, "-I", str(root / program), *argv]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=timeout, check=False, encoding="utf-8"
    )
