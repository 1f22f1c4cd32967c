"""A throw-away router: OpenWrt's own userland, found on this machine, with our staged tree, in namespaces of its own.

Nothing outside is touched: the root is an overlay whose upper half is a tmpfs, and network, mounts and processes are
private. Where ubusd, rpcd, procd or what belongs to them is missing, tests are skipped and told what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ("ubusd", "ubus", "rpcd", "procd", "uci", "validate_data", "jsonfilter", "logd", "logread")
FILES = ("/etc/rc.common", "/lib/functions.sh", "/lib/functions/procd.sh", "/usr/share/libubox/jshn.sh")
#: What the engine imports beyond the standard library, as /usr/bin/python3 must find it inside.
PACKAGES = ("jsonschema", "jsonschema_specifications", "referencing", "rpds", "attr", "attrs", "pyroute2")
PATIENCE_S = 60.0

_BOOT = r"""
set -e
base=$1 staged=$2
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rprivate /
mount -t tmpfs -o mode=755 router "$base"
mkdir "$base/up" "$base/work" "$base/root"
cp -a "$staged/." "$base/up/"
# On a system of merged /usr these are links there; a directory would hide all that is behind them.
for name in lib bin sbin; do
    if [ -L "/$name" ] && [ -d "$base/up/$name" ]; then
        mkdir -p "$base/up/usr/$name"
        cp -a "$base/up/$name/." "$base/up/usr/$name/"
        rm -rf "$base/up/$name"
    fi
done
mount -t overlay -o "lowerdir=/,upperdir=$base/up,workdir=$base/work" router "$base/root"
cd "$base/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
for node in null zero full random urandom; do
    cp -a "/dev/$node" "$base/$node" 2>/dev/null || { : >"$base/$node"; mount --bind "/dev/$node" "$base/$node"; }
done
mount -t tmpfs -o mode=755 dev dev
for node in null zero full random urandom; do
    : >"dev/$node"
    mount --bind "$base/$node" "dev/$node"
done
mkdir -p run/lock run/ubus tmp/.uci tmp/lock etc/config etc/rc.d
rm -rf var/run var/lock
ln -s ../run var/run
ln -s ../run/lock var/lock
rm -rf etc/dpi-dual
exec chroot . /bin/sh -c '
    trap : TERM
    ip link set lo up
    ubusd &
    while [ ! -S /var/run/ubus/ubus.sock ]; do sleep 1; done
    logd -S 256 &
    procd -S >/tmp/procd.log 2>&1 &
    rpcd &
    echo ready >/tmp/ready
    while :; do wait; sleep 1; done'
"""


def missing() -> str:
    """What keeps a router from being made here; empty if nothing does."""
    if os.geteuid() != 0:
        return "root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    lacking += [name for name in FILES if not Path(name).exists()]
    lacking += [name for name in ("nsenter", "unshare", "ip") if shutil.which(name) is None]
    return ", ".join(lacking)


class Router:
    """Commands inside; what they print is text."""

    def __init__(self, process: int) -> None:
        self._enter = ["nsenter", f"--target={process}", "--mount", "--net", "--pid", "--uts", "--ipc"]
        self._enter += [f"--root=/proc/{process}/root", "--wd=/"]

    def run(self, *command: str, check: bool = True, given: str = "") -> str:
        """Its standard output; AssertionError with all it said when it fails, unless `check` is false."""
        done = subprocess.run(
            [*self._enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", *command],
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def sh(self, script: str, check: bool = True) -> str:
        return self.run("/bin/sh", "-c", script, check=check)

    def call(self, obj: str, method: str, **parameters: object) -> dict[str, Any]:
        """`ubus call`; {} for an empty answer."""
        answer = self.run("ubus", "-t", "60", "call", obj, method, json.dumps(parameters))
        found: dict[str, Any] = json.loads(answer or "{}")
        return found

    def uci(self, *changes: str) -> None:
        """Options set, committed, and the reload that LuCI or `reload_config` would cause."""
        for change in changes:
            self.run("uci", *change.split(" ", 1))
        for package in ("dpi-dual", "netifyd"):
            self.run("uci", "-q", "commit", package, check=False)

    def write(self, path: str, text: str) -> None:
        self.run("/bin/sh", "-c", f"cat >{path}", given=text)

    def instance(self, name: str = "engine") -> dict[str, Any]:
        """procd's view of one instance of the service; {} if there is none."""
        service = self.call("service", "list", name="dpi-dual").get("dpi-dual", {})
        found: dict[str, Any] = service.get("instances", {}).get(name, {})
        return found

    def log(self) -> str:
        return self.run("logread")


def _stage(target: Path) -> None:
    """Our tree, and what /usr/bin/python3 needs to run it."""
    environment = {**os.environ, "DESTDIR": str(target), "PYTHON": "/usr/bin/python3"}
    subprocess.run([ROOT / "install.sh"], env=environment, stdout=subprocess.DEVNULL, check=True)
    ask = "import site, sys; print(site.getsitepackages()[0], '%d.%d' % sys.version_info[:2])"
    place, version = subprocess.check_output(["/usr/bin/python3", "-I", "-c", ask], text=True).split()
    if subprocess.run(["/usr/bin/python3", "-I", "-c", "import jsonschema, pyroute2"], check=False).returncode == 0:
        return
    if version != f"{sys.version_info[0]}.{sys.version_info[1]}":
        pytest.skip(f"/usr/bin/python3 has no jsonschema and pyroute2, and is {version}, not what runs the tests")
    ours = next(Path(entry) for entry in sys.path if (Path(entry) / "jsonschema").is_dir())
    inside = target / place.lstrip("/")
    for name in PACKAGES:
        if (ours / name).is_dir():
            shutil.copytree(ours / name, inside / name)
    for single in (*ours.glob("typing_extensions.py"), *ours.glob("*.dist-info")):
        (shutil.copytree if single.is_dir() else shutil.copy)(single, inside / single.name)


@contextmanager
def router(directory: Path) -> Iterator[Router]:
    """Skips the test where there is no OpenWrt userland."""
    if lacking := missing():
        pytest.skip(f"OpenWrt's userland is not here (missing: {lacking})")
    staged, base = directory / "staged", directory / "base"
    base.mkdir(parents=True)
    _stage(staged)
    apart = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
    boot = subprocess.Popen([*apart, "/bin/sh", "-c", _BOOT, "boot", str(base), str(staged)], start_new_session=True)
    try:
        children = Path(f"/proc/{boot.pid}/task/{boot.pid}/children")
        first = eventually("the namespaces are there", lambda: children.read_text().split())[0]
        ready = Path(f"/proc/{first}/root/tmp/ready")
        eventually("the root is mounted", lambda: boot.poll() is not None or ready.exists())
        assert boot.poll() is None, "the namespaces could not be made"
        made = Router(int(first))
        waiting = ("service", "uci", "dpi.status")
        eventually(
            "procd and rpcd are on the bus", lambda: set(waiting) <= set(made.run("ubus", "list", check=False).split())
        )
        yield made
    finally:
        if boot.poll() is None:
            os.kill(boot.pid, signal.SIGKILL)
        boot.wait()
