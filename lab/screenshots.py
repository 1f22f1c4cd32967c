"""Pictures of the LuCI pages, taken from the running lab: `python -m lab.screenshots [DIRECTORY]`.

Needs `make run` in another terminal, and Chromium. Each page is there light and dark, as PNG of at most 150 kB;
traffic, attackers and bans are the lab's own. Let it run for some minutes first: the charts need something to show.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import record

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"
LUCI = "/cgi-bin/luci"
PAGES = "admin/secubox/dpi-dual"
MOST_BYTES = 150 * 1000

#: Generous, as a page asks an engine that is busy with the lab's traffic.
PATIENCE_MS = 60_000


def _overview(page: Page) -> None:
    page.locator("[data-stream=mitm]").wait_for()
    page.locator("table tbody tr").first.wait_for()


def _timeline(page: Page) -> None:
    page.locator(".dpi-event button").first.click()
    page.locator(".dpi-event [data-figure=reputation]").first.wait_for()


def _lan(page: Page) -> None:
    page.locator("table tbody tr").first.wait_for()


def _settings(page: Page) -> None:
    page.locator('.cbi-tabmenu li[data-tab="correlation"] a').click()


def _card(page: Page) -> None:
    page.get_by_role("heading", name="DPI Dual-Stream").wait_for()


#: Name of the picture → where it is taken, what makes the page ready, its height.
PICTURES: dict[str, tuple[str, Callable[[Page], None], int, int]] = {
    "overview": (f"{PAGES}/overview", _overview, 1100, 830),
    "timeline": (f"{PAGES}/timeline", _timeline, 1100, 900),
    "lan": (f"{PAGES}/lan", _lan, 1280, 560),
    "settings": (f"{PAGES}/settings", _settings, 1100, 1000),
    "card": ("admin/status/overview", _card, 1100, 380),
}


def take(browser: Browser, lab: dict[str, Any], directory: Path) -> None:
    """All pictures of the lab's pages, light and dark."""
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", locale="en")
        context.set_default_timeout(PATIENCE_MS)
        form = {"luci_username": lab["user"], "luci_password": lab["password"]}
        answer = context.request.post(lab["url"] + LUCI, form=form, max_redirects=0)
        if answer.status != 302:
            raise SystemExit(f"screenshots: the lab refuses the login: {answer.status}")
        for name, (path, ready, width, height) in PICTURES.items():
            page = context.new_page()
            page.set_viewport_size({"width": width, "height": height})
            page.goto(f"{lab['url']}{LUCI}/{path}")
            ready(page)
            page.mouse.move(0, 0)
            page.wait_for_load_state("networkidle")
            file = directory / f"{name}-{scheme}.png"
            picture = page.screenshot(path=file, animations="disabled")
            print(f"{file}: {len(picture) // 1000} kB" + (" (too large)" if len(picture) > MOST_BYTES else ""))
            page.close()
        context.close()


def main(argv: list[str]) -> int:
    """Takes them into the directory named, or docs/screenshots."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("screenshots: playwright is not installed: pip install playwright") from None
    lab = record.read()
    if not lab:
        raise SystemExit("screenshots: no lab runs in this checkout: make run")
    directory = Path(argv[0]) if argv else record.ROOT / "docs" / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        take(browser, lab, directory)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
