"""The report adds up what the product's ubus objects say, over pages, restarts and counters that begin again."""

from __future__ import annotations

from typing import Any

import pytest

from lab import report


class Product:
    """Answers as the ubus objects do, from figures that a test may change."""

    def __init__(self) -> None:
        self.mirrored = 100
        self.clients: list[dict[str, Any]] = [
            client("02:00:00:00:00:01", 600, 400),
            client("02:00:00:00:00:02", 10, 20),
        ]
        self.tap_flows = [flow(n, "TLS" if n % 2 else "DNS") for n in range(1200)]
        self.lan_flows = [flow(1, "HTTP"), flow(2, "TLS", "2001:db8::2"), flow(3, "TLS", "2001:db8::3")]
        self.applications = [{"application": "youtube", "flows": 3, "bytes": 900}]
        self.counters = {"tap_flows_evicted": 0, "netifyd_frames_dropped": 2, "netifyd_reconnects": 1}
        self.alerts = [alert("a", "sqli", "rce"), alert("b", "sqli")]
        self.correlation = {"events": 9, "threats": 4, "joined_with_flow": 3, "banned": 1}
        self.buffer = {"entries": 0, "requests_total": 0, "threats_detected": 0, "blocked_count": 0}
        self.asked: list[tuple[str, str]] = []
        self.failing = False
        self.engine = "running"

    def call(self, name: str, method: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        self.asked.append((name, method))
        if self.failing:
            return {"error": "the engine is starting", "code": "starting"}
        arguments = arguments or {}
        tables = {
            ("dpi.status", "flows"): ("flows", self.tap_flows),
            ("dpi.lan", "flows"): ("flows", self.lan_flows),
            ("dpi.lan", "clients"): ("clients", self.clients),
            ("dpi.lan", "applications"): ("applications", self.applications),
            ("dpi.status", "alerts"): ("alerts", self.alerts),
        }
        if (name, method) in tables:
            key, rows = tables[name, method]
            start = int(arguments.get("before", 0))
            end = start + arguments["limit"]
            more = {"next": str(end)} if end < len(rows) else {}
            return {key: rows[start:end], "total": len(rows), **more}
        answers: dict[tuple[str, str], dict[str, Any]] = {
            ("dpi.status", "status"): {
                "engine": self.engine,
                "rss_bytes": 30_000_000,
                "tap_stream": {"flows_1min": 12},
            },
            ("dpi.correlator", "stats"): {
                "latency_ms_p99": 0.7,
                "crowdsec": {"state": "connected", "queued": 0},
                **self.correlation,
            },
            ("dpi.status", "buffer"): {"waiting": 0, "unreported": 0, **self.buffer},
            ("dpi.status", "mirror"): {"packets_mirrored": self.mirrored},
            ("dpi.status", "health"): {
                "counters": self.counters,
                "problems": [
                    {"code": "flow_offload", "message": "offload hides packets", "severity": "warning"},
                    {"code": "note", "message": "fine", "severity": "info"},
                ],
            },
            ("dpi.lan", "destinations"): {"total": 17, "destinations": []},
            ("dpi.lan", "status"): {
                "rx_rate_bps": 1_500_000,
                "tx_rate_bps": 0,
                "active_clients": 2,
                "unique_destinations": 17,
                "detected_protocols": 5,
                "source": "netifyd",
            },
        }
        return answers[name, method]


def client(mac: str, received: int, sent: int) -> dict[str, Any]:
    return {"mac": mac, "ip": "192.0.2.1", "bytes_in": received, "bytes_out": sent}


def alert(number: str, *categories: str) -> dict[str, Any]:
    return {"id": number, "categories": list(categories)}


def flow(number: int, protocol: str, local_ip: str = "192.0.2.1") -> dict[str, Any]:
    return {
        "first_seen_at": 1000.0 + number,
        "local_ip": local_ip,
        "local_port": number,
        "other_ip": "198.51.100.1",
        "other_port": 443,
        "ip_protocol": 6,
        "protocol": protocol,
    }


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


STATISTICS = {"calls": 40, "median_ms": 12.5, "errors": 1, "lost_events": 0, "faults": ["dpi.lan flows: too long"]}


@pytest.fixture
def product() -> Product:
    return Product()


def test_the_report_has_the_promised_keys_and_the_products_figures(product: Product) -> None:
    clock = Clock()
    figures = report.Figures(product, clock)
    clock.now = 30
    figures.look()
    document = figures.report(STATISTICS, 2, 1040, ["engine was killed by SIGKILL"])
    assert document == {
        "seconds": 30,
        "tap": {"packets_mirrored": 100, "flows": 1200, "protocols": {"DNS": 600, "TLS": 600}},
        "lan": {
            "clients": 2,
            "flows": 3,
            "bytes": 1030,
            "client_interface_bytes": 1040,
            "applications": {"youtube": 3},
            "protocols": {"TLS": 2, "HTTP": 1},
            "destinations": 17,
            "ipv6_flows": 2,
            "source": "netifyd",
        },
        "mitm": {"requests": 0, "alerts": {"sqli": 2, "rce": 1}, "blocked": 0, "buffer_entries": 0, "dropped": 0},
        "correlation": {
            "events": 9,
            "threats": 4,
            "joined_with_flow": 3,
            "banned": 1,
            "latency_ms_p99": 0.7,
            "crowdsec": "connected",
        },
        "ubus": {"calls": 40, "median_ms": 12.5, "errors": 1},
        "engine": {
            "rss_bytes": 30_000_000,
            "restarts": 2,
            "dropped": {"netifyd_frames_dropped": 2, "tap_flows_evicted": 0},
            "counters": {"netifyd_frames_dropped": 2, "netifyd_reconnects": 1},
        },
        "problems": {"flow_offload": "offload hides packets"},
        "errors": ["engine was killed by SIGKILL", "gateway: dpi.lan flows: too long"],
    }


def test_counters_that_begin_again_are_added_to_what_was(product: Product) -> None:
    figures = report.Figures(product)
    figures.look()
    product.mirrored = 150
    figures.glance()
    product.mirrored = 7
    product.clients = [client("02:00:00:00:00:01", 5, 5)]
    product.counters = {"netifyd_frames_dropped": 1}
    product.applications = [{"application": "youtube", "flows": 1, "bytes": 1}]
    figures.look()
    document = figures.report(STATISTICS, 1, 0, [])
    assert document["tap"]["packets_mirrored"] == 157
    assert document["lan"]["bytes"] == 1040
    assert document["lan"]["clients"] == 2
    assert document["lan"]["applications"] == {"youtube": 4}
    assert document["engine"]["dropped"]["netifyd_frames_dropped"] == 3


def test_a_flow_is_counted_once_under_its_last_protocol(product: Product) -> None:
    product.tap_flows = [flow(1, "Unknown"), flow(2, "DNS")]
    figures = report.Figures(product)
    figures.look()
    product.tap_flows = [flow(3, "TLS"), flow(1, "TLS")]
    figures.look()
    document = figures.report(STATISTICS, 0, 0, [])
    assert document["tap"]["flows"] == 3
    assert document["tap"]["protocols"] == {"TLS": 2, "DNS": 1}


def test_settling_waits_for_the_last_bytes_and_no_longer_than_told(product: Product) -> None:
    clock = Clock()
    figures = report.Figures(product, clock)
    assert figures.settle(1034, 20, clock.sleep)
    assert clock.now == 0
    assert not figures.settle(100_000, 20, clock.sleep)
    assert clock.now == report.QUIET_S
    assert not figures.settle(100_000, 5, clock.sleep)
    assert clock.now == report.QUIET_S + 5
    assert figures.report(STATISTICS, 0, 0, [])["seconds"] == report.QUIET_S


def test_settling_waits_until_every_request_is_analysed_and_every_alert_told(product: Product) -> None:
    clock = Clock()
    figures = report.Figures(product, clock)
    product.buffer |= {"requests_total": 5, "waiting": 2, "unreported": 1}

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now == 1:
            product.buffer |= {"waiting": 0, "threats_detected": 2}
        if clock.now == 2:
            product.buffer |= {"unreported": 0}

    assert figures.settle(1034, 20, sleep)
    assert clock.now == 2 + report.MITM_QUIET_S


def test_alerts_are_counted_once_and_requests_over_restarts(product: Product) -> None:
    figures = report.Figures(product)
    product.buffer |= {"requests_total": 50, "threats_detected": 3, "blocked_count": 1, "entries": 50}
    product.counters |= {"mitm_addon_dropped": 4, "mitm_analysis_skipped": 2, "mitm_ring_evicted": 9}
    figures.look()
    product.alerts = [alert("c", "xss"), *product.alerts]
    product.buffer |= {"requests_total": 7, "threats_detected": 1, "blocked_count": 1, "entries": 7}
    figures.look()
    document = figures.report(STATISTICS, 0, 0, [])
    assert document["mitm"] == {
        "requests": 57,
        "alerts": {"sqli": 2, "rce": 1, "xss": 1},
        "blocked": 1,
        "buffer_entries": 7,
        "dropped": 6,
    }
    assert "mitm_ring_evicted" not in document["engine"]["dropped"]
    assert "57 requests, 4 alerts, 1 blocked" in figures.line()


def test_correlated_figures_are_kept_when_the_state_begins_anew(product: Product) -> None:
    figures = report.Figures(product)
    figures.look()
    product.correlation = {"events": 2, "threats": 1, "joined_with_flow": 1, "banned": 0}
    figures.look()
    correlated = figures.report(STATISTICS, 1, 0, [])["correlation"]
    assert [correlated[name] for name in report.CORRELATED] == [11, 5, 4, 1]


def test_an_error_of_the_product_is_raised_with_its_words(product: Product) -> None:
    product.failing = True
    with pytest.raises(report.ProductError, match=r"dpi\.status status: the engine is starting \(starting\)"):
        report.Figures(product).glance()


def test_answers_given_without_an_engine_are_no_figures(product: Product) -> None:
    figures = report.Figures(product)
    figures.glance()
    product.engine = "down"
    with pytest.raises(report.ProductError, match="the engine is down"):
        figures.glance()
    assert "30.0 MB" in figures.line()
    with pytest.raises(report.ProductError, match="an answer without total"):
        report.figure({}, "total")


def test_the_line_says_the_real_figures(product: Product) -> None:
    figures = report.Figures(product, Clock())
    figures.glance()
    line = figures.line()
    parts = ("100 packets mirrored", "12 flows/min", "2 clients", "1.0 kB", "1.50 Mbit/s", "17 destinations")
    for part in (*parts, "4 threats, 1 banned"):
        assert part in line
    assert len(product.asked) == 6


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3e12, "3000.0 GB")]
)
def test_bytes_for_people(count: float, text: str) -> None:
    assert report.in_bytes(count) == text
