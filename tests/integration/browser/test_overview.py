"""The Overview in a browser: its figures are the engine's and follow it, faults are said, a poll is one question."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from dpi_dual import config_edit
from dpi_dual.rpc.bounded import MOST_BYTES
from lab.engine import RunningEngine, running_engine
from lab.waiting import eventually
from tests.integration.browser.harness import PATIENCE_MS, ROOT, Site, Visit, gateway, serious_faults
from tests.integration.browser.household import ATTACKER, HOSTILE, Household, household, ip_of

PAGE = "admin/secubox/dpi-dual/overview"
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def house() -> Iterator[Household]:
    """Clients with hostile names, an attacker, threats of remote addresses and of a client."""
    with household(clients=12, crowdsec=False) as running:
        running.threats(6)
        running.attacks(3, client_ip=ATTACKER)
        by_client = {"ip": ip_of(3), "event_type": "dpi_threat", "reason": "a risky flow", "score": 65}
        eventually(
            "the client's threat is recorded",
            lambda: running.engine.call("dpi.lan", "clients")["total"] == 12,
        )
        assert running.engine.call("dpi.correlator", "correlate", **by_client)["ok"]
        eventually("the attacks were correlated", lambda: _overview(running.engine)["mitm"]["threats_detected"] >= 3)
        yield running


@pytest.fixture(scope="module")
def site(house: Household, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway(tmp_path_factory.mktemp("site"), house.engine) as served:
        yield served


def _overview(engine: RunningEngine, **params: Any) -> dict[str, Any]:
    return engine.call("dpi.status", "overview", **params)


def card(page: Page, stream: str) -> Locator:
    return page.locator(f"[data-stream={stream}]")


def figure(page: Page, stream: str, label: str) -> str:
    """What stands beside a label in a stream's card."""
    terms, values = (card(page, stream).locator(tag).all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(terms, values, strict=True))[label]


def shown(page: Page) -> dict[str, str]:
    """The figures of the cards that are whole numbers."""
    return {
        "requests": figure(page, "mitm", "Requests"),
        "threats": figure(page, "mitm", "Threats"),
        "clients": figure(page, "lan", "Active clients"),
        "destinations": figure(page, "lan", "Destinations"),
        "correlated": figure(page, "correlation", "Threats correlated"),
        "open": card(page, "correlation").locator(".dpi-big").inner_text(),
    }


def asked(engine: RunningEngine) -> dict[str, str]:
    """The same, by the engine."""
    answer = _overview(engine)
    return {
        "requests": f"{answer['mitm']['requests_total']:,}",
        "threats": f"{answer['mitm']['threats_detected']:,}",
        "clients": f"{answer['lan']['active_clients']:,}",
        "destinations": f"{answer['lan']['unique_destinations']:,}",
        "correlated": f"{answer['correlation']['threats_correlated']:,}",
        "open": f"{answer['correlation']['open']:,}",
    }


def opened(visit: Visit, **how: Any) -> Page:
    page = visit(PAGE, **how)
    expect(card(page, "lan")).to_have_attribute("data-state", "running")
    return page


def threats(page: Page) -> Locator:
    return page.locator("[data-part=threats] tbody tr")


def test_figures_are_the_engine_s_and_follow_it(visit: Visit, house: Household) -> None:
    page = opened(visit)
    eventually("the page shows what the engine answers", lambda: shown(page) == asked(house.engine))
    before = shown(page)
    address = page.evaluate("() => { window.same = true; return location.href; }")
    house.attacks(2, first=1000, client_ip=ATTACKER)
    house.agent.tick()
    eventually("new attacks are shown", lambda: shown(page)["threats"] != before["threats"])
    eventually("the page shows what the engine answers now", lambda: shown(page) == asked(house.engine))
    assert page.evaluate("() => window.same && location.href") == address


def test_one_small_question_a_poll(visit: Visit) -> None:
    page = opened(visit)
    expect(page.locator("path.dpi-line").first).to_have_attribute("d", re.compile("^M"))
    asked_for: list[tuple[list[Any], int]] = []

    def note(request: Request) -> None:
        if request.url.split("?")[0].endswith(("/ubus", "/ubus/")) or "/admin/ubus" in request.url:
            answer = request.response()
            asked_for.append((json.loads(request.post_data or "[]"), len(answer.body()) if answer else 0))

    page.on("requestfinished", note)

    def enough() -> bool:
        page.wait_for_timeout(200)  # lets events of the page arrive here
        return len(asked_for) >= 3

    eventually("three polls", enough)
    for question, size in asked_for:
        (call,) = question if isinstance(question, list) else [question]
        assert call["params"][1:3] == ["dpi.status", "overview"], call
        assert size <= MOST_BYTES
        assert call["params"][3]["since"] > 0, "only what is new"


def test_graph_is_drawn_read_out_and_listed(visit: Visit, house: Household) -> None:
    page = opened(visit)
    graph = page.locator("[data-part=graph]")
    eventually("the series has points", lambda: len(_overview(house.engine)["series"]["points"]) >= 2)
    chart = graph.get_by_role("img")
    expect(graph.locator("path.dpi-line").nth(1)).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+"))
    expect(chart).to_have_accessible_name("Traffic over time: WAN and LAN, requests and alerts")
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(graph.locator("[aria-live]")).to_contain_text("LAN")
    expect(graph.locator(".dpi-cursor")).to_have_attribute("visibility", "visible")
    page.keyboard.press("Escape")
    expect(graph.locator(".dpi-cursor")).to_have_attribute("visibility", "hidden")
    graph.get_by_text("Show as table").click()
    rows = graph.locator("tbody tr")
    expect(rows.first).to_be_visible()
    eventually("a row a point", lambda: rows.count() == len(_overview(house.engine)["series"]["points"]))


def test_a_day_instead_of_ten_minutes(visit: Visit) -> None:
    page = opened(visit)
    day = page.get_by_role("button", name="24 hours")
    with page.expect_request(lambda request: '"24h"' in (request.post_data or "")):
        day.click()
    expect(day).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="10 minutes")).to_have_attribute("aria-pressed", "false")


def test_hostile_names_are_text(visit: Visit, house: Household) -> None:
    house.threats(len(HOSTILE))
    page = opened(visit)
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[3], HOSTILE[5]):
        expect(page.locator("[data-part=threats]")).to_contain_text(text[:40])
    page.get_by_role("button", name="LAN", exact=True).click()
    assert page.evaluate("() => window.owned") is None
    assert page.locator(".dpi-page img, .dpi-page svg[onload], .dpi-page [onerror]").count() == 0


def test_threats_sort_filter_and_lead_on(visit: Visit, house: Household) -> None:
    answer = house.engine.call(
        "dpi.correlator", "correlate", ip=ip_of(3), event_type="scanner", reason="once more", score=99
    )
    assert answer["ok"]
    page = opened(visit)
    expect(threats(page).first).to_be_visible()
    head = page.get_by_role("columnheader", name="Score")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(threats(page).first).to_contain_text("99")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("searchbox").fill("once more")
    expect(threats(page)).to_have_count(1)
    row = threats(page).first
    timeline, client = (link.get_attribute("href") or "" for link in row.get_by_role("link").all())
    assert timeline.endswith(f"/timeline#ip={ip_of(3)}")
    assert "/lan#client=" in client
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.locator("[data-part=threats]")).to_contain_text("No row matches the filter.")


def test_focus_and_filter_outlive_polls(visit: Visit, house: Household) -> None:
    page = opened(visit)
    box = page.get_by_role("searchbox")
    box.fill("1")
    box.focus()
    before = shown(page)["correlated"]
    house.threats(1, reason="while somebody types")
    eventually("a poll came by", lambda: shown(page)["correlated"] != before)
    expect(box).to_be_focused()
    expect(box).to_have_value("1")


def test_address_is_looked_up_and_recorded_after_a_question(visit: Visit, house: Household) -> None:
    page = opened(visit)
    box = page.locator("[data-part=lookup]")
    stranger = "203.0.113.77"
    box.get_by_label("Address").fill(stranger)
    box.get_by_role("button", name="Look up").click()
    expect(box).to_contain_text("a remote address")
    assert _about(house, stranger) == 0
    box.get_by_label("Reason").fill("<b>seen</b>")
    box.get_by_role("button", name="Record and correlate").click()
    page.get_by_role("button", name="Cancel").click()
    assert _about(house, stranger) == 0
    box.get_by_role("button", name="Record and correlate").click()
    page.get_by_role("button", name="Record", exact=True).click()
    expect(box).to_contain_text("Recorded as threat")
    assert _about(house, stranger) == 1
    expect(page.locator("[data-part=threats]")).to_contain_text("<b>seen</b>")


def test_a_refused_request_is_found_by_the_reference_number_of_its_page(visit: Visit, house: Household) -> None:
    alert = house.engine.call("dpi.status", "alerts", ip=ATTACKER)["alerts"][0]
    page = opened(visit)
    box = page.locator("[data-part=lookup]")
    box.get_by_label("Address").fill(f" {alert['request_id'].upper()} ")
    box.get_by_role("button", name="Look up").click()
    expect(box.locator("h4").first).to_contain_text(ATTACKER)
    expect(box).to_contain_text(f"{alert['method']} {alert['host']}{alert['path']}")
    expect(box).to_contain_text(alert["rule"])
    box.get_by_label("Address").fill("00000000deadbeef")
    box.get_by_role("button", name="Look up").click()
    expect(box).to_contain_text("No alert has this reference number")


def _about(house: Household, ip: str) -> int:
    total: int = house.engine.call("dpi.correlator", "timeline", ip=ip)["total"]
    return total


def test_nonsense_for_an_address_is_answered_with_a_sentence(visit: Visit) -> None:
    page = opened(visit)
    box = page.locator("[data-part=lookup]")
    box.get_by_label("Address").fill("<img src=x onerror=window.owned=1>")
    box.get_by_role("button", name="Look up").click()
    expect(box.locator(".dpi-error")).to_contain_text("address")
    assert page.evaluate("() => window.owned") is None


def test_problems_are_sentences_with_what_to_do(visit: Visit, house: Household) -> None:
    page = opened(visit)
    answer = _overview(house.engine)
    grave = next(problem for problem in answer["problems"] if problem["severity"] != "info")
    expect(page.locator(".dpi-troubles")).to_contain_text(grave["message"][:80])
    expect(page.locator(".dpi-troubles")).to_contain_text(grave["hint"][:80])


def test_distribution_is_told_in_figures_too(visit: Visit, house: Household) -> None:
    page = opened(visit)
    names = page.locator("[data-part=names]")
    names.get_by_role("button", name="LAN", exact=True).click()
    largest = _overview(house.engine)["distribution"]["lan"]["protocols"][0]["name"]
    expect(names.locator(".dpi-legend tbody tr").first).to_contain_text(largest)
    expect(names.get_by_role("img")).to_be_visible()
    expect(names.locator(".dpi-bars tbody tr").first).to_contain_text("flows")


def test_who_may_only_look_is_offered_nothing_else(visit: Visit) -> None:
    page = opened(visit, login="viewer")
    for name in ("Start", "Stop", "Restart", "Record and correlate"):
        assert page.get_by_role("button", name=name, exact=True).count() == 0
    page.get_by_role("textbox", name="Address").fill("203.0.113.1")
    page.get_by_role("button", name="Look up").click()
    expect(page.locator("[data-part=lookup]")).to_contain_text("Reputation")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")])
def test_fit_for_everybody(visit: Visit, width: int, scheme: str) -> None:
    page = opened(visit, width=width, scheme=scheme)
    expect(threats(page).first).to_be_visible()
    page.get_by_role("textbox", name="Address").fill(ATTACKER)
    page.get_by_role("button", name="Look up").click()
    expect(page.locator("[data-part=lookup]")).to_contain_text("Reputation")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert serious_faults(page, ".dpi-page") == []


def test_other_languages(visit: Visit) -> None:
    page = opened(visit, language="de")
    expect(page.locator("[data-part=threats] h3")).not_to_have_text("Recent threats")


# --- an engine that comes and goes


class Service:
    """The init script's part: stops the engine of `running_engine` and starts another one in its place."""

    def __init__(self, engine: RunningEngine) -> None:
        self.engine = engine
        self.pid_file = engine.directory / "pid"
        self.pid_file.write_text(str(engine.process.pid))
        self.script = engine.directory / "init.sh"
        daemon = f"{sys.executable} {ROOT / 'sbin' / 'dpi-duald'}"
        log = engine.directory / "log.again"
        self.script.write_text(
            "#!/bin/sh\n"
            f"stop() {{ kill $(cat {self.pid_file}); }}\n"
            f"start() {{ setsid {daemon} </dev/null >{log} 2>&1 & echo $! >{self.pid_file}; }}\n"
            'case "$1" in stop) stop;; start) start;; *) exit 9;; esac\n'
        )
        self.script.chmod(0o700)

    def kill(self) -> None:
        """Ends what was started again, and waits for it: it is nobody's child here."""
        pid = int(self.pid_file.read_text())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        eventually("the engine is gone", lambda: not self._runs(pid))

    def _runs(self, pid: int) -> bool:
        if pid == self.engine.process.pid:
            return self.engine.process.poll() is None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
def stoppable(tmp_path: Path) -> Iterator[tuple[RunningEngine, Site]]:
    with running_engine() as engine:
        service = Service(engine)
        served = replace(engine, environment={**engine.environment, "DPI_DUAL_INIT": str(service.script)})
        try:
            with gateway(tmp_path, served) as site:
                yield engine, site
        finally:
            service.kill()


def test_nothing_seen_yet_says_what_to_do(visit: Visit, stoppable: tuple[RunningEngine, Site]) -> None:
    visit.site = stoppable[1]
    page = visit(PAGE)
    expect(page.locator("[data-part=threats]")).to_contain_text("No threats yet.")
    expect(page.locator("[data-part=names]")).to_contain_text("No flow was seen yet")
    expect(card(page, "mitm")).to_contain_text("mitmproxy")
    assert serious_faults(page, ".dpi-page") == []


def test_stop_and_start_are_done_and_shown(visit: Visit, stoppable: tuple[RunningEngine, Site]) -> None:
    engine, visit.site = stoppable
    page = visit(PAGE)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").or_(page.locator(".modal")).get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("The engine does not run.")).to_be_visible()
    engine.process.wait(30)
    expect(page.get_by_text("The figures below are old")).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    assert serious_faults(page, ".dpi-page") == []
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_text("The engine does not run.")).to_have_count(0)
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    assert eventually("the engine answers", lambda: _overview(engine)["engine"] == "running")


def test_who_may_only_look_is_told_that_it_is_down(visit: Visit, stoppable: tuple[RunningEngine, Site]) -> None:
    engine, visit.site = stoppable
    engine.process.terminate()
    engine.process.wait(30)
    page = visit(PAGE, login="viewer")
    expect(page.get_by_text("The engine does not run.")).to_be_visible()
    assert page.get_by_role("button", name="Start", exact=True).count() == 0


def test_what_is_switched_off_is_not_offered_a_start_that_starts_nothing(
    visit: Visit, stoppable: tuple[RunningEngine, Site]
) -> None:
    engine, visit.site = stoppable
    config_edit.write({"settings": {"enabled": False}}, str(engine.directory / "config"), notify=False)
    engine.process.terminate()
    engine.process.wait(30)
    page = visit(PAGE)
    expect(page.get_by_text("DPI Dual-Stream is switched off in Settings.")).to_be_visible()
    expect(page.get_by_text("Switch it on in Settings, General.")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="nothing is started")).to_be_visible()


def test_a_failed_action_is_told_in_its_own_words(visit: Visit, stoppable: tuple[RunningEngine, Site]) -> None:
    _, visit.site = stoppable
    page = visit(PAGE)
    page.get_by_role("button", name="Restart", exact=True).click()
    page.get_by_role("dialog").or_(page.locator(".modal")).get_by_role("button", name="Restart").click()
    expect(page.get_by_role("alert")).to_contain_text("restart ended with 9")
