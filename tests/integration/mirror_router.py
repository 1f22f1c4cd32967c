"""A router for the tests of the mirror: namespaces, the mirror's process, and what `tc` shows."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from lab.netns import Namespace, veth

ROOT = Path(__file__).resolve().parents[2]
COOKIE = b"dpi-dual:".hex()


class Router:
    """A router with `eth0` towards a host that answers pings, and the mirror's process to run there."""

    def __init__(self, host: Namespace, far: Namespace, tmp: Path) -> None:
        self.host, self.far = host, far
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "lib"),
            "DPI_DUAL_RUN_DIR": str(tmp / "run"),
            "DPI_DUAL_CONFIG_DIR": str(tmp / "config"),
        }
        self.config = tmp / "config"
        self.config.mkdir()
        self.cable()

    def cable(self, name: str = "eth0") -> None:
        veth(self.host, name, self.far, name)
        self.host.ip("addr", "add", "192.0.2.1/24", "dev", name)
        self.far.ip("addr", "add", "192.0.2.2/24", "dev", name)

    def python(self, *argv: str, check: bool = True) -> Any:
        return self.host.run(sys.executable, *argv, env=self.environment, check=check)

    def mirror(self, action: str, *argv: str, check: bool = True, source: str = "eth0") -> dict[str, Any]:
        command = ["-m", "dpi_dual.capture.mirror", action, "--interface", "tap0", "--source", source, *argv]
        answer: dict[str, Any] = json.loads(self.python(*command, check=check).stdout)
        return answer

    def ping(self, count: int) -> None:
        self.host.run("ping", "-q", "-c", str(count), "-i", "0.01", "-W", "2", "192.0.2.2")

    def control(self, device: str = "eth0") -> str:
        """All traffic control on a device as `tc` shows it, without counters."""
        listings = [["qdisc", "show"], ["class", "show"]]
        listings += [["filter", "show", where] for where in ("ingress", "egress", "root")]
        text = ""
        for kind, show, *where in listings:
            text += f"# {kind} {where}\n" + self.host.run("tc", kind, show, "dev", device, *where, check=False).stdout
        # A later filter of the same kind takes the next number for its action and for u32's table.
        return re.sub(r"(?m)^\s*index \d+ ref.*$", "", text)

    def ours(self, device: str = "eth0") -> tuple[int, int]:
        """How many of our filters `tc` shows: (ingress, egress)."""
        shown = [
            self.host.run("tc", "-s", "filter", "show", "dev", device, way).stdout for way in ("ingress", "egress")
        ]
        return shown[0].count(COOKIE), shown[1].count(COOKIE)

    def links(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self.host.ip("-j", "link", "show"))}
