"""Fuzz targets: the router's own files, CrowdSec and HAProxy."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import tempfile
from pathlib import Path

from dpi_dual import config as settings
from dpi_dual.correlation import crowdsec_wire as wire
from dpi_dual.correlation import lapi as http
from dpi_dual.correlation.crowdsec_decisions import Decisions, go_duration_s
from dpi_dual.correlation.crowdsec_reader import DecisionReader
from dpi_dual.correlation.lapi import LapiError
from dpi_dual.lan import names
from dpi_dual.mitm import haproxy_state
from dpi_dual.ucifile import Document, UciError

ROOT = Path(__file__).resolve().parents[2]

UCI = (
    (ROOT / "config/dpi-dual").read_bytes(),
    b"config host 'printer'\n\toption name 'printer'\n\tlist mac '02:00:00:00:00:01'\n\n# why\nconfig dnsmasq\n",
    b'package x\nc a b;o x \'a\nb\' # c\nl y "a\\"b"\nconfig \'a\' "b"\n\toption\tz a\\ b\n',
)


def uci(data: bytes) -> None:
    content = data.decode("utf-8", "surrogateescape")
    document = Document(content)
    assert document.text == content
    document.stray()
    before = {section.name: section for section in document.sections()}
    for section in list(before.values())[:3]:
        try:
            document.set(section.name, "fuzz", "a 'b' \"c\" \\")
        except UciError:
            continue
        again = Document(document.text).section(section.name)
        assert again is not None and again.options["fuzz"] == "a 'b' \"c\" \\"
        # What stood there still does.
        assert {k: v for k, v in again.options.items() if k != "fuzz"} == {
            k: v for k, v in section.options.items() if k != "fuzz"
        }
    for name in list(before)[:1]:
        with contextlib.suppress(UciError):
            document.delete_section(name)
    json.dumps([dataclasses.asdict(damage) for damage in document.damage])
    list(names.static_names(document.sections()))


def config(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name in ("dpi-dual", "dpi-dual-secrets"):
            Path(directory, name).write_bytes(data)
        loaded = settings.load(directory)
    assert len(loaded.problems) <= settings.MAX_PROBLEMS + 1
    for problem in loaded.problems:
        assert problem.message.isprintable() and len(problem.message) < 500, problem


LEASES = (
    b"1700000000 02:00:00:00:00:01 192.168.1.20 printer 01:02\nduid 00:01\n1700000000 7 2001:db8::20 tv 00:01:02\n",
    b"# br-lan 0001 7 print\\x20er 1700000000 20 128 2001:db8::20/128\n"
    b"# br-lan 020000000001 ipv4 tv 1 14 32 192.168.1.9/32\n",
    b"02:00:00:00:00:01 printer # mine\n02-00-00-00-00-02 192.168.1.9\n",
)


def leases(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for parse in (names.parse_dnsmasq, names.parse_odhcpd, names.parse_ethers):
        for lease in parse(text):
            assert lease.name.isprintable() and 0 < len(lease.name) <= names.MAX_NAME
            assert lease.mac or lease.ip
            assert lease.mac == names.clean_mac(lease.mac) and lease.ip == names.clean_ip(lease.ip)


# --- CrowdSec

ANSWERS = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"new": null}',
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 403 Forbidden\r\n\r\n{}",
)


async def _answered(data: bytes) -> None:
    reader = asyncio.StreamReader(limit=http.PIECE)
    reader.feed_data(data)
    reader.feed_eof()
    try:
        status, fields = await http._read_head(reader)
        body = await http.Answer(reader, status, fields, 10.0).read(1000)
        assert len(body) <= 1000
    except (LapiError, EOFError, OSError, asyncio.LimitOverrunError):
        pass  # what `request` makes an error of


def lapi(data: bytes) -> None:
    asyncio.run(_answered(data))


_BAN = {
    "id": 7,
    "origin": "CAPI",
    "scenario": "crowdsecurity/ssh-bf",
    "scope": "Ip",
    "type": "ban",
    "duration": "4h0m0s",
}
DECISIONS = (
    json.dumps({"new": [{**_BAN, "value": "198.51.100.7"}], "deleted": [{**_BAN, "value": "2001:db8::/48"}]}).encode(),
    b'{"new": null, "deleted": null}',
    json.dumps([{**_BAN, "scope": "Range", "value": "203.0.113.0/24", "duration": "-1.5s"}]).encode(),
)


def decisions(data: bytes) -> None:
    reader, table = DecisionReader(), Decisions(lambda change, decision: json.dumps(dataclasses.asdict(decision)))
    table.begin(True)
    size = 1 + len(data) % 97
    try:
        for start in range(0, len(data), size):
            for change, item in reader.feed(data[start : start + size]):
                table.take(change or "new", item)
        reader.finish()
    except LapiError:
        table.abandon()
    else:
        table.end()
    table.lookup("198.51.100.7")
    table.expire()


ALERTS = (
    json.dumps(
        [
            {
                "id": 3,
                "message": "x",
                "events": [{"meta": [{"key": "dpi_dual_id", "value": "a-b"}]}],
                "decisions": [{**_BAN, "value": "198.51.100.7"}],
            }
        ]
    ).encode(),
    b'{"code":200,"expire":"2030-01-01T00:00:00Z","token":"x"}',
    b'{"message": "no"}',
)


def alerts(data: bytes) -> None:
    said = wire.decoded(data)
    assert len(wire.complaint(said)) <= 200
    found = said if isinstance(said, list) else [said]
    for alert in found[:16]:
        if not isinstance(alert, dict):
            continue
        wire.mark_of(alert)
        assert 60 <= wire.token_lifetime_s(alert.get("expire")) <= 3600
        go_duration_s(alert.get("duration"))
        for item in wire.decisions_in_force(alert):
            json.dumps(dataclasses.asdict(wire.ban_of(item, wire.number(alert.get("id")))), allow_nan=False)
            json.dumps(wire.shown(item), allow_nan=False)
            wire.is_community(item)


# --- HAProxy

STATISTICS = (
    b"# pxname,svname,stot,status,lastchg,check_status,check_code,\n"
    b"dpi-dual-inspect,mitm,5,UP,30,L7OK,200,\ndpi-dual-inspect,bypass,2,no check,30,,,\n\n",
)


def haproxy(data: bytes) -> None:
    try:
        state = haproxy_state.parse(data[: haproxy_state.MAX_ANSWER].decode("ascii", "replace"))
    except haproxy_state.StateError as error:
        assert len(str(error)) < 500
        return
    assert 0 <= state.inspected <= haproxy_state.MAX_FIGURE
    json.dumps([dataclasses.asdict(state), [problem.message for problem in haproxy_state.problems_of(state)]])
