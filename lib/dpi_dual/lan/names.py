"""Names of LAN clients: the owner's static names first, then DHCP leases (dnsmasq, odhcpd)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dpi_dual import paths, uci
from dpi_dual.model import Problem

#: A lease file is about 100 bytes a client; more than this is not one.
MAX_BYTES = 1024 * 1024
MAX_LEASES = 5000
#: A DNS label's length (RFC 1035, 2.3.4) is also enough for what people call their devices.
MAX_NAME = 63

DNSMASQ_LEASES = "/tmp/dhcp.leases"  # noqa: S108 - where OpenWrt's dnsmasq writes
ODHCPD_LEASES = ("/tmp/hosts/odhcpd", "/tmp/odhcpd.leases")  # noqa: S108 - where OpenWrt's odhcpd writes
ETHERS = "/etc/ethers"

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)
_HEX_MAC = re.compile(r"[0-9a-f]{12}", re.ASCII)
_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Lease:
    """One name that a file gives to a MAC, to an address, or to both (empty: not given)."""

    name: str
    mac: str = ""
    ip: str = ""


def clean_name(text: str) -> str:
    """A device's name as text that is safe to show: printable, no direction overrides, one line, bounded."""
    text = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_NAME])
    return " ".join(text.split())[:MAX_NAME].strip()


def clean_mac(text: str) -> str:
    """A MAC in lower case with colons; empty if it is none."""
    text = text.strip().lower().replace("-", ":")
    return text if _MAC.fullmatch(text) else ""


def clean_ip(text: str) -> str:
    """An address in its canonical spelling, without a prefix length; empty if it is none."""
    try:
        return str(ipaddress.ip_address(text.partition("/")[0].strip()))
    except ValueError:
        return ""


def parse_dnsmasq(text: str) -> Iterator[Lease]:
    """dnsmasq's lease file: `expiry MAC address name client-id`, `*` for what is unknown.

    After a line `duid …` come DHCPv6 leases, which have an IAID where the MAC was: they name an address only. A MAC of
    another hardware type than Ethernet is written `06-aa:bb:…`.
    """
    version6 = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["duid"]:
            version6 = True
            continue
        if len(words) < 4 or not words[0].isdecimal() or words[3] == "*":
            continue
        name, ip = clean_name(words[3]), clean_ip(words[2])
        mac = "" if version6 else clean_mac(words[1])
        if name and (mac or ip):
            yield Lease(name, mac, ip)


def parse_odhcpd(text: str) -> Iterator[Lease]:
    """odhcpd's state file: comment lines `# interface DUID|MAC iaid|ipv4 name expiry id length address/length …`.

    The lines between them are for name servers and say less. A name that odhcpd refused starts with `broken\\x20`.
    """
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8 or words[0] != "#" or words[4] == "-" or words[4].startswith("broken\\x20"):
            continue
        name = clean_name(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), words[4]))
        if not name:
            continue
        mac = ""
        if words[3] == "ipv4" and _HEX_MAC.fullmatch(words[2].lower()):
            mac = ":".join(words[2].lower()[at : at + 2] for at in range(0, 12, 2))
            yield Lease(name, mac)
        for word in words[8:]:
            ip = clean_ip(word)
            if ip:
                yield Lease(name, mac, ip)


def parse_ethers(text: str) -> Iterator[Lease]:
    """`/etc/ethers`: `MAC name`; a MAC that is given an address instead of a name says nothing here."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) >= 2 and clean_mac(words[0]) and not clean_ip(words[1]):
            name = clean_name(words[1])
            if name:
                yield Lease(name, clean_mac(words[0]))


def static_names(sections: Iterable[uci.Section]) -> Iterator[Lease]:
    """The owner's names in UCI `dhcp`: sections `host` (name, mac, ip) and `domain` (name, ip)."""
    for section in sections:
        if section.type not in ("host", "domain"):
            continue
        name = clean_name(_word(section, "name"))
        if not name:
            continue
        ip = clean_ip(_word(section, "ip"))
        if ip:
            yield Lease(name, "", ip)
        if section.type == "host":
            for word in _words(section, "mac"):
                mac = clean_mac(word)
                if mac:
                    yield Lease(name, mac, ip)


def _words(section: uci.Section, option: str) -> list[str]:
    value = section.options.get(option, "")
    return value.split() if isinstance(value, str) else [word for item in value for word in item.split()]


def _word(section: uci.Section, option: str) -> str:
    return next(iter(_words(section, option)), "")


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


class NameBook:
    """Answers which name a MAC or an address has; `refresh()` reads again the files that changed."""

    def __init__(self, config_dir: str = paths.CONFIG_DIR, ethers: str = ETHERS) -> None:
        self._config_dir = config_dir
        self._ethers = Path(ethers)
        self._by_mac: dict[str, str] = {}
        self._by_ip: dict[str, str] = {}
        self._stamps: dict[Path, tuple[int, ...]] = {}
        self._sections: list[uci.Section] = []
        self._config_stamp: tuple[int, ...] | None = None
        self._unreadable: dict[str, str] = {}
        self.rereads = 0

    def name(self, mac: str, ips: Iterable[str]) -> str:
        """The name of a client, empty if nobody gave it one."""
        found = self._by_mac.get(mac)
        if found:
            return found
        return next((self._by_ip[ip] for ip in ips if ip in self._by_ip), "")

    def refresh(self) -> bool:
        """Reads what changed since the last call; True if anything did."""
        config = Path(self._config_dir, "dhcp")
        stamp = _stamp(config)
        if stamp != self._config_stamp:
            self._config_stamp = stamp
            self._stamps = {}
            self._sections = self._read_config()
        dnsmasq, odhcpd = self._lease_files()
        stamps = {path: _stamp(path) for path in (*dnsmasq, *odhcpd, self._ethers)}
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        self._by_mac, self._by_ip = {}, {}
        self.rereads += 1
        # The first name a key gets stays: the owner's own before what the devices call themselves.
        self._enter(static_names(self._sections))
        self._enter(parse_ethers(self._read(self._ethers)))
        for path in dnsmasq:
            self._enter(parse_dnsmasq(self._read(path)))
        for path in odhcpd:
            self._enter(parse_odhcpd(self._read(path)))
        return True

    def problems(self) -> list[Problem]:
        """Files that are there and cannot be read."""
        return [
            Problem(
                "lan_names_unreadable",
                f"{path} cannot be read ({reason}); clients that only it names are shown without a name.",
                "Make it readable for the engine.",
            )
            for path, reason in self._unreadable.items()
        ]

    def _lease_files(self) -> tuple[list[Path], list[Path]]:
        dnsmasq: list[str] = []
        odhcpd: list[str] = []
        for section in self._sections:
            chosen = _word(section, "leasefile")
            if section.type == "dnsmasq":
                dnsmasq.append(chosen or DNSMASQ_LEASES)
            elif section.type == "odhcpd" and chosen:
                odhcpd.append(chosen)
        return (
            [Path(path) for path in dict.fromkeys(dnsmasq or [DNSMASQ_LEASES])],
            [Path(path) for path in dict.fromkeys(odhcpd or ODHCPD_LEASES)],
        )

    def _enter(self, leases: Iterable[Lease]) -> None:
        for number, lease in enumerate(leases):
            if number >= MAX_LEASES:
                break
            if lease.mac:
                self._by_mac.setdefault(lease.mac, lease.name)
            if lease.ip:
                self._by_ip.setdefault(lease.ip, lease.name)

    def _read(self, path: Path) -> str:
        self._unreadable.pop(str(path), None)
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            self._unreadable[str(path)] = error.strerror or str(error)
            return ""

    def _read_config(self) -> list[uci.Section]:
        self._unreadable.pop(f"{self._config_dir}/dhcp", None)
        try:
            return uci.read("dhcp", self._config_dir)
        except OSError as error:
            self._unreadable[f"{self._config_dir}/dhcp"] = error.strerror or str(error)
            return []
