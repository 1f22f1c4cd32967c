"""Registers this router with CrowdSec as machine and bouncer, through CrowdSec's own `cscli`, and keeps the keys."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

from dpi_dual import config, config_edit, paths
from dpi_dual.correlation.lapi import Endpoint, LapiError
from dpi_dual.errors import QueryError

TIMEOUT_S = 60.0
MAX_OUTPUT = 4 * 1024 * 1024

#: What CrowdSec makes: letters and digits (passwords, newer keys), hexadecimal or base64 (older keys).
_SECRET = re.compile(r"[A-Za-z0-9+/=_-]{16,512}\Z")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Cscli:
    """CrowdSec's command; `file` is its configuration, empty for the one of the system."""

    program: str
    file: str = ""

    @classmethod
    def find(cls, file: str = "") -> Cscli:
        """QueryError when it is not installed here."""
        found = which("cscli", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        if found is None:
            hint = (
                "where it runs, 'cscli machines add NAME --auto -f -' and 'cscli bouncers add NAME' make login and key;"
                " set crowdsec.url and crowdsec.machine_id in dpi-dual, password and bouncer_key in dpi-dual-secrets"
            )
            raise QueryError("cscli_missing", f"CrowdSec's cscli is not on this machine; {hint}")
        return cls(found, file)

    def run(self, *arguments: str) -> str:
        """Standard output; QueryError with cscli's own complaint when it fails."""
        command = [self.program, *(["-c", self.file] if self.file else []), *arguments]
        what = f"'cscli {' '.join(arguments[:2])}'"
        try:
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise QueryError("cscli_failed", f"{what} did not end within {TIMEOUT_S:.0f} s") from None
        except OSError as error:
            raise QueryError("cscli_failed", f"{self.program} cannot be run: {error.strerror}") from None
        if done.returncode != 0:
            raise QueryError("cscli_failed", f"{what} failed: {_complaint(done.stderr)}")
        return done.stdout[:MAX_OUTPUT].decode("utf-8", "replace")

    def names(self, kind: str, key: str) -> set[str]:
        """The names of the `machines` or `bouncers` that CrowdSec knows."""
        try:
            said = json.loads(self.run(kind, "list", "-o", "json") or "null")
        except ValueError:
            raise QueryError("cscli_failed", f"'cscli {kind} list' does not answer in JSON") from None
        return {str(entry.get(key)) for entry in said or () if isinstance(entry, dict)}


def _complaint(stderr: bytes) -> str:
    """The last complaint in cscli's log, without its time stamp; no secret is ever in there."""
    lines = stderr[-8192:].decode("utf-8", "replace").strip().splitlines()
    text = lines[-1] if lines else "it says nothing"
    found = re.search(r'"msg":"((?:[^"\\]|\\.)*)"|msg="((?:[^"\\]|\\.)*)"', text)
    return ((found[1] or found[2]) if found else text)[:300]


def own_name() -> str:
    """What we are called in CrowdSec's lists, unless told otherwise."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40].strip("-.")
    return f"dpi-dual-{host}" if host else "dpi-dual"


def setup(
    cscli: Cscli, name: str = "", url: str = "", force: bool = False, config_dir: str = paths.CONFIG_DIR
) -> dict[str, Any]:
    """Makes what is missing and stores it; with `force` login and key are made anew. What is there is left alone."""
    settings = config.load(config_dir)
    name = name or settings.crowdsec.machine_id or own_name()
    if not _NAME.match(name):
        raise QueryError("bad_name", f"{name[:64]!r} is no name for a machine (letters, digits, dots, dashes)")
    url = url or _listening(cscli, settings.crowdsec.url)
    try:
        Endpoint.parse(url)
    except LapiError as error:
        raise QueryError("bad_url", str(error)) from None
    machines = cscli.names("machines", "machineId")
    bouncers = cscli.names("bouncers", "name")
    has_login = bool(settings.secrets.crowdsec.password) and settings.crowdsec.machine_id == name and name in machines
    has_key = bool(settings.secrets.crowdsec.bouncer_key) and name in bouncers
    for there, kind, wanted in (
        (name in machines, "machine", not has_login),
        (name in bouncers, "bouncer", not has_key),
    ):
        if there and wanted and not force:
            text = f"CrowdSec has a {kind} {name} already, whose secret we do not have: --force replaces it"
            raise QueryError("exists", f"{text}, --name takes another name")
    _check_writable(config_dir)
    secrets: dict[str, object] = {}
    if force or not has_login:
        secrets["password"] = _new_login(cscli, name, url)
    if force or not has_key:
        secrets["bouncer_key"] = _new_key(cscli, name, replace=name in bouncers)
    plain = {
        option: value
        for option, value, now in (
            ("url", url, settings.crowdsec.url),
            ("machine_id", name, settings.crowdsec.machine_id),
        )
        if value != now
    }
    _store(plain, secrets, config_dir)
    return {
        "name": name,
        "url": url,
        "machine": "made" if "password" in secrets else "kept",
        "bouncer": "made" if "bouncer_key" in secrets else "kept",
        "changed": bool(plain or secrets),
    }


def _listening(cscli: Cscli, configured: str) -> str:
    """The address to use: the configured one unless that is the default and CrowdSec listens elsewhere."""
    if configured != config.defaults().crowdsec.url:
        return configured
    try:
        listen = cscli.run("config", "show", "--key", "Config.API.Server.ListenURI").strip().strip('"')
    except QueryError:
        return configured  # an agent alone has no server; the address is then the owner's to say
    host, _, port = listen.rpartition(":")
    if host in ("0.0.0.0", "", "[::]"):  # noqa: S104 - what CrowdSec listens on, not we
        host = "127.0.0.1"
    return f"http://{host}:{port}" if port.isdigit() else configured


def _check_writable(config_dir: str) -> None:
    """Before anything is made at CrowdSec that could then not be stored."""
    try:
        with tempfile.TemporaryFile(dir=config_dir):
            pass
    except OSError as error:
        raise QueryError(
            "write_failed", f"{config_dir} cannot be written: {error.strerror}; run this as root"
        ) from None


def _new_login(cscli: Cscli, name: str, url: str) -> str:
    """A password that CrowdSec makes, read from a file of ours: `ps` does not show it, the agent's own file is left."""
    with tempfile.TemporaryDirectory(prefix="dpi-dual-") as folder:
        file = Path(folder, "login.yaml")
        cscli.run("machines", "add", name, "--auto", "--force", "-u", url, "-f", str(file))
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise QueryError("cscli_failed", f"'cscli machines add' left no password: {error}") from None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "password":
            return _secret(value.strip().strip("'\""), "machines add")
    raise QueryError("cscli_failed", "'cscli machines add' left no password")


def _new_key(cscli: Cscli, name: str, replace: bool) -> str:
    if replace:
        cscli.run("bouncers", "delete", name)
    return _secret(cscli.run("bouncers", "add", name, "-o", "raw").strip(), "bouncers add")


def _secret(text: str, command: str) -> str:
    if not _SECRET.match(text):
        raise QueryError("cscli_failed", f"'cscli {command}' answers with something that is no secret")
    return text


def _store(plain: Mapping[str, object], secrets: Mapping[str, object], config_dir: str) -> None:
    # The secrets first: a machine_id without its password would be a login that is refused.
    changes = {"secrets.crowdsec": secrets, "crowdsec": plain}
    kept = Path(config_dir, config.SECRETS_PACKAGE)
    try:
        if kept.exists():
            kept.chmod(0o600)
        for section, options in changes.items():
            if options:
                config_edit.write({section: options}, config_dir)
    except (OSError, config_edit.ConfigError) as error:
        text = f"login and key were made, but cannot be stored: {error}"
        raise QueryError("write_failed", f"{text}; put that right and run this again with --force") from None
