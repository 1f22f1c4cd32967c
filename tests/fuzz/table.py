"""The parsers of wire text that are fuzzed: one table, for the property tests and for the long runs with atheris."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fuzz import agents, mitm, router, rpc, web

Run = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One parser. `run` takes any bytes, and raises for a defect only."""

    name: str
    run: Run
    seeds: tuple[bytes, ...]
    """What the real peer says; found ones are damaged, cut and mixed."""
    what: str


TARGETS = {
    target.name: target
    for target in (
        Target("framing", agents.framing, agents.STREAMS, "bytes of a DPI agent, in any pieces"),
        Target("netifyd", agents.netifyd, agents.NETIFYD, "messages of netifyd, one a line"),
        Target("ndpid", agents.ndpid, agents.NDPID, "messages of nDPId, one a line"),
        Target("conntrack", agents.conntrack, agents.CONNTRACK, "a connection as the kernel tells it"),
        Target("neighbours", agents.neighbour, agents.NEIGHBOURS, "a neighbour as the kernel tells it"),
        Target("link", mitm.link, mitm.LINES, "lines of the analyser, at the engine"),
        Target("frames", mitm.frames, mitm.FRAMES, "frames of the addon, at the analyser"),
        Target("copies", mitm.copies, mitm.COPIES, "their heads, one a line"),
        Target("queries", mitm.queries, mitm.QUERIES, "questions of the engine, at the analyser"),
        Target("policy", mitm.policy, mitm.POLICIES, "the policy, at analyser and addon"),
        Target("stored", mitm.stored, mitm.STORED, "the buffer's files, when they are not encrypted"),
        Target("control", rpc.control, rpc.REQUESTS, "a line at the engine's control socket"),
        Target("plugin", rpc.plugin, rpc.ARGUMENTS, "a plugin's standard input, on its way to the engine"),
        Target("offline", rpc.offline, rpc.ARGUMENTS, "a plugin's standard input, when there is no engine"),
        Target("snapshots", rpc.snapshots, rpc.SNAPSHOTS, "the files of an engine that has gone, read by a plugin"),
        Target("legacy", rpc.legacy, rpc.OLD_CALLS, "calls of the shell predecessor's object"),
        Target("rest", rpc.rest, rpc.CGI, "a request to the HTTP API: first line, headers, body"),
        Target("request", web.request, web.REQUESTS, "a visitor's request: target, headers and body, at the WAF"),
        Target("normalise", web.normalise, web.VALUES, "one value in every view of the WAF"),
        Target("forwarded", web.forwarded, web.FORWARDED, "X-Forwarded-For and the port beside it"),
        Target("waf-check", web.waf_check, web.CHECKS, "a line of waf-check's input"),
        Target("uci", router.uci, router.UCI, "a file of UCI, read and edited"),
        Target("config", router.config, router.UCI, "/etc/config/dpi-dual"),
        Target("leases", router.leases, router.LEASES, "lease files of dnsmasq and odhcpd, /etc/ethers"),
        Target("lapi", router.lapi, router.ANSWERS, "an HTTP answer of CrowdSec"),
        Target("decisions", router.decisions, router.DECISIONS, "CrowdSec's stream of decisions"),
        Target("alerts", router.alerts, router.ALERTS, "what CrowdSec says about alerts"),
        Target("haproxy", router.haproxy, router.STATISTICS, "HAProxy's statistics"),
    )
}
