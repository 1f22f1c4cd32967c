"""Checks a rendered configuration with HAProxy itself, installs it whole or not at all, and reloads HAProxy."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import subprocess
import tempfile
from os import environ
from pathlib import Path
from shutil import which

from dpi_dual.errors import QueryError
from dpi_dual.mitm.haproxy import MARKER, Host

#: Debian's packages have a directory of their own, OpenWrt's a single file.
_PLACES = ("/etc/haproxy/haproxy.cfg", "/etc/haproxy.cfg")
INIT_SCRIPT = environ.get("DPI_DUAL_HAPROXY_INIT", "/etc/init.d/haproxy")

TIMEOUT_S = 60.0
MAX_FILE = 4 * 1024 * 1024
#: As many lines of HAProxy's complaints as a person wants to read.
MAX_COMPLAINTS = 12


def default_target() -> str:
    """The file that this system's HAProxy service reads."""
    configured = environ.get("DPI_DUAL_HAPROXY_CFG")
    if configured:
        return configured
    return next(
        (place for place in _PLACES if Path(place).parent.name == "haproxy" and Path(place).parent.is_dir()),
        _PLACES[-1],
    )


def this_host() -> Host:
    """What this machine offers to HAProxy: its own user if there is one, else `nobody`; IPv6 or not."""
    for name in ("haproxy", "nobody"):
        try:
            user = pwd.getpwnam(name)
            group = grp.getgrgid(user.pw_gid).gr_name
        except KeyError:
            continue
        # In a user namespace that knows root alone there is nobody to become, and no privilege to lose.
        alone = os.geteuid() == 0 and not _is_mapped(user.pw_uid)
        return Host("" if alone else name, "" if alone else group, _has_ipv6())
    raise QueryError("no_user", "this system has neither a user 'haproxy' nor 'nobody' for HAProxy to run as")


def _is_mapped(uid: int) -> bool:
    """True when this user namespace knows `uid` (user_namespaces(7): first, outside, count)."""
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()]
    return any(int(first) <= uid < int(first) + int(length) for first, _, length in ranges)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def program() -> str:
    """HAProxy's executable."""
    found = which("haproxy", path=environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        hint = "install it: opkg install haproxy (OpenWrt), apt-get install haproxy (Debian)"
        raise QueryError("haproxy_missing", f"HAProxy is not installed; {hint}")
    return found


def check_certificate(path: str) -> None:
    """Finds what HAProxy's own message about a certificate would leave to guess; QueryError names it."""
    option = "dpi-dual.haproxy.certificate"
    where = Path(path)
    try:
        if where.is_dir():
            if not any(where.iterdir()):
                raise QueryError("certificate_missing", f"{option}: the directory {path} is empty")
            return
        if not where.is_file():
            raise QueryError("certificate_missing", f"{option}: there is no file {path}")
        with where.open("rb") as file:
            text = file.read(MAX_FILE)
        key_beside = Path(path + ".key").is_file()
    except OSError as error:
        sentence = f"{option}: {path} cannot be read: {error.strerror}"
        raise QueryError("certificate_unreadable", sentence) from None
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise QueryError("certificate_bad", f"{option}: {path} holds no certificate in PEM form")
    if b"PRIVATE KEY-----" not in text and not key_beside:
        sentence = f"{option}: {path} holds no private key; put certificate and key into one file"
        raise QueryError("certificate_bad", sentence)


def check(file: str) -> list[str]:
    """`haproxy -c` on `file`: its warnings; QueryError with its complaints when it refuses."""
    command = [program(), "-c", "-f", file]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise QueryError("haproxy_check_failed", f"'haproxy -c' did not end within {TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise QueryError("haproxy_check_failed", f"{command[0]} cannot be run: {error.strerror}") from None
    said = (done.stdout + done.stderr).decode("utf-8", "replace").replace(file, "configuration").splitlines()
    told = [line.partition(" : ")[2] or line for line in said if line.startswith(("[ALERT]", "[WARNING]"))]
    if done.returncode != 0:
        worst = [line.partition(" : ")[2] or line for line in said if line.startswith("[ALERT]")] or said
        sentence = "HAProxy refuses the configuration: " + "; ".join(worst[:MAX_COMPLAINTS])
        raise QueryError("haproxy_refuses", sentence)
    return told[:MAX_COMPLAINTS]


def check_text(text: str) -> list[str]:
    """`check` on a configuration that is not installed."""
    with tempfile.TemporaryDirectory(prefix="dpi-dual-") as folder:
        file = Path(folder, "haproxy.cfg")
        file.write_text(text, encoding="utf-8")
        return check(str(file))


def installed(target: Path) -> str | None:
    """What is at `target`, None if nothing is; QueryError if it cannot be read."""
    try:
        with target.open("rb") as file:
            return file.read(MAX_FILE).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise QueryError("target_unreadable", f"{target} cannot be read: {error.strerror}") from None


def is_ours(text: str) -> bool:
    """True for a file that `install` wrote, however much was changed below its first line."""
    return text.split("\n", 1)[0].rstrip() == MARKER


def install(text: str, target: Path, force: bool = False) -> dict[str, object]:
    """Puts `text` at `target` once HAProxy accepts it; the file before it is kept as `.bak`.

    A file that is not ours is left alone unless `force`, and then kept as `.orig` too, which nothing replaces.
    """
    target = target.resolve()
    before = installed(target)
    if before is not None and not is_ours(before) and not force:
        sentence = f"{target} was not written by this command and is left as it is; --force replaces it (kept as .orig)"
        raise QueryError("not_ours", sentence)
    try:
        return _install(text, target, before)
    except OSError as error:
        raise QueryError("write_failed", f"{target} cannot be written: {error.strerror}") from None


def _install(text: str, target: Path, before: str | None) -> dict[str, object]:
    temporary = _write_beside(target, text.encode("utf-8"))
    try:
        warnings = check(str(temporary))
        changed = before != text
        if changed:
            if before is not None:
                _keep(target, foreign=not is_ours(before))
            temporary.replace(target)
            _sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
    kept = str(target) + ".bak" if changed and before is not None else ""
    return {"target": str(target), "changed": changed, "kept": kept, "warnings": warnings}


def _write_beside(target: Path, data: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o640)
    return Path(name)


def _keep(target: Path, foreign: bool) -> None:
    data = target.read_bytes()
    names = [".bak"]
    if foreign and not Path(f"{target}.orig").exists():
        names.append(".orig")
    for name in names:
        copy = _write_beside(target, data)
        copy.chmod(target.stat().st_mode & 0o777)
        copy.replace(f"{target}{name}")


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reload(target: Path) -> str:
    """Has the service read `target` anew: an empty text, or why that was not done. QueryError when it fails."""
    if target.resolve() != Path(default_target()).resolve():
        return f"HAProxy was not reloaded: its service reads {default_target()}"
    if not Path(INIT_SCRIPT).is_file():
        return f"HAProxy was not reloaded: there is no {INIT_SCRIPT}; reload or start it by hand"
    try:
        done = subprocess.run(
            [INIT_SCRIPT, "reload"], capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise QueryError("reload_failed", f"'{INIT_SCRIPT} reload' did not end within {TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise QueryError("reload_failed", f"{INIT_SCRIPT} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()[-300:]
        sentence = f"{target} is installed, but '{INIT_SCRIPT} reload' failed with {done.returncode}: {said}"
        raise QueryError("reload_failed", sentence)
    return ""
