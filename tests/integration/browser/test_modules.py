"""The shared modules in a browser: thousands of rows, rows that stay, figures in words, charts with gaps."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.integration.browser.harness import PATIENCE_MS, Visit, serious_faults

expect.set_options(timeout=PATIENCE_MS)
HOSTILE = '"><img src=x onerror=window.owned=1>'

#: A place for what a test builds, with the modules at hand.
PLACE = """async () => {
    const [ tables, charts ] = await Promise.all([ 'dpi-dual.tables', 'dpi-dual.charts' ].map(name => L.require(name)));
    const place = E('div', { 'class': 'dpi-page', 'id': 'place' });
    document.querySelector('#maincontent, main, body').appendChild(place);
    Object.assign(window, { tables, charts, place });
}"""

TABLE = """([ number, options ]) => {
    window.rows = Array.from({ length: number },
        (unused, i) => ({ id: `r${i}`, name: `name ${i}`, size: (i * 7919) % number }));
    window.table = tables.create({
        caption: 'Things', id: row => row.id, filter: true,
        columns: [
            { key: 'name', title: 'Name', wide: true, cell: row => tables.wire(row.name) },
            { key: 'size', title: 'Size', number: true, cell: row => tables.count(row.size) }
        ],
        ...options
    });
    place.appendChild(table.node);
    table.update(rows, false);
}"""


@pytest.fixture
def page(visit: Visit) -> Page:
    page = visit("admin/status/overview")
    page.get_by_role("heading", name="Status").wait_for()
    page.evaluate(PLACE)
    return page


def build(page: Page, number: int, **options: Any) -> None:
    page.evaluate(TABLE, [number, options])


def body_rows(page: Page) -> Any:
    return page.locator("#place tbody tr")


def test_thousands_of_rows_are_some_nodes(page: Page) -> None:
    build(page, 5000)
    expect(body_rows(page)).to_have_count(50)
    assert page.evaluate("place.querySelectorAll('*').length") < 500
    expect(page.locator("#place .dpi-said")).to_have_text("1–50 of 5,000")
    page.get_by_role("button", name="Rows after").click()
    expect(page.locator("#place .dpi-said")).to_have_text("51–100 of 5,000")
    page.get_by_role("columnheader", name="Size").get_by_role("button").click()
    expect(body_rows(page).first).to_contain_text("4,999")
    page.locator("#place").get_by_role("searchbox").fill("NAME 4321")
    expect(body_rows(page)).to_have_count(1)


def test_rows_stay_the_same_nodes_with_focus(page: Page) -> None:
    build(page, 20)
    page.evaluate("""() => {
        window.nodes = [ ...place.querySelectorAll('tbody tr') ];
        nodes[5].setAttribute('tabindex', '-1');
        nodes[5].focus();
        rows.reverse();
        rows.forEach(row => { row.size += 1; });
        table.update(rows, false);
    }""")
    assert page.evaluate("nodes.every(node => node.isConnected) && document.activeElement == nodes[5]")
    assert page.evaluate("place.querySelector('tbody tr') == nodes[19]")


def test_unchanged_cells_are_not_touched(page: Page) -> None:
    build(page, 50)
    page.evaluate("""() => {
        window.changes = 0;
        new MutationObserver(list => { changes += list.length; })
            .observe(place, { subtree: true, childList: true, characterData: true });
        table.update(rows.map(row => ({ ...row })), false);
        rows[3].size = 123456;
        table.update(rows, false);
    }""")
    expect(page.locator("#place")).to_contain_text("123,456")
    assert page.evaluate("changes") <= 2


def test_rows_open_by_keyboard_and_are_marked(page: Page) -> None:
    page.evaluate("""() => {
        window.opened = null;
        window.table = tables.create({
            caption: 'Things', id: row => row.id, columns: [ { key: 'name', title: 'Name' } ],
            open: row => { window.opened = row; table.update([ { id: 'a', name: 'A' } ]); },
            selected: row => window.opened?.id == row.id
        });
        place.appendChild(table.node);
        table.update([ { id: 'a', name: 'A' } ]);
        place.querySelector('.dpi-open').focus();
    }""")
    page.keyboard.press("Enter")
    expect(body_rows(page).first).to_have_attribute("aria-current", "true")


def test_load_more_is_offered_on_the_last_page_only(page: Page) -> None:
    build(page, 60)
    page.evaluate("""() => {
        place.replaceChildren();
        window.table = tables.create({
            caption: 'Things', id: row => row.id, columns: [ { key: 'name', title: 'Name' } ],
            more: async () => { rows.push({ id: 'new', name: 'brought' }); table.update(rows, false); }
        });
        place.appendChild(table.node);
        table.update(rows, true);
    }""")
    more = page.locator("#place").get_by_role("button", name="Load more")
    expect(more).to_be_hidden()
    page.get_by_role("button", name="Rows after").click()
    more.click()
    expect(page.locator("#place")).to_contain_text("brought")
    expect(more).to_be_hidden()


FIGURES = (
    ("bytes(0)", "0 B"),
    ("bytes(1023)", "1,023 B"),
    ("bytes(1024)", "1.00 KiB"),
    ("bytes(1536 * 1024)", "1.50 MiB"),
    ("bytes(null)", "–"),
    ("bytes(NaN)", "–"),
    ("rate(999)", "999 bit/s"),
    ("rate(1234567)", "1.23 Mbit/s"),
    ("rate(999999)", "1.00 Mbit/s"),
    ("count(1234567)", "1,234,567"),
    ("percent(0.5)", "50 %"),
    ("percent(0.004)", "0.4 %"),
    ("duration(59)", "59 s"),
    ("duration(3725)", "1 h 2 min"),
    ("duration(90000)", "1 d 1 h"),
    ("age(tables.now() - 185)", "3 min ago"),
    ("age(0)", "–"),
    ("time(null)", "–"),
    ("unix('2026-01-01T00:00:00+00:00')", 1767225600),
    ("unix('rubbish')", None),
    ("event('waf_block')", "WAF block"),
    ("event('own_word')", "own_word"),
)


def test_figures_in_words(page: Page) -> None:
    asked = ", ".join(f"tables.{call}" for call, _ in FIGURES)
    found = page.evaluate(f"[ {asked} ]")
    assert dict(zip((call for call, _ in FIGURES), found, strict=True)) == dict(FIGURES)


def test_wire_text_is_cut_and_stays_text(page: Page) -> None:
    found = page.evaluate(
        """text => {
            const node = tables.wire(text.repeat(1000), 20);
            place.appendChild(node);
            const wide = tables.wire('\\u{1d518}'.repeat(30), 20).textContent;
            return [ Array.from(node.textContent).length, node.title.length, node.children.length, wide ];
        }""",
        HOSTILE,
    )
    assert found == [20, 512, 0, "\U0001d518" * 19 + "…"]
    assert page.evaluate("window.owned") is None


def test_line_chart_has_gaps_and_follows_its_box(page: Page) -> None:
    page.evaluate("""() => {
        window.chart = charts.line({ title: 'Lines', series: [ { name: 'a' }, { name: 'b', kind: 'step', lane: 1 } ] });
        place.appendChild(chart.node);
        const points = [ [ 1000, 1, 5 ], [ 1010, 2, null ], [ 1050, 3, 6 ], [ 1060, 4, 7 ] ];
        chart.update({ points: points, interval_s: 10 });
    }""")
    first, second = page.locator("#place path.dpi-line").all()
    expect(first).to_have_attribute("d", _runs(2))
    expect(second).to_have_attribute("d", _runs(2))
    before = first.get_attribute("d")
    page.evaluate("place.style.width = '400px'")
    expect(first).not_to_have_attribute("d", before or "")
    page.evaluate("chart.update({ points: [] })")
    expect(page.locator("#place")).to_contain_text("No figures for this period yet.")


@pytest.mark.parametrize(
    ("peak", "top", "half"),
    [
        (900, "1.00 KiB", "512 B"),
        (43 * 1024**2, "50.0 MiB", "25.0 MiB"),
        (600 * 1024**2, "1.00 GiB", "512 MiB"),
    ],
)
def test_an_axis_of_bytes_has_round_figures(page: Page, peak: int, top: str, half: str) -> None:
    page.evaluate(
        """peak => {
            const chart = charts.line({ title: 'B', series: [ { name: 'a', format: tables.bytes, binary: true } ] });
            place.appendChild(chart.node);
            chart.update({ points: [ [ 1000, 5 ], [ 1010, peak ] ], interval_s: 10 });
        }""",
        peak,
    )
    axis = page.locator("#place .dpi-axis text[text-anchor=end]")
    expect(axis).to_have_text(["0 B", half, top])


def test_charts_take_bad_names_and_are_fit_for_readers(page: Page) -> None:
    page.evaluate(
        """name => {
            const donut = charts.donut({ title: 'Shares' }), one = charts.donut({ title: 'One' });
            const bars = charts.bars({ title: 'Sizes' });
            const sparkline = charts.sparkline({ title: 'Curve', step: true });
            place.append(donut.node, bars.node, one.node, sparkline.node);
            const list = Array.from({ length: 9 }, (unused, i) => ({ name: `${name}${i}`, value: 10 - i }));
            donut.update(list);
            bars.update(list);
            const open = entry => () => { window.opened = entry.name; };
            bars.update(list.slice(3).map(entry => ({ ...entry, note: name, open: open(entry) })));
            one.update([ { name: 'all', value: 5 } ]);
            sparkline.update([ [ 1, 5 ], [ 2, null ], [ 3, 9 ] ]);
        }""",
        HOSTILE,
    )
    assert page.locator("#place .dpi-bars tbody tr").count() == 6
    assert page.locator("#place .dpi-legend").first.locator("tbody tr").count() == 6
    expect(page.locator("#place .dpi-legend").first).to_contain_text("other")
    page.locator("#place .dpi-bars .dpi-open").first.click()
    assert page.evaluate("window.opened") == HOSTILE + "3"
    assert page.evaluate("window.owned") is None
    assert page.locator("#place img").count() == 0
    assert serious_faults(page, "#place") == []


def _runs(number: int) -> Any:
    import re

    return re.compile(rf"^(?:M[^M]+){{{number}}}$")
