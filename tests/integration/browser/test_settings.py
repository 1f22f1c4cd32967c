"""The Settings page: all options, what is saved arrives in UCI and in the engine, what is wrong is refused by name."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

from playwright.sync_api import Locator, Page

from dpi_dual import ucifile
from dpi_dual.schema.values import FORMATS, schema
from lab import pot
from lab.engine import RunningEngine, running_engine
from lab.pofile import parse
from lab.waiting import eventually
from tests.integration.browser.harness import Site, Visit, gateway, serious_faults
from tests.luci.test_options import TEXTS, takes

SETTINGS = "admin/secubox/dpi-dual/settings"
TABS = ("general", "mitm", "rules", "services", "tap", "lan", "correlation", "crowdsec", "export")
SECRET = "correct horse battery staple"

#: A save that is refused says so by rejecting, as LuCI's own does.
REFUSED = "contains an invalid input value"


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine() as running:
        secrets = running.directory / "config/dpi-dual-secrets"
        secrets.write_bytes((pot.APP.parent / "config/dpi-dual-secrets").read_bytes())
        secrets.chmod(0o600)
        yield running


@pytest.fixture(scope="module")
def site(engine: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway(tmp_path_factory.mktemp("site"), engine) as served:
        yield served


def opened(visit: Visit, **how: Any) -> Page:
    page = visit(SETTINGS, **how)
    page.locator("#cbi-dpi-dual").wait_for()
    return page


def tab(page: Page, name: str) -> None:
    page.locator(f'.cbi-tabmenu li[data-tab="{name}"] a').click()


def field(page: Page, path: str) -> Locator:
    return page.locator(f'[data-field="cbid.dpi-dual.{path}"]')


def fill(page: Page, path: str, text: str) -> None:
    box = field(page, path).locator("input").first
    box.fill(text)
    box.blur()


def save_and_apply(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_text("Save & Apply", exact=True).click()
    page.locator("#cbi-dpi-dual").wait_for()


def stored(site: Site, package: str = "dpi-dual") -> dict[str, dict[str, Any]]:
    """The sections of the file, by name or, of those without one, by type."""
    document = ucifile.Document((site.config / package).read_text())
    return {
        section.name if section.name in schema() else section.type: dict(section.options)
        for section in document.sections()
    }


def test_every_option_is_there_with_its_help(visit: Visit) -> None:
    page = opened(visit)
    for name, spec in schema().items():
        if name == "secrets":
            continue
        if spec["type"] == "array":
            titles = page.locator(f"#cbi-dpi-dual-{spec['uciType']} .cbi-section-table-titles th").all_text_contents()
            wanted = [entry["title"] for entry in spec["items"]["properties"].values()]
            assert [title.strip() for title in titles][: len(wanted)] == wanted
            continue
        for option, entry in spec["properties"].items():
            place = field(page, f"{name}.{option}")
            assert place.count() == 1, f"{name}.{option}"
            said = place.text_content() or ""
            assert entry["title"] in said, f"{name}.{option}"
            assert entry["description"][1:] in said, f"{name}.{option}"
            if entry["type"] == "integer":
                assert f"{entry['minimum']} to {entry['maximum']}" in said, f"{name}.{option}"
    secrets = schema()["secrets"]["properties"]
    for name, spec in secrets.items():
        for option in spec["properties"]:
            assert field(page, f"{name}._secret_{option}").locator("input[type=password]").count() == 1


def test_a_change_arrives_in_uci_and_in_the_engine(visit: Visit, site: Site, engine: RunningEngine) -> None:
    page = opened(visit)
    tab(page, "correlation")
    fill(page, "correlation.window", "123")
    field(page, "correlation.notifications").locator("input[type=checkbox]").click()
    field(page, "correlation.sensitivity").locator("select").select_option("custom")
    fill(page, "scoring.scanner", "44")
    tab(page, "tap")
    fill(page, "tap.flow_retention", "600")
    save_and_apply(page)
    assert stored(site)["correlation"]["window"] == "123"
    assert stored(site)["correlation"]["notifications"] == "0"
    assert stored(site)["tap"]["flow_retention"] == "600"

    def tuned() -> bool:
        tuning = engine.call("dpi.correlator", "tuning")
        wanted = (123, False, "custom", 44.0)
        return (
            tuning["window"],
            tuning["notifications"],
            tuning["sensitivity"],
            tuning["weights"]["scanner"],
        ) == wanted

    eventually("the engine works with what was saved", tuned)
    page.get_by_text("finds no fault in them").wait_for()
    tab(page, "correlation")
    assert field(page, "correlation.window").locator("input").input_value() == "123"


#: Tab, option, text; what the refusal calls it, and what it says is wanted.
BAD = (
    ("tap", "tap.flow_retention", "5", "Flows kept for", "10"),
    ("tap", "tap.flow_retention", "abc", "Flows kept for", "10"),
    ("general", "settings.stats_dir", "/etc/config", "Results", "an absolute path"),
    ("mitm", "mitm.listen", "nowhere", "mitmdump listens on", "address:port"),
    ("mitm", "mitm.alert_threshold", "90", "Block from", "at least 90"),
    ("crowdsec", "crowdsec.url", "example.org", "Local API", "http://"),
)


def test_a_bad_value_is_refused_by_name(visit: Visit, site: Site) -> None:
    visit.expected.append(REFUSED)
    before = (site.config / "dpi-dual").read_text()
    page = opened(visit)
    for where, path, text, title, said in BAD:
        tab(page, where)
        old = field(page, path).locator("input").first.input_value()
        fill(page, path, text)
        page.get_by_role("button", name="Save", exact=True).click()
        words = page.get_by_role("dialog").inner_text()
        assert f"\u201c{title}\u201d" in words or f'"{title}"' in words, words
        assert said in words
        page.get_by_role("button", name="Dismiss").click()
        assert page.locator(".cbi-input-invalid").count() == 1
        fill(page, path, old)
        page.locator(".cbi-input-invalid").wait_for(state="detached")
    assert (site.config / "dpi-dual").read_text() == before


def test_two_thresholds_that_contradict_each_other_can_be_mended_at_either(visit: Visit) -> None:
    page = opened(visit)
    tab(page, "mitm")
    fill(page, "mitm.alert_threshold", "60")
    field(page, "mitm.block_threshold").locator(".cbi-input-invalid").wait_for()
    fill(page, "mitm.alert_threshold", "50")
    field(page, "mitm.block_threshold").locator(".cbi-input-invalid").wait_for(state="detached")


def test_what_another_option_asks_for_is_shown_with_it(visit: Visit) -> None:
    page = opened(visit)
    tab(page, "correlation")
    ban = field(page, "correlation.auto_ban_threshold")
    assert not ban.is_visible()
    field(page, "correlation.auto_ban").locator("input[type=checkbox]").click()
    ban.wait_for()
    tab(page, "services")
    assert not field(page, "haproxy.certificate").is_visible()
    field(page, "haproxy.enabled").locator("input[type=checkbox]").click()
    field(page, "haproxy.certificate").wait_for()


def test_the_whitelist_is_added_to_and_removed_from(visit: Visit, site: Site, engine: RunningEngine) -> None:
    visit.expected.append(REFUSED)
    page = opened(visit)
    tab(page, "correlation")
    entry = field(page, "whitelist.ip").locator("input[type=text]").last
    for text in ("198.51.100.0/24", "2001:db8::7"):
        entry.fill(text)
        entry.press("Enter")
    save_and_apply(page)
    assert stored(site)["whitelist"] == {"ip": ("198.51.100.0/24", "2001:db8::7")}
    whitelist = ["198.51.100.0/24", "2001:db8::7"]
    eventually("both", lambda: engine.call("dpi.correlator", "whitelist")["whitelist"] == whitelist)
    tab(page, "correlation")
    first = field(page, "whitelist.ip").locator(".item").first
    first.focus()
    first.press("Delete")
    save_and_apply(page)
    eventually("one", lambda: engine.call("dpi.correlator", "whitelist")["whitelist"] == whitelist[1:])


def test_services_and_rules_are_edited_as_lists(visit: Visit, site: Site) -> None:
    page = opened(visit)
    tab(page, "services")
    page.locator("#cbi-dpi-dual-backend").get_by_role("button", name="Add").click()
    dialog = page.get_by_role("dialog")
    dialog.locator('[data-name="host"] input').fill("shop.example.org")
    dialog.locator('[data-name="address"] input').fill("192.168.1.10:80")
    dialog.get_by_role("button", name="Save").click()
    page.locator("#cbi-dpi-dual-backend").get_by_text("shop.example.org").wait_for()
    tab(page, "rules")
    page.locator("#cbi-dpi-dual-modify").get_by_role("button", name="Add").click()
    dialog.locator('[data-name="action"] select').select_option("remove_header")
    dialog.locator('[data-name="name"] input').fill("Server")
    assert not dialog.locator('[data-name="value"]').is_visible()
    dialog.get_by_role("button", name="Save").click()
    page.locator("#cbi-dpi-dual-modify").get_by_text("Server").wait_for()
    save_and_apply(page)
    assert stored(site)["backend"] == {"host": "shop.example.org", "address": "192.168.1.10:80"}
    rule = stored(site)["modify"]
    assert (rule["action"], rule["name"], rule["phase"]) == ("remove_header", "Server", "request")
    tab(page, "services")
    page.locator("#cbi-dpi-dual-backend").get_by_role("button", name="Delete").click()
    # Each deletion is staged at once; the next one comes when the page shows it.
    page.locator("#cbi-dpi-dual-backend").get_by_text("shop.example.org").wait_for(state="detached")
    tab(page, "rules")
    page.locator("#cbi-dpi-dual-modify").get_by_role("button", name="Delete").click()
    page.locator("#cbi-dpi-dual-modify").get_by_text("Server").wait_for(state="detached")
    save_and_apply(page)
    assert not {"backend", "modify"} & set(stored(site))


def test_secrets_are_written_and_never_shown(visit: Visit, site: Site) -> None:
    page = opened(visit)
    tab(page, "crowdsec")
    fill(page, "crowdsec._secret_password", SECRET)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Passwords and keys are stored by").wait_for()
    assert field(page, "crowdsec._secret_password").locator("input").first.input_value() == ""
    assert not stored(site, "dpi-dual-secrets")["crowdsec"].get("password")
    save_and_apply(page)
    assert stored(site, "dpi-dual-secrets")["crowdsec"] == {"password": SECRET}
    assert (site.config / "dpi-dual-secrets").stat().st_mode & 0o777 == 0o600
    assert SECRET not in page.content()
    asked = """L.require('uci').then(uci => uci.load('dpi-dual-secrets').then(
        () => JSON.stringify(uci.sections('dpi-dual-secrets')), error => `refused: ${error}`))"""
    assert SECRET not in page.evaluate(asked)
    tab(page, "crowdsec")
    field(page, "crowdsec._forget_crowdsec").locator("input[type=checkbox]").click()
    save_and_apply(page)
    assert not stored(site, "dpi-dual-secrets")["crowdsec"].get("password")


def test_who_only_looks_sees_all_but_secrets_and_changes_nothing(visit: Visit) -> None:
    page = opened(visit, login="viewer")
    assert page.locator("[data-field*=_secret_], [data-field*=_forget_]").count() == 0
    editable = "#cbi-dpi-dual :is(input, select, textarea, button):not([type=hidden]):not(:disabled):visible"
    assert page.locator(editable).evaluate_all("all => all.map(one => one.outerHTML)") == []
    assert page.locator(".cbi-page-actions").count() == 0
    names = {
        path.rpartition(".")[0]
        for path in page.locator("[data-field]").evaluate_all("all => all.map(a => a.dataset.field)")
    }
    assert {
        f"cbid.dpi-dual.{name}" for name, spec in schema().items() if name != "secrets" and spec["type"] != "array"
    } <= names


def test_the_page_says_what_the_engine_makes_of_a_bad_file(visit: Visit, site: Site, engine: RunningEngine) -> None:
    path = site.config / "dpi-dual"
    good = path.read_text()
    page = opened(visit)
    page.get_by_text("finds no fault in them").wait_for()
    try:
        path.write_text(re.sub(r"config lan 'lan'\n", "\\g<0>\toption history_days '<b>many'\n", good))
        os.kill(engine.process.pid, signal.SIGHUP)
        page.get_by_text("dpi-dual.lan.history_days: '<b>many' is not a number of days; using 30").wait_for()
        tab(page, "lan")
        assert page.locator("#cbi-dpi-dual b").count() == 0
    finally:
        path.write_text(good)
        os.kill(engine.process.pid, signal.SIGHUP)
    page.get_by_text("finds no fault in them").wait_for()


def test_the_pagetakes_the_texts_that_the_enginetakes(visit: Visit) -> None:
    page = opened(visit)
    script = """([ names, texts ]) => L.require('dpi-dual.formats').then(formats =>
        names.flatMap(name => texts.filter(text => formats.accepts(name, text)).map(text => [ name, text ])))"""
    texts = list(dict.fromkeys(TEXTS))
    wanted = [[name, text] for name in FORMATS for text in texts if takes(name, text)]
    assert page.evaluate(script, [list(FORMATS), texts]) == wanted


def test_each_tab_is_accessible(visit: Visit) -> None:
    page = opened(visit)
    for name in TABS:
        tab(page, name)
        page.emulate_media(color_scheme="light")
        assert serious_faults(page) == [], name
        page.emulate_media(color_scheme="dark")
        assert serious_faults(page) == [], f"{name}, dark"


@pytest.mark.parametrize("language", ["en", *pot.PLURALS])
def test_each_tab_fits_a_phone_in_every_language(visit: Visit, language: str) -> None:
    page = opened(visit, width=360, height=740, language=language)
    for name in TABS:
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    shown = page.locator("#maincontent").text_content() or ""
    texts = _translations(language)
    for spec in schema().values():
        if "uciType" in spec and spec["type"] != "array":
            for entry in spec["properties"].values():
                assert texts.get(entry["title"], entry["title"]) in shown


def _translations(language: str) -> dict[str, str]:
    if language == "en":
        return {}
    messages = parse((pot.APP / "po" / language / "dpi-dual.po").read_text())[1]
    return {message.one: message.texts[0] for message in messages}


def test_without_an_engine_the_page_says_when_settings_count(
    visit: Visit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory: Path = tmp_path_factory.mktemp("down")
    (directory / "config").mkdir()
    (directory / "config/dpi-dual").write_bytes((pot.APP.parent / "config/dpi-dual").read_bytes())
    with gateway(directory, config=directory / "config") as down:
        visits = Visit(visit.browser, down)
        try:
            page = opened(visits)
            page.get_by_text("It reads these settings when it starts.").wait_for()
            assert visits.unexpected() == []
        finally:
            visits.close()
