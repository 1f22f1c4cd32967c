"""LAN Flows in a browser, over a real engine whose DPI agent tells of many clients."""

from __future__ import annotations

import csv
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from lab.waiting import eventually
from tests.integration.browser.harness import PATIENCE_MS, Site, Visit, gateway, serious_faults
from tests.integration.browser.household import HOSTILE, Household, household, ip_of, mac_of

LAN = "admin/secubox/dpi-dual/lan"
ROWS = ".dpi-panel tbody tr"
CLIENTS = 200
KIB = 1024

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def house() -> Iterator[Household]:
    with household(clients=CLIENTS, crowdsec=False) as running:
        eventually("the clients are known", lambda: figures(running)["active_clients"] == CLIENTS)
        eventually(
            "their names are known", lambda: running.ask("dpi.lan", "clients", search="=HYPERLINK")["total"] == 1
        )
        running.agent.tick()
        yield running


@pytest.fixture(scope="module")
def site(house: Household, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gateway(tmp_path_factory.mktemp("site"), house.engine) as served:
        yield served


def figures(house: Household) -> dict[str, Any]:
    return house.ask("dpi.lan", "status")


def figure(page: Page, name: str) -> str:
    return page.locator(f'[data-figure="{name}"]').first.inner_text()


def in_bytes(text: str) -> float:
    """What a page wrote as `1.23 MiB`, to the digits it has."""
    number, unit = text.replace(",", "").split()
    return float(number) * KIB ** ("B", "KiB", "MiB", "GiB").index(unit)


def column(page: Page, title: str) -> list[str]:
    return page.locator(f'{ROWS} td[data-title="{title}"]').all_inner_texts()


def opened(page: Page, number: int) -> None:
    page.get_by_role("searchbox").fill(mac_of(number))
    expect(page.locator(ROWS)).to_have_count(1)
    page.locator(f"{ROWS} button.dpi-open").click()
    expect(page.locator(".dpi-client .dpi-card").first).to_be_visible()


def test_figures_and_rows_are_those_of_ubus_and_follow_them(visit: Visit, house: Household) -> None:
    page = visit(LAN)
    page.locator(ROWS).first.wait_for()

    def same() -> bool:
        known = figures(house)
        names = ("active_clients", "flows_live", "unique_destinations", "detected_protocols")
        if [figure(page, name) for name in names] != [f"{known[name]:,}" for name in names]:
            return False
        rows = house.ask("dpi.lan", "clients", limit=50)["clients"]
        shown = [in_bytes(text) for text in column(page, "Bytes")]
        return in_bytes(figure(page, "bytes")) == pytest.approx(known["bytes"], rel=0.01) and shown == pytest.approx(
            [row["bytes"] for row in rows], rel=0.01
        )

    eventually("the page says what ubus says", same)
    before = figure(page, "bytes")
    house.agent.tick()
    eventually("the page follows", lambda: figure(page, "bytes") != before and same())


def test_every_column_is_seen_on_a_common_screen(visit: Visit, house: Household) -> None:
    page = visit(LAN, width=1280)
    page.locator(ROWS).first.wait_for()
    room, wanted = page.evaluate("(e => [ e.clientWidth, e.scrollWidth ])(document.querySelector('.dpi-scroll'))")
    assert wanted <= room
    assert all(re.search(r"^([0-9a-f]{2}:){5}[0-9a-f]{2}", text, re.MULTILINE) for text in column(page, "Address"))


def test_thousands_of_cells_are_not_thousands_of_nodes(visit: Visit, house: Household) -> None:
    page = visit(LAN)
    expect(page.locator(ROWS)).to_have_count(50)
    assert page.evaluate("document.querySelectorAll('*').length") < 2500
    # A poll changes text in place: in an order that stays, no row is moved or built anew.
    page.get_by_role("button", name="Address").click()
    page.evaluate(
        """() => { window.built = 0; new MutationObserver(changes => { for (const change of changes)
            window.built += [ ...change.addedNodes ].filter(node => node.tagName == 'TR').length;
        }).observe(document.querySelector('.dpi-panel'), { childList: true, subtree: true }) }"""
    )
    for _ in range(2):
        house.agent.tick()
        with page.expect_response(lambda answer: "ubus" in answer.url):
            pass
    assert page.evaluate("window.built") == 0


def test_one_call_a_poll(visit: Visit, house: Household) -> None:
    page = visit(LAN)
    page.locator(ROWS).first.wait_for()
    for address in ("#tab=destinations", "#tab=protocols", "#tab=history", f"#client={mac_of(3)}"):
        page.goto(re.sub("#.*", "", page.url) + address)
        with page.expect_request(lambda asked: "ubus" in asked.url) as found:
            pass
        calls = json.loads(found.value.post_data or "")
        assert len(calls if isinstance(calls, list) else [calls]) == 1


def test_sorted_and_searched(visit: Visit, house: Household) -> None:
    page = visit(LAN)
    page.locator(ROWS).first.wait_for()
    page.get_by_role("button", name="Address").click()
    head = page.get_by_role("columnheader", name="Address")
    expect(head).to_have_attribute("aria-sort", "ascending")
    addresses = [text.split("\n")[0] for text in column(page, "Address")]
    assert addresses == sorted(addresses, key=lambda text: tuple(map(int, text.split("."))))
    page.get_by_role("button", name="Address").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    page.get_by_role("searchbox").fill("device-15")
    expect(page.locator(ROWS)).to_have_count(len([n for n in range(CLIENTS) if f"device-{n}".startswith("device-15")]))
    page.get_by_role("searchbox").fill("nothing like it")
    page.get_by_text("No row matches the filter.").wait_for()


def test_a_client_opens_and_closes_by_keyboard(visit: Visit, house: Household) -> None:
    page = visit(LAN)
    page.get_by_role("searchbox").fill("device-42")
    button = page.get_by_role("button", name="device-42", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    heading = page.get_by_role("heading", name="device-42")
    expect(heading).to_be_focused()
    page.wait_for_url(re.compile("#client="))
    known = house.ask("dpi.lan", "client", client=mac_of(42))
    client = page.locator(".dpi-client")
    shown = client.locator('[data-figure="bytes"]').inner_text()
    assert in_bytes(shown) == pytest.approx(known["client"]["bytes"], rel=0.01)
    for title, key in (("Applications", "applications"), ("Protocols", "protocols")):
        card = client.locator("section", has=page.get_by_role("heading", name=title))
        expect(card.locator("tbody tr")).to_have_count(len(known[key]))
    flows = client.locator("table[aria-label='Newest flows of this client'] tbody tr")
    expect(flows).to_have_count(len(known["flows"]))
    page.get_by_role("button", name="Days").press("Enter")
    expect(page.get_by_role("button", name="Days")).to_have_attribute("aria-pressed", "true")
    page.get_by_text("Show as table").click()
    expect(client.locator("figure tbody tr")).to_have_count(1)
    page.reload()
    expect(heading).to_be_visible()
    expect(page.get_by_role("button", name="Days")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="All clients").press("Enter")
    expect(page.locator(ROWS)).to_have_count(50)
    assert page.evaluate("document.activeElement.matches('.dpi-open, [role=tab]')")
    page.go_back()
    expect(heading).to_be_visible()


def test_a_client_that_is_gone_is_said_to_be(visit: Visit) -> None:
    page = visit(f"{LAN}#client=02:00:00:00:00:77")
    page.get_by_text("This client is not known any more.").wait_for()
    page.get_by_role("alert").get_by_role("button", name="All clients").click()
    expect(page.locator(ROWS)).to_have_count(50)


def test_destinations_are_searched_on_the_router(visit: Visit, house: Household) -> None:
    page = visit(LAN)
    page.get_by_role("tab", name="Clients").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Destinations")).to_be_focused()
    total = house.ask("dpi.lan", "destinations")["total"]
    expect(page.locator(ROWS)).to_have_count(total)
    page.get_by_role("searchbox").fill("netflix")
    expect(page.locator(ROWS)).to_have_count(1)
    page.wait_for_url(re.compile("#tab=destinations&search=netflix$"))
    page.reload()
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text("www.netflix.com")
    page.goto(re.sub("#.*", f"#tab=destinations&of={mac_of(0)}", page.url))
    expect(page.locator(ROWS)).to_have_count(house.ask("dpi.lan", "destinations", client=mac_of(0))["total"])
    page.get_by_role("button", name="show those of all clients").click()
    expect(page.locator(ROWS)).to_have_count(total)


def test_protocols_and_history(visit: Visit, house: Household) -> None:
    page = visit(f"{LAN}#tab=protocols")
    expect(page.locator(ROWS)).to_have_count(house.ask("dpi.lan", "protocols")["total"])
    page.get_by_role("tab", name="History").click()
    expect(page.locator("svg.dpi-line-chart")).to_be_visible()
    for name in ("Days", "Weeks", "Months", "Hours"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
    largest = house.ask("dpi.lan", "history", period="hour")["clients"]
    expect(page.locator("section", has_text="Largest clients").locator("tbody tr")).to_have_count(len(largest))


@pytest.mark.parametrize("form", ["csv", "json"])
def test_exports_are_complete_and_harmless(visit: Visit, house: Household, tmp_path: Path, form: str) -> None:
    page = visit(LAN)
    page.locator(ROWS).first.wait_for()
    with page.expect_download() as download:
        page.locator(f'[data-export="{form}"]').click()
    file = tmp_path / f"clients.{form}"
    download.value.save_as(file)
    page.get_by_text("200 rows exported.").wait_for()
    text = file.read_text(encoding="utf-8-sig")
    if form == "csv":
        rows = list(csv.DictReader(text.splitlines()))
        assert not [cell for row in rows for cell in row.values() if cell.lstrip("\u202e ")[:1] in tuple("=+-@\t\r")]
    else:
        whole = json.loads(text)
        assert whole["complete"] and whole["source"] == "netifyd"
        rows = whole["clients"]
    assert {row["mac"] for row in rows} == {mac_of(number) for number in range(CLIENTS)}
    formula = next(row for row in rows if row["mac"] == mac_of(HOSTILE.index("=HYPERLINK(1)")))
    assert formula["hostname"] == ("'" if form == "csv" else "") + "=HYPERLINK(1)"


def test_an_empty_list_is_exported_with_its_header(visit: Visit, house: Household, tmp_path: Path) -> None:
    page = visit(f"{LAN}#tab=destinations&search=nobody-has-this-name")
    page.get_by_text("No destination fits.").wait_for()
    with page.expect_download() as download:
        page.locator('[data-export="csv"]:visible').click()
    file = tmp_path / "destinations.csv"
    download.value.save_as(file)
    (header,) = csv.reader(file.read_text(encoding="utf-8-sig").splitlines())
    destination = house.engine.call("dpi.lan", "destinations", limit=1)["destinations"][0]
    assert header[:3] == ["ip", "hostname", "port"] and set(header) <= set(destination)


def test_an_export_turns_pages_to_the_end(visit: Visit, house: Household) -> None:
    page = visit(LAN)
    page.locator(ROWS).first.wait_for()
    found = page.evaluate(
        """async () => {
            const [ download, dpi ] = await Promise.all([ L.require('dpi-dual.download'), L.require('dpi-dual.rpc') ]);
            const told = [];
            const whole = await download.collect({
                key: 'clients', id: row => row.mac,
                page: params => dpi.lan.clients({ ...params, sort: 'first_seen', limit: 60 })
            }, (rows, total) => told.push([ rows, total ]));
            return { told, complete: whole.complete, macs: whole.rows.map(row => row.mac) };
        }"""
    )
    assert found["told"] == [[60, 200], [120, 200], [180, 200], [200, 200]]
    assert found["complete"] and set(found["macs"]) == {mac_of(number) for number in range(CLIENTS)}


def test_hostile_names_are_text(visit: Visit, house: Household) -> None:
    page = visit(f"{LAN}#tab=destinations", width=360)
    expect(page.locator(ROWS).first).to_be_visible()
    text = page.locator(".dpi-panel").inner_text()
    assert "<imgsrc=xonerror=window.owned=1>" in text.replace(" ", "") or "a" * 50 in text
    assert '"><svg' in text
    page.get_by_role("tab", name="Clients").click()
    opened(page, 1)
    expect(page.get_by_role("heading", name='"><svg')).to_be_visible()
    assert page.evaluate("window.owned") is None
    assert page.locator("img[src=x], svg[onload]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_fits_and_is_accessible(visit: Visit, house: Household, width: int, scheme: str) -> None:
    page = visit(LAN, width=width, scheme=scheme, login="viewer")
    for place in ("", "#tab=destinations", "#tab=history", f"#client={mac_of(7)}"):
        page.goto(re.sub("#.*", "", page.url) + place)
        page.locator(".dpi-panel tbody tr").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if not place:  # a few rows are as good as fifty
            page.get_by_role("searchbox").fill("device-15")
            expect(page.locator(ROWS)).to_have_count(11)
        assert serious_faults(page, ".dpi-page") == []


def test_where_figures_come_from_and_what_hides_is_said(visit: Visit, house: Household) -> None:
    page = visit(LAN)
    expect(page.locator(".dpi-source")).to_contain_text("told by netifyd")
    firewall = house.engine.directory / "config" / "firewall"
    firewall.write_text("config defaults\n\toption flow_offloading '1'\n")
    house.engine.process.send_signal(signal.SIGHUP)
    page.get_by_text("software flow offload is on").wait_for()
    firewall.unlink()
    house.engine.process.send_signal(signal.SIGHUP)
    expect(page.get_by_text("software flow offload is on")).to_have_count(0)


def test_nobody_there_then_no_agent_then_no_engine(visit: Visit, tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        household(clients=0, crowdsec=False) as quiet,
        gateway(tmp_path_factory.mktemp("quiet"), quiet.engine) as served,
    ):
        visit.site = served
        page = visit(LAN)
        page.get_by_text("No client has been seen yet.").wait_for()
        assert serious_faults(page) == []
        quiet.agent.close()
        page.get_by_text("No DPI agent is connected").first.wait_for()
        quiet.engine.process.send_signal(signal.SIGTERM)
        page.get_by_text("The engine does not run.").wait_for()
        assert serious_faults(page) == []


def test_addresses_are_one_of_a_kind() -> None:
    assert len({ip_of(number) for number in range(CLIENTS)}) == len({mac_of(n) for n in range(CLIENTS)}) == CLIENTS
