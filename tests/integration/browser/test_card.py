"""The suite's card on LuCI's front status page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from lab.waiting import eventually
from tests.integration.browser.harness import PATIENCE_MS, Site, Visit, gateway, serious_faults
from tests.integration.browser.household import ATTACKER, HOSTILE, Household, household

PAGE = "admin/status/overview"
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def house() -> Iterator[Household]:
    with household(clients=4, crowdsec=False) as running:
        yield running


@pytest.fixture(scope="module")
def site(house: Household, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway(tmp_path_factory.mktemp("site"), house.engine) as served:
        yield served


def card(page: Page) -> Locator:
    return page.locator(".dpi-mini")


def row(page: Page, label: str) -> Locator:
    return card(page).get_by_role("row").filter(has=page.get_by_role("cell", name=label, exact=True))


def test_figures_are_the_engine_s_and_follow_it(visit: Visit, house: Household) -> None:
    page = visit(PAGE)
    expect(row(page, "LAN")).to_contain_text("4 active clients")
    expect(row(page, "Newest threat")).to_contain_text("none yet")
    house.threats(1, ip=ATTACKER, reason=HOSTILE[0], event_type="scanner", score=75)
    expect(row(page, "Newest threat")).to_contain_text(f"75 high Scanner, {ATTACKER}")
    link = row(page, "Newest threat").get_by_role("link")
    expect(link).to_have_attribute("href", _ends(f"/timeline#ip={ATTACKER}"))
    answer = house.engine.call("dpi.status", "overview")
    expect(row(page, "Correlation")).to_contain_text(f"{answer['correlation']['open']} open threats")


def test_it_leads_to_the_overview(visit: Visit) -> None:
    page = visit(PAGE)
    card(page).get_by_role("link", name="Open the overview").click()
    expect(page.get_by_role("heading", name="DPI Dual-Stream")).to_be_visible()


def test_focus_stays_while_figures_change(visit: Visit, house: Household) -> None:
    page = visit(PAGE)
    link = card(page).get_by_role("link", name="Open the overview")
    link.focus()
    house.threats(1, ip="203.0.113.200", reason="one more")
    expect(row(page, "Newest threat")).to_contain_text("203.0.113.200")
    expect(link).to_be_focused()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (360, "light")])
def test_fit_for_everybody(visit: Visit, width: int, scheme: str) -> None:
    page = visit(PAGE, width=width, scheme=scheme, login="viewer")
    expect(row(page, "LAN")).to_contain_text("running")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert serious_faults(page, ".dpi-mini") == []


def test_engine_that_went_away_is_said(visit: Visit, house: Household) -> None:
    """Last: it ends the module's engine."""
    page = visit(PAGE)
    expect(row(page, "LAN")).to_contain_text("running")
    house.engine.process.terminate()
    house.engine.process.wait(30)
    expect(row(page, "Health")).to_contain_text("The engine does not run")
    expect(row(page, "LAN")).to_contain_text("stopped")
    assert eventually("it is still one card", lambda: card(page).count() == 1)


def _ends(text: str) -> Any:
    import re

    return re.compile(re.escape(text) + "$")
