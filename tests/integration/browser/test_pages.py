"""Every page of the menu, over an engine that has just started and over none at all; staged changes and their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dpi_dual import uci
from lab.engine import RunningEngine, running_engine
from lab.waiting import eventually
from tests.integration.browser.harness import Site, Visit, gateway, serious_faults

NAMES = ("overview", "timeline", "lan", "settings")
PAGES = ("admin/status/overview", *(f"admin/secubox/dpi-dual/{name}" for name in NAMES))


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def site(engine: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway(tmp_path_factory.mktemp("site"), engine) as site:
        yield site


@pytest.mark.parametrize("login", ["root", "viewer"])
@pytest.mark.parametrize("path", PAGES)
def test_page_is_without_faults(visit: Visit, path: str, login: str) -> None:
    dark = login == "viewer"
    page = visit(path, login=login, scheme="dark" if dark else "light", width=360 if dark else 1280)
    page.locator("#view :is(h2, h3)").first.wait_for()
    page.locator("#view .spinning").wait_for(state="hidden")
    assert page.locator("#maincontent > .alert-message.danger").count() == 0
    assert serious_faults(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_staged_changes_are_shown_applied_and_reach_the_engine(visit: Visit, engine: RunningEngine) -> None:
    page = visit("admin/status/overview")
    page.wait_for_function("() => window.L && L.loaded")
    page.evaluate(
        """async () => {
            await L.uci.load('dpi-dual');
            L.uci.set('dpi-dual', 'settings', 'mode', 'tap-only');
            await L.uci.save();
        }"""
    )
    where = str(visit.site.config)
    assert engine.call("dpi.status", "status")["mode"] == "dual"
    page.get_by_role("button", name="Unsaved Changes: 1").click()
    page.get_by_text("uci set dpi-dual.settings.mode='tap-only'").wait_for()
    page.locator("#modal_overlay .cbi-button-positive").click()
    page.get_by_text("Configuration changes applied.").wait_for()
    settings = next(section for section in uci.read("dpi-dual", where) if section.name == "settings")
    assert settings.options["mode"] == "tap-only"
    eventually("the engine has reloaded", lambda: engine.call("dpi.status", "status")["mode"] == "tap-only")
    page.get_by_role("button", name="Unsaved Changes: 1").wait_for(state="hidden")


def test_staged_changes_are_reverted(visit: Visit) -> None:
    page = visit("admin/status/overview")
    page.wait_for_function("() => window.L && L.loaded")
    page.evaluate(
        """async () => {
            await L.uci.load('dpi-dual');
            L.uci.set('dpi-dual', 'lan', 'interface', [ "br-'lan", '<b>' ]);
            await L.uci.save();
        }"""
    )
    page.get_by_role("button", name="Unsaved Changes: 3").click()
    page.get_by_text("""uci add_list dpi-dual.lan.interface='br-'"'"'lan'""").wait_for()
    page.get_by_text("uci add_list dpi-dual.lan.interface='<b>'").wait_for()
    page.get_by_role("button", name="Revert").click()
    page.get_by_text("Changes have been reverted.").wait_for()
    page.wait_for_url("**/admin/status/overview")
    assert eventually("no change is left", lambda: page.evaluate("() => L.uci.changes()") == {})
