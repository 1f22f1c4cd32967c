"""The Correlation Timeline in a browser, over a real engine, an analyser and CrowdSec's local API."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from lab import crowdsec
from lab.waiting import eventually
from tests.integration.browser.harness import PATIENCE_MS, Site, Visit, gateway, serious_faults
from tests.integration.browser.household import ATTACKER, HOSTILE, LONG, Household, household, ip_of, mac_of

TIMELINE = "admin/secubox/dpi-dual/timeline"
CARDS = ".dpi-event"
with_crowdsec = pytest.mark.skipif(bool(crowdsec.missing()), reason=crowdsec.missing() or "CrowdSec is here")

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def house() -> Iterator[Household]:
    with household(clients=6) as running:
        running.threats(70)
        running.attacks(4)
        eventually(
            "the WAF's alerts arrive", lambda: sum(row["count"] for row in records(running, ip=ATTACKER)) == 4, 60
        )
        yield running


@pytest.fixture(scope="module")
def site(house: Household, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway(tmp_path_factory.mktemp("site"), house.engine) as served:
        yield served


def records(house: Household, **wanted: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.ask("dpi.correlator", "timeline", **wanted)["threats"]
    return found


def figure(page: Page, name: str) -> str:
    return page.locator(f'[data-figure="{name}"]').inner_text()


def of(page: Page, house: Household, ip: str) -> dict[str, Any]:
    """Opens the newest card of an address, alone on the page; its record."""
    page.goto(re.sub("#.*", "", page.url) + f"#ip={ip}")
    record = records(house, ip=ip)[0]
    card = page.locator(f'{CARDS}[data-id="{record["id"]}"]')
    expect(page.locator(CARDS)).to_have_count(len(records(house, ip=ip, limit=30)))
    card.locator(".dpi-disclose").click()
    expect(card.get_by_role("heading", name="Reputation")).to_be_visible()
    return record


def act(page: Page, action: str, **fields: str) -> str:
    """Presses an action's button, answers its question with yes; what the card says came of it."""
    outcome = page.locator(".dpi-outcome")
    before = outcome.inner_text()
    page.locator(f'[data-action="{action}"]').click()
    dialog = page.get_by_role("dialog")
    for name, value in fields.items():
        field = dialog.get_by_label(name)
        if field.evaluate("node => node.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    dialog.locator("button[type=submit]").click()
    expect(dialog).to_be_hidden()
    expect(outcome).not_to_have_text(before)
    return outcome.inner_text()


# --- what is shown


def test_figures_are_those_of_ubus_and_follow_them(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE)
    page.locator(CARDS).first.wait_for()

    def same() -> bool:
        figures = house.ask("dpi.correlator", "timeline", limit=1, figures=True)["figures"]
        day = sum(point["events"] for point in figures["trend"])
        shown = [figure(page, name) for name in ("level", "new", "crowdsec_ban", "acknowledged", "muted", "day")]
        states = [str(figures["by_state"][name]) for name in ("new", "crowdsec_ban", "acknowledged", "muted")]
        return shown == [figures["level"], *states, str(day)]

    eventually("the figures are those of ubus", same)
    before = figure(page, "new")
    house.threats(1, ip="192.0.2.77", reason="one more", score=99)
    eventually("the figures follow", lambda: figure(page, "new") != before and same())


def test_cards_are_the_records_newest_first(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE)
    page.locator(CARDS).first.wait_for()
    known = records(house, limit=30)
    numbers = page.locator(CARDS).evaluate_all("nodes => nodes.map(node => Number(node.dataset.id))")
    assert numbers == [record["id"] for record in known]
    first = page.locator(CARDS).first.inner_text()
    assert known[0]["ip"] in first
    assert str(known[0]["threat_score"]) in first


def test_a_card_opens_to_the_context_of_its_address(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE)
    of(page, house, ATTACKER)
    context = house.ask("dpi.correlator", "context", ip=ATTACKER)
    assert figure(page, "reputation") == f"{context['reputation']['score']:.1f}"
    card = page.locator(CARDS).first
    for title, key in (("Requests", "mitm_requests"), ("WAF alerts", "waf_alerts"), ("Flows", "dpi_flows")):
        expect(card.get_by_role("heading", name=title)).to_have_text(f"{title} ({len(context[key])})")
    expect(card.locator("table[aria-label=Requests] tbody tr")).to_have_count(4)
    expect(card.locator("table[aria-label='WAF alerts'] tbody tr").first).to_contain_text("ARGS:id")
    expect(card.locator("svg.dpi-line-chart")).to_be_visible()


# --- filters


def test_filters_are_kept_in_the_address(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE)
    page.get_by_label("Event", exact=True).select_option("scanner")
    page.get_by_label("Score", exact=True).select_option("40")
    page.get_by_label("Time", exact=True).select_option("day")
    wanted = {"type": "scanner", "min_score": 40}
    total = house.ask("dpi.correlator", "timeline", **wanted)["total"]
    expect(page.locator(CARDS)).to_have_count(total)
    page.get_by_label("Address").fill("203.0.113.0/26")
    page.get_by_label("Address").press("Enter")
    fewer = house.ask("dpi.correlator", "timeline", ip="203.0.113.0/26", **wanted)["total"]
    assert 0 < fewer < total
    expect(page.locator(CARDS)).to_have_count(fewer)
    page.wait_for_url(re.compile(r"#ip=203\.0\.113\.0%2F26&type=scanner&score=40&period=day$"))
    page.reload()
    expect(page.locator(CARDS)).to_have_count(fewer)
    assert page.get_by_label("Event", exact=True).input_value() == "scanner"
    assert page.get_by_label("Address").input_value() == "203.0.113.0/26"
    page.go_back()
    expect(page.locator(CARDS)).to_have_count(total)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator(CARDS)).to_have_count(30)
    page.wait_for_url(re.compile("/timeline$"))


@pytest.mark.parametrize("address", [f"?ip={ATTACKER}", f"#ip={ATTACKER}", f"?ip={ATTACKER}&state=%3Csvg%3E&score=x"])
def test_a_link_opens_what_it_names(visit: Visit, address: str) -> None:
    page = visit(TIMELINE + address)
    expect(page.locator(CARDS)).to_have_count(1)
    assert page.get_by_label("Address").input_value() == ATTACKER


def test_a_filter_that_cannot_be_used_says_why(visit: Visit) -> None:
    page = visit(f"{TIMELINE}#ip=%3Cimg%20src=x%20onerror=window.owned=1%3E")
    expect(page.locator("#dpi-filter-wrong")).to_contain_text("is not an")
    assert page.get_by_label("Address").get_attribute("aria-invalid") == "true"
    assert page.evaluate("window.owned") is None
    page.goto(re.sub("#.*", "#ip=192.0.2.250", page.url))
    page.get_by_text("No event fits the filters.").wait_for()


# --- what is done


@with_crowdsec
def test_ban_and_unban_are_done_by_crowdsec(visit: Visit, house: Household) -> None:
    assert house.crowdsec is not None
    page = visit(TIMELINE)
    ip = "203.0.113.5"
    of(page, house, ip)
    said = act(page, "ban", **{"For how long": "1h", "Reason": "<b>by hand</b>"})
    decisions = json.loads(house.crowdsec.cscli("decisions", "list", "-a", "-o", "json"))
    held = [decision for alert in decisions for decision in alert["decisions"] if decision["value"] == ip]
    assert len(held) == 1
    assert f"decision {held[0]['id']}" in said
    assert page.locator("[data-action=ban]").count() == 0
    expect(page.locator(f"{CARDS} .dpi-marks")).to_contain_text("banned")
    assert house.ask("dpi.correlator", "reputation", ip=ip)["crowdsec_status"] == "banned"
    said = act(page, "unban")
    assert "deleted 1 decision" in said
    assert house.ask("dpi.correlator", "bans")["total"] == 0
    expect(page.locator("[data-action=ban]")).to_be_visible()


@with_crowdsec
def test_a_ban_that_crowdsec_does_not_take_is_not_claimed(visit: Visit, house: Household) -> None:
    assert house.crowdsec is not None
    page = visit(TIMELINE)
    of(page, house, "203.0.113.7")
    house.crowdsec.stop()
    try:
        page.locator("[data-action=ban]").click()
        dialog = page.get_by_role("dialog")
        dialog.locator("button[type=submit]").click()
        trouble = dialog.get_by_role("alert")
        expect(trouble).to_contain_text("crowdsec_unreachable")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert page.locator("[data-action=ban]").evaluate("node => node === document.activeElement")
        assert page.locator(".dpi-outcome").inner_text() == ""
    finally:
        house.crowdsec.start()
    connected: Callable[[], bool] = lambda: (  # noqa: E731
        house.ask("dpi.correlator", "stats")["crowdsec"]["state"] == "connected"
    )
    eventually("CrowdSec is back", connected)


def test_whitelist_is_written_to_uci_and_taken_back(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE)
    of(page, house, "203.0.113.9")
    page.locator("[data-action=whitelist]").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Address or network").fill("300.1.1.1/8")
    dialog.locator("button[type=submit]").click()
    expect(dialog.get_by_role("alert")).to_contain_text("bad_address")
    dialog.get_by_role("button", name="Cancel").click()
    said = act(page, "whitelist", **{"Address or network": "203.0.113.8/31"})
    assert "203.0.113.8/31 is on the whitelist" in said
    assert "203.0.113.8/31" in (house.engine.directory / "config" / "dpi-dual").read_text()
    assert house.ask("dpi.correlator", "whitelist")["whitelist"] == ["203.0.113.8/31"]
    expect(page.locator("[data-why]")).to_contain_text("the whitelist has 203.0.113.8/31")
    assert page.locator("[data-action=ban]").count() == 0
    act(page, "unlist")
    assert house.ask("dpi.correlator", "whitelist")["whitelist"] == []
    assert "203.0.113.8/31" not in (house.engine.directory / "config" / "dpi-dual").read_text()


def test_reputation_is_reset(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE)
    of(page, house, "203.0.113.11")
    assert house.ask("dpi.correlator", "reputation", ip="203.0.113.11")["score"] > 0
    act(page, "reset")
    assert house.ask("dpi.correlator", "reputation", ip="203.0.113.11")["score"] == 0
    expect(page.locator('[data-figure="reputation"]')).to_have_text("0.0")
    expect(page.locator("[data-action=reset]")).to_have_count(0)


def test_acknowledge_and_mute(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE)
    record = of(page, house, "203.0.113.13")
    act(page, "acknowledge", What="one")
    assert house.ask("dpi.correlator", "context", id=record["id"])["record"]["state"] == "acknowledged"
    expect(page.locator(f"{CARDS} .dpi-marks")).to_contain_text("acknowledged")
    act(page, "mute", **{"For how long": "1d"})
    mutes = house.ask("dpi.correlator", "tuning")["mutes"]
    assert [mute["source"] for mute in mutes] == ["203.0.113.13"]
    act(page, "unmute")
    assert house.ask("dpi.correlator", "tuning")["mutes"] == []


def test_a_client_of_the_lan_is_never_banned_and_it_is_said_why(visit: Visit, house: Household) -> None:
    house.threats(1, ip=ip_of(0), event_type="scanner", reason="scans the neighbours")
    page = visit(TIMELINE)
    of(page, house, mac_of(0))
    expect(page.locator("[data-why]")).to_contain_text("it is a client of the LAN")
    assert page.locator("[data-action=ban]").count() == 0
    page.get_by_role("link", name="This client in LAN Flows").click()
    page.get_by_role("heading", name="<img").wait_for()  # a host name ends at a space


def test_who_may_only_look_is_offered_nothing(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE, login="viewer")
    of(page, house, ATTACKER)
    assert page.locator("[data-action]").count() == 0


# --- reading


def test_new_events_do_not_move_what_is_read(visit: Visit, house: Household) -> None:
    page = visit(TIMELINE)
    card = page.locator(CARDS).nth(5)
    card.locator(".dpi-disclose").click()
    expect(card.get_by_role("heading", name="Reputation")).to_be_visible()
    number, top = card.get_attribute("data-id"), card.evaluate("node => node.getBoundingClientRect().top")
    house.threats(3, event_type="odd", reason="arrives while somebody reads")
    arrived = page.locator(".dpi-arrived")
    expect(arrived).to_have_text("3 new events")
    same = page.locator(f'{CARDS}[data-id="{number}"]')
    assert same.evaluate("node => node.getBoundingClientRect().top") == top
    arrived.press("Enter")
    newest = records(house, limit=1)[0]["id"]
    expect(page.locator(CARDS).first).to_have_attribute("data-id", str(newest))
    assert page.locator(CARDS).first.locator(".dpi-disclose").evaluate("node => node === document.activeElement")
    expect(arrived).to_be_hidden()
    assert same.locator(".dpi-disclose").get_attribute("aria-expanded") == "true"


def test_all_by_keyboard(visit: Visit, house: Household) -> None:
    page = visit(f"{TIMELINE}#ip={ATTACKER}")
    toggle = page.locator(f"{CARDS} .dpi-disclose")
    toggle.focus()
    page.keyboard.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    page.locator("[data-action]").first.wait_for()
    page.keyboard.press("Tab")
    action = page.evaluate("document.activeElement.dataset.action")
    assert action
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert dialog.evaluate("node => node.contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.dataset.action") == action


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (360, "light")])
def test_fits_and_is_accessible(visit: Visit, house: Household, width: int, scheme: str) -> None:
    page = visit(TIMELINE, width=width, scheme=scheme)
    page.locator(CARDS).first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    of(page, house, ATTACKER)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_faults(page, ".dpi-page") == []
    page.locator("[data-action=mute]").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert serious_faults(page, ".modal") == []


def test_hostile_text_is_text(visit: Visit, house: Household) -> None:
    markup = HOSTILE[0]
    for number, text in enumerate((*HOSTILE, LONG)):
        house.attacks(
            1,
            first=1000 + number,
            client_ip="192.0.2.66",
            host=text[:200],
            target=f"/{text}?id=1%27%20union%20select%20password%20from%20users--%20",
            headers=(("host", "shop.example.org"), ("user-agent", text)),
        )
    house.threats(1, ip="192.0.2.66", event_type="scanner", reason=f"{markup}{HOSTILE[1]}{HOSTILE[2]}{LONG[:100]}")
    eventually(
        "the alerts arrive",
        lambda: len(house.ask("dpi.correlator", "context", ip="192.0.2.66")["waf_alerts"]) == len(HOSTILE) + 1,
        60,
    )
    page = visit(TIMELINE, width=360)
    of(page, house, "192.0.2.66")
    expect(page.locator(CARDS).first).to_contain_text(markup)
    assert page.evaluate("window.owned") is None
    assert page.locator("img[src=x], svg[onload]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


# --- much, nothing, and no engine


@pytest.fixture
def quiet() -> Iterator[Household]:
    with household(clients=1, crowdsec=False) as running:
        yield running


def test_nothing_then_two_thousand_then_no_engine(
    visit: Visit, quiet: Household, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with gateway(tmp_path_factory.mktemp("quiet"), quiet.engine) as served:
        visit.site = served
        page = visit(TIMELINE)
        page.get_by_text("Nothing has happened yet.").wait_for()
        assert serious_faults(page) == []
        quiet.threats(2000)
        page.reload()
        more = page.locator("[data-more]")
        shown = page.locator(".dpi-above .dpi-said")
        for number in range(30, 300, 30):
            expect(shown).to_contain_text(re.compile(rf"\b{number} of 2,000 events"))
            more.click()
        expect(shown).to_contain_text("300 of 2,000 events")
        assert page.locator(CARDS).count() == 150
        assert page.evaluate("document.querySelectorAll('*').length") < 4000
        # A poll that brings nothing new builds no cards.
        page.evaluate(
            """() => { window.built = 0; new MutationObserver(changes => { for (const change of changes)
                for (const node of change.addedNodes) window.built += node.matches?.('.dpi-event') ?? 0;
            }).observe(document.querySelector('.dpi-events'), { childList: true }) }"""
        )
        for _ in range(2):
            with page.expect_response(lambda answer: "ubus" in answer.url):
                pass
        assert page.evaluate("window.built") == 0
        page.get_by_role("button", name="Back to the newest").click()
        expect(shown).to_contain_text("1–30 of 2,000 events")

        quiet.engine.process.send_signal(signal.SIGTERM)
        page.get_by_text("The engine does not run.").wait_for()
        expect(page.locator(CARDS).first).to_be_visible()
        assert serious_faults(page) == []
