"""Certificates of the lab's web sites, made on the fly by openssl and signed by an authority of the lab's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

AUTHORITY = "ca.crt"
_DAYS = "30"


def make_certificates(directory: Path, names: Iterable[str]) -> None:
    """Writes `ca.crt`, one key `site.key` for all sites, and `NAME.crt` for each name; keeps what is there."""
    directory.mkdir(parents=True, exist_ok=True)
    authority, authority_key, key = directory / AUTHORITY, directory / "ca.key", directory / "site.key"
    for path in (authority_key, key):
        if not path.exists():
            _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path))
    if not authority.exists():
        subject = ["-subj", "/O=DPI Dual-Stream lab/CN=Lab authority", "-addext", "keyUsage=critical,keyCertSign"]
        _openssl("req", "-x509", "-new", "-key", str(authority_key), "-days", _DAYS, *subject, "-out", str(authority))
    for name in names:
        certificate = directory / f"{name}.crt"
        if certificate.exists():
            continue
        signer = ["-CA", str(authority), "-CAkey", str(authority_key), "-days", _DAYS]
        extensions = ["-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE"]
        subject = ["-subj", f"/O=DPI Dual-Stream lab/CN={name}", *extensions]
        _openssl("req", "-x509", "-new", "-key", str(key), *signer, *subject, "-out", str(certificate))


def bundle(directory: Path, names: Iterable[str], target: Path) -> None:
    """Writes `NAME.pem` for each name into `target`: certificate and key in one file, as HAProxy reads them."""
    names = list(names)
    make_certificates(directory, names)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = (directory / "site.key").read_bytes()
    for name in names:
        descriptor = os.open(target / f"{name}.pem", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write((directory / f"{name}.crt").read_bytes() + key)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
