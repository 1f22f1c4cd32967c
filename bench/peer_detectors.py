"""Suricata and CrowdSec beside the published services: how each is started, and what it found."""

from __future__ import annotations

import json
import sqlite3
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.peer_lab import PeerLabError
from bench.peer_programs import Peer
from lab.crowdsec import LocalApi
from lab.network import LAN_NETWORKS, WAN_INTERFACE
from lab.published import MITM_PORT

# --- Suricata

_SURICATA = """\
%YAML 1.1
---
include:
  - /etc/suricata/suricata.yaml
vars:
  address-groups:
    HOME_NET: "[{home}]"
    EXTERNAL_NET: "any"
    HTTP_SERVERS: "$HOME_NET"
    SMTP_SERVERS: "$HOME_NET"
    SQL_SERVERS: "$HOME_NET"
    DNS_SERVERS: "$HOME_NET"
    TELNET_SERVERS: "$HOME_NET"
    AIM_SERVERS: "$EXTERNAL_NET"
    DC_SERVERS: "$HOME_NET"
    DNP3_SERVER: "$HOME_NET"
    DNP3_CLIENT: "$HOME_NET"
    MODBUS_CLIENT: "$HOME_NET"
    MODBUS_SERVER: "$HOME_NET"
    ENIP_CLIENT: "$HOME_NET"
    ENIP_SERVER: "$HOME_NET"
  port-groups:
    HTTP_PORTS: "[80,{plain}]"
    SHELLCODE_PORTS: "!80"
    ORACLE_PORTS: 1521
    SSH_PORTS: 22
    DNP3_PORTS: 20000
    MODBUS_PORTS: 502
    FILE_DATA_PORTS: "[$HTTP_PORTS,110,143]"
    FTP_PORTS: 21
    GENEVE_PORTS: 6081
    VXLAN_PORTS: 4789
    TEREDO_PORTS: 3544
af-packet:
  - interface: {wan}
    threads: 1
    cluster-id: 99
    cluster-type: cluster_flow
    defrag: yes
    tpacket-v3: yes
    checksum-checks: no
  - interface: lo
    threads: 1
    cluster-id: 98
    cluster-type: cluster_flow
    defrag: yes
    tpacket-v3: yes
    # Packets of the loopback are as large as 64 KiB: fewer of them take as much room.
    block-size: 262144
    ring-size: 500
    bpf-filter: tcp port {plain}
    checksum-checks: no
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      xff:
        enabled: yes
        mode: extra-data
        deployment: reverse
        header: X-Forwarded-For
      types:
        - alert
        - tls
"""


class Suricata(Peer):
    """On the WAN, where TLS hides the requests, and on the loopback between HAProxy and mitmproxy, where it does not.

    With the rules that are on the machine (`suricata-update` puts them into /var/lib/suricata/rules).
    """

    name = "suricata"

    def launch(self) -> None:
        config = self.directory / "suricata.yaml"
        home = ",".join((*LAN_NETWORKS, "203.0.113.2/32", "2001:db8:113::2/128", "192.168.2.0/24", "127.0.0.0/8"))
        config.write_text(_SURICATA.format(home=home, wan=WAN_INTERFACE, plain=MITM_PORT))
        pid_file = self.directory / "pid"
        options = (
            "-c",
            str(config),
            "-l",
            str(self.directory),
            "--pidfile",
            str(pid_file),
            "--af-packet",
            "-k",
            "none",
        )
        self.start("suricata", *options)
        self.loading_s = self.wait("Suricata to capture", lambda: "Engine started" in self._said())

    def _said(self) -> str:
        return (self.directory / "said.log").read_text(errors="replace")

    @property
    def events(self) -> Path:
        return self.directory / "eve.json"

    def alerts(self) -> list[Alert]:
        with self.events.open(errors="replace") as lines:
            return suricata_alerts(lines)


@dataclass(frozen=True, slots=True)
class Alert:
    """Who, where it was seen, and by which rule; severity 1 is the gravest."""

    ip: str
    interface: str
    rule: str
    severity: int


def suricata_alerts(lines: Iterable[str]) -> list[Alert]:
    """From EVE; the address is the one told in X-Forwarded-For where there is one."""
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line is still being written
        if event.get("event_type") == "alert":
            what = event["alert"]
            ip = what.get("xff") or event.get("src_ip", "")  # a frame that is no IP has none
            found.append(Alert(ip, event.get("in_iface", ""), what["signature"], what["severity"]))
    return found


# --- CrowdSec

_ACQUISITION = "filenames:\n  - {log}\nlabels:\n  type: nginx\n"
_AGENT = """\
crowdsec_service:
  acquisition_path: {directory}/acquis.yaml
  parser_routines: 1
"""


class Crowdsec(Peer):
    """Its own way: an access log, its hub's parsers and scenarios as Debian's package carries them; it tells nobody."""

    PORT = 8090

    name = "crowdsec-alone"

    def launch(self) -> None:
        self.access_log = self.directory / "access.log"
        self.access_log.touch()
        self._api = LocalApi(self.directory, self.PORT)
        self._api.prepare()
        (self.directory / "acquis.yaml").write_text(_ACQUISITION.format(log=self.access_log))
        text = self._api.config.read_text() + _AGENT.format(directory=self.directory)
        # What it knows is the machine's, what it learns is here.
        text = text.replace(f"config_dir: {self.directory}", "config_dir: /etc/crowdsec")
        text = text.replace(f"hub_dir: {self.directory}/hub", "hub_dir: /var/lib/crowdsec/hub")
        text = text.replace(f"index_path: {self.directory}/hub", "index_path: /var/lib/crowdsec/hub")
        self._api.config.write_text(text)
        for file in Path("/usr/share/crowdsec/data").iterdir():
            (self.directory / file.name).symlink_to(file)
        self.start(*self._api.command[:-1])
        self.wait("CrowdSec to answer", self._answers)

    def _answers(self) -> bool:
        try:
            self.lab.run("router", ["cscli", "-c", str(self._api.config), "decisions", "list"])
        except PeerLabError:
            return False
        return True

    def bans(self) -> Bans:
        return crowdsec_bans(self.directory / "crowdsec.db")


#: Address → when it was first decided on.
Bans = dict[str, float]


def crowdsec_bans(database: Path) -> Bans:
    """From CrowdSec's own database."""
    connection = sqlite3.connect(f"file:{urllib.parse.quote(str(database))}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT value, MIN(created_at) FROM decisions GROUP BY value").fetchall()
    finally:
        connection.close()
    return {value: datetime.fromisoformat(str(at)).timestamp() for value, at in rows}
