"""One function a section of the panel: each asks the router once and draws what it says.

Text off the wire is an attacker's: it goes into tables, charts and `st.text`, never where Streamlit would read it as
Markdown (headings, metrics' labels, messages), because Markdown loads images.
"""

from __future__ import annotations

import datetime
from typing import Any

import altair
import pandas
import streamlit as st

from dpi_panel.router import Router, RouterError

#: Slices of the pie; the rest is one slice of its own.
SLICES = 8


def stream_status(router: Router) -> dict[str, Any]:
    """Both streams, LAN and correlation: running or not, and the figures that matter. Gives the answer back."""
    said = router.call("dpi.status", "status")
    if said.get("engine") != "running":
        st.warning("The engine is down; these are the last figures it wrote.")
    mitm, tap, lan, joined = st.columns(4)
    stream = said["mitm_stream"]
    with mitm:
        _state("MITM stream", stream)
        st.metric("Threats seen", _count(stream["threats_detected"]))
        st.metric("Blocked", _count(stream["blocked_count"]))
    stream = said["tap_stream"]
    with tap:
        _state("TAP stream", stream)
        st.metric("Received on the tap", _bytes(stream["rx_bytes"]))
        st.metric("Flows in the last minute", _count(stream["flows_1min"]))
    stream = said["lan_passive"]
    with lan:
        _state("LAN flows", stream)
        st.metric("Active clients", _count(stream["active_clients"]))
        st.metric("Destinations", _count(stream["unique_destinations"]))
    stream = said["correlation"]
    with joined:
        _state("Correlation", stream)
        st.metric("Threats correlated", _count(stream["threats_correlated"]))
    return said


def buffer_use(router: Router) -> dict[str, Any]:
    """How full Buffer B is, and what its requests were flagged for."""
    said = router.call("dpi.status", "buffer")
    entries, size = said["entries"], said["max_size"]
    st.progress(min(entries / size, 1.0) if size else 0.0, f"{_count(entries)} of {_count(size)} requests kept")
    seen, high = st.columns(2)
    seen.metric("Requests inspected", _count(said["requests_total"]))
    high.metric("High threat, still in the buffer", _count(said["high_threat_in_buffer"]))
    if said["threat_distribution"]:
        st.altair_chart(_bars(said["threat_distribution"], "category", "alerts"), width="stretch")
    else:
        st.caption("No alert yet.")
    return said


def protocol_pie(router: Router) -> dict[str, int]:
    """The protocols of the TAP stream as a pie, with the same figures as a table. Gives name → flows back."""
    said = router.call("dpi.status", "flows", limit=1)["protocols"]
    if not said:
        st.caption("No flow yet. Is the mirror on, and netifyd running?")
        return {}
    shares = sorted(said.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(flows for _, flows in shares[SLICES:])
    slices = pandas.DataFrame(shares[:SLICES] + ([("all others", rest)] if rest else []), columns=["protocol", "flows"])
    pie = (
        altair.Chart(slices)
        .mark_arc(innerRadius=50)
        .encode(
            theta=altair.Theta("flows:Q"),
            color=altair.Color("protocol:N", sort=list(slices["protocol"])),
            order=altair.Order("flows:Q", sort="descending"),
            tooltip=["protocol:N", "flows:Q"],
        )
    )
    st.altair_chart(pie, width="stretch")
    with st.expander("As a table"):
        st.dataframe(pandas.DataFrame(shares, columns=["Protocol", "Flows"]), hide_index=True, width="stretch")
    return dict(said)


def flow_counter(router: Router) -> int:
    """How many flows began in the last minute, with the change since the last look. Gives the number back."""
    flows = int(router.call("dpi.status", "flows", limit=1)["flows_1min"])
    before = st.session_state.get("dpi_flows_1min")
    st.metric("Flows in the last minute", _count(flows), None if before is None else flows - before)
    st.session_state["dpi_flows_1min"] = flows
    return flows


def threats(router: Router, limit: int = 50) -> list[dict[str, Any]]:
    """The newest correlated threats as a table."""
    found = router.call("dpi.correlator", "timeline", limit=limit)["threats"]
    if not found:
        st.caption("No threat yet.")
        return []
    rows = [
        {
            "When": datetime.datetime.fromtimestamp(threat["last_at"]).astimezone(),
            "Who": threat["ip"],
            "Event": threat["event_type"],
            "Score": threat["threat_score"],
            "Reputation": threat["reputation_score"],
            "CrowdSec": threat["crowdsec_status"],
            "Why": threat["reason"],
        }
        for threat in found
    ]
    st.dataframe(pandas.DataFrame(rows), hide_index=True, width="stretch")
    return list(found)


def health(router: Router) -> bool:
    """What is wrong and what to do about it; True when nothing is."""
    said = router.call("dpi.status", "health")
    for problem in said["problems"]:
        # The word is ours, the sentences may quote a host name.
        show = {"error": st.error, "warning": st.warning}.get(problem["severity"], st.info)
        show(problem["severity"].capitalize())
        st.text("\n".join(filter(None, (problem["message"], problem.get("hint")))))
    return bool(said["ok"])


def trouble(error: RouterError) -> None:
    """Says what went wrong; the router's own words as text."""
    st.error("The router gave no answer.")
    st.text(error.message)


def _state(title: str, stream: dict[str, Any]) -> None:
    st.subheader(title)
    if stream["running"]:
        st.badge("running", color="green")
    else:
        st.badge("stopped" if stream.get("enabled", True) else "switched off", color="gray")


def _bars(figures: dict[str, int], name: str, unit: str) -> altair.Chart:
    frame = pandas.DataFrame(sorted(figures.items(), key=lambda pair: -pair[1]), columns=[name, unit])
    return altair.Chart(frame).mark_bar().encode(x=f"{unit}:Q", y=altair.Y(f"{name}:N", sort="-x"))


def _count(number: float) -> str:
    return f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
