"""Who gets in: the form, the two logins, a session that ends, what is refused."""

from __future__ import annotations

import re
from http.client import HTTPConnection

import pytest

from tests.integration.browser.harness import LUCI, Site, Visit, serious_faults

PAGES = ("overview", "timeline", "lan", "settings")
REFUSED = "the server responded with a status of 403"


def ask(
    site: Site, target: str, method: str = "GET", body: str = "", **headers: str
) -> tuple[int, dict[str, str], str]:
    connection = HTTPConnection(site.url.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def test_bare_address_leads_to_the_form_and_the_form_to_a_page(visit: Visit) -> None:
    visit.expected.append(REFUSED)
    page = visit(login=None)
    page.goto(visit.site.url)
    assert serious_faults(page) == []
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Password").fill(visit.site.passwords["root"])
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Status").wait_for()
    cookie = next(item for item in page.context.cookies() if item["name"] == "sysauth_http")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    page.get_by_role("link", name="Log out root").click()
    page.get_by_label("Username").wait_for()


def test_user_name_is_shown_as_text(site: Site) -> None:
    status, headers, text = ask(site, LUCI, "POST", "luci_username=%22%3E%3Csvg+onload%3D1%3E&luci_password=x")
    assert status == 403
    assert headers["X-LuCI-Login-Required"] == "yes"
    assert "<svg" not in text


@pytest.mark.parametrize("name", PAGES)
def test_nobody_sees_a_page_without_login(site: Site, name: str) -> None:
    status, _, text = ask(site, f"{LUCI}/admin/secubox/dpi-dual/{name}")
    assert status == 403
    assert "luci_password" in text
    assert "sessionid" not in text


@pytest.mark.parametrize(
    "target",
    [
        "/luci-static/resources/../../../README.md",
        "/luci-static/resources/%2e%2e/menu.d/luci-base.json",
        "/luci-static/resources/..%2f..%2f..%2fpyproject.toml",
        "/luci-static/resources//etc/passwd",
        "/luci-static/resources/%00.js",
        "/luci-static/resources/",
        "/luci-static/lab/../__init__.py",
        f"{LUCI}/admin/../../etc/passwd",
        f"{LUCI}/" + "a/" * 50,
    ],
)
def test_nothing_outside_is_served(site: Site, target: str) -> None:
    assert ask(site, target)[0] in (403, 404)


def test_files_have_their_types(site: Site) -> None:
    for target, kind in (("resources/luci.js", "text/javascript"), ("lab/cascade.css", "text/css")):
        status, headers, _ = ask(site, f"/luci-static/{target}")
        assert status == 200
        assert headers["Content-Type"].startswith(kind)
        assert headers["Cache-Control"] == "no-store"


def test_viewer_may_look_and_not_change(visit: Visit) -> None:
    page = visit("admin/status/overview", login="viewer")
    page.get_by_role("heading", name="Status").wait_for()
    answers = page.evaluate(
        """async () => {
            const calls = [ [ 'uci', 'get', { config: 'dpi-dual' } ], [ 'uci', 'get', { config: 'dpi-dual-secrets' } ],
                [ 'uci', 'set', { config: 'dpi-dual', section: 'tap', values: { enabled: '0' } } ],
                [ 'uci', 'apply', { rollback: false } ], [ 'dpi.correlator', 'ban', { ip: '192.0.2.1' } ],
                [ 'dpi.status', 'stop', {} ] ];
            const answer = await fetch('/ubus', { method: 'POST', body: JSON.stringify(calls.map((call, id) =>
                ({ jsonrpc: '2.0', id, method: 'call', params: [ L.env.sessionid, ...call ] }))) });
            return answer.json();
        }"""
    )
    allowed, secret, *changes = answers
    assert allowed["result"][0] == 0
    assert secret["result"] == [6]
    assert [answer["error"]["code"] for answer in changes] == [-32002] * 4


def test_address_of_a_change_needs_the_pages_token(visit: Visit) -> None:
    page = visit("admin/status/overview")
    status = page.evaluate("() => fetch(L.url('admin/uci/apply_unchecked'), { method: 'POST' }).then(a => a.status)")
    assert status == 403
    visit.expected.append(REFUSED)


def test_session_that_ended_asks_for_a_login(visit: Visit) -> None:
    visit.expected += [REFUSED, "Login session is expired"]
    page = visit("admin/status/overview")
    page.get_by_role("heading", name="Status").wait_for()
    page.context.request.get(visit.address("admin/logout"))
    page.evaluate("() => { L.uci.changes().catch(() => {}); }")
    page.get_by_role("heading", name="Session expired").wait_for()
    page.get_by_role("button", name="Log in…").click()
    page.get_by_label("Username").wait_for()


def test_page_that_is_not_there_says_so(visit: Visit) -> None:
    visit.expected.append("status of 404")
    page = visit("admin/secubox/nothing")
    page.get_by_role("heading", name="Not Found").wait_for()


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_menu_leads_to_all_pages(visit: Visit, width: int, scheme: str) -> None:
    page = visit("admin/status/overview", width=width, scheme=scheme)
    page.get_by_role("link", name="SecuBox").hover()
    names = page.locator(".dropdown-menu a", has_text=re.compile("DPI Dual-Stream"))
    names.click()
    page.locator("#tabmenu .active").wait_for()
    links = page.locator("#tabmenu a").evaluate_all("nodes => nodes.map(node => node.pathname.split('/').pop())")
    assert links == list(PAGES)
    assert (
        page.evaluate("() => document.documentElement.getAttribute('data-darkmode')") == str(scheme == "dark").lower()
    )
