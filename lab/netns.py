"""Network namespaces that cannot outlive us: each is held by a process that ends when our pipe to it closes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

#: Sets up, waits for the end of its input, then ends whatever still runs in this namespace.
_HOLD = """
mount --make-rprivate / && mount -t sysfs sysfs /sys && ip link set lo up && echo ready || exit 1
while read -r _; do :; done
for net in /proc/[0-9]*/ns/net; do
    pid=${net#/proc/}
    pid=${pid%/ns/net}
    [ "$net" -ef /proc/$$/ns/net ] && [ "$pid" != $$ ] && kill -KILL "$pid"
done
"""


class Namespace:
    """One host: a network namespace with a /sys of its own. A context manager; `close()` ends it and all in it.

    Nothing is left behind even after SIGKILL: the holder reads a pipe whose other end only we have, and at its end
    kills all in the namespace; besides, every process started here gets SIGKILL when the thread that started it ends.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", _HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            _, complaint = self._holder.communicate()
            raise OSError(f"cannot make the network namespace {name}: {complaint.strip()} (root, or `unshare -Urnm`?)")
        self._children: list[subprocess.Popen[Any]] = []

    @property
    def pid(self) -> int:
        """The holder's process id: `/proc/PID/ns/net` is this namespace."""
        return self._holder.pid

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` wrapped so that it runs inside, in our working directory."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", f"--wdns={Path.cwd()}", "--"]
        return [*enter, *argv]

    def run(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command inside to its end; raises `CalledProcessError` if it failed (unless `check=False`)."""
        options = {"check": True, "text": True, "capture_output": True, **options}
        try:
            return subprocess.run(self.command(argv), **options)  # noqa: PLW1510
        except subprocess.CalledProcessError as error:
            error.add_note(f"in {self.name}: {' '.join(argv)}: {str(error.stderr or '').strip()}")
            raise

    def popen(self, *argv: str, **options: Any) -> subprocess.Popen[Any]:
        """Starts a command inside; it is ended by `close()`, or when the calling thread ends."""
        process = subprocess.Popen(self.command(["setpriv", "--pdeathsig", "KILL", *argv]), **options)
        self._children.append(process)
        return process

    def ip(self, *argv: str) -> str:
        """`ip ARGV` inside; its output."""
        return self.run("ip", *argv).stdout

    def ip_batch(self, *lines: str) -> None:
        """Several `ip` commands inside in one go."""
        self.run("ip", "-batch", "-", input="\n".join(lines) + "\n")

    def sysctl(self, **values: int | str) -> None:
        """Sets kernel parameters: `sysctl(net__ipv4__ip_forward=1)`, `__` for a dot, `___` for a dash."""
        paths = ((key.replace("___", "-").replace("__", "/"), value) for key, value in values.items())
        lines = (f"/proc/sys/{path} {value}\n" for path, value in paths)
        script = 'set -e; while read -r path value; do echo "$value" > "$path"; done'
        self.run("sh", "-c", script, input="".join(lines))

    def mount_over(self, file: Path, path: str) -> bool:
        """Makes `path` show `file` to this host alone; False when there is no such path to cover."""
        return self.run("mount", "--bind", str(file), path, check=False).returncode == 0

    def close(self) -> None:
        """Ends what was started here, then the namespace; safe to call twice."""
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        for child in self._children:
            try:
                child.wait(timeout=3)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children.clear()
        if self._holder.stdin is not None:
            self._holder.stdin.close()
        self._holder.wait()
        for pipe in (self._holder.stdout, self._holder.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def veth(
    a: Namespace,
    a_name: str,
    b: Namespace,
    b_name: str,
    macs: tuple[str | None, str | None] = (None, None),
) -> None:
    """A cable between two hosts, segmentation offload off so that every packet is one on the wire; both ends up."""
    a_mac, b_mac = (["address", mac] if mac else [] for mac in macs)
    a.ip("link", "add", a_name, *a_mac, "type", "veth", "peer", "name", b_name, *b_mac, "netns", str(b.pid))
    for host, name in ((a, a_name), (b, b_name)):
        host.run("ethtool", "-K", name, "tso", "off", "gso", "off", "gro", "off", check=False)
        host.ip("link", "set", name, "up")
