"""The lab's runtime against what LuCI itself does: the same looks, and the answers that LuCI gave to them.

To ask a LuCI again, with `/etc/config/dpi-dual` as this project ships it, and write probes.json anew:

    python -m tests.integration.browser.test_runtime http://192.168.1.1 PASSWORD
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.integration.browser.harness import Visit

HERE = Path(__file__).parent
ANSWERS: dict[str, Any] = json.loads((HERE / "probes.json").read_text(encoding="utf-8"))
READY = "() => window.L && L.loaded && L.ui && L.uci && document.querySelector('#view')"


@pytest.fixture
def page(visit: Visit) -> Iterator[Page]:
    visit.expected.append("console warning")
    page = visit("admin/secubox/dpi-dual/settings")
    page.wait_for_function(READY)
    page.locator(".cbi-page-actions").wait_for()
    page.add_script_tag(path=HERE / "probes.js")
    yield page


def test_runtime_does_what_luci_does(page: Page) -> None:
    names = page.evaluate("() => Object.keys(probes)")
    assert set(names) == set(ANSWERS)
    differing = {}
    for name in names:
        seen = page.evaluate("name => probes[name]()", name)
        if seen != ANSWERS[name]:
            differing[name] = {"here": seen, "in LuCI": ANSWERS[name]}
    assert differing == {}, json.dumps(differing, indent=1, ensure_ascii=False)


def ask(url: str, password: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{url}/cgi-bin/luci/admin/secubox/dpi-dual/settings")
        page.locator("#luci_username").fill("root")
        page.locator("#luci_password").fill(password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_function(READY)
        page.locator(".cbi-page-actions").wait_for()
        page.add_script_tag(path=HERE / "probes.js")
        names = page.evaluate("() => Object.keys(probes)")
        answers = {name: page.evaluate("name => probes[name]()", name) for name in names}
        browser.close()
    text = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(answer, ensure_ascii=False)}" for name, answer in answers.items()
    )
    (HERE / "probes.json").write_text("{\n" + text + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    ask(*sys.argv[1:])
