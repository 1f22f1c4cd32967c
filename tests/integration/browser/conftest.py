"""What browser tests lean on: one Chromium a module, a gateway that serves the pages, visits. See harness.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.integration.browser.harness import Site, Visit

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window; Playwright's own download is not needed."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    from tests.integration.browser.harness import CHROMIUM

    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: apt-get install chromium")
    # As root Chromium refuses its own sandbox; /dev/shm may be small.
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=str(CHROMIUM), args=options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The pages over a copy of the default configuration and no engine; a module overrides it for more."""
    import shutil

    from tests.integration.browser.harness import ROOT, gateway

    directory = tmp_path_factory.mktemp("site")
    (directory / "config").mkdir()
    shutil.copy(ROOT / "config" / "dpi-dual", directory / "config")
    with gateway(directory, config=directory / "config") as served:
        yield served


@pytest.fixture
def visit(browser: Browser, site: Site, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Visit]:
    """Opens pages; in the end each must have been without faults."""
    from tests.integration.browser.harness import Visit

    visits = Visit(browser, site)
    try:
        yield visits
        if request.node.stash.get(FAILED, False):
            for number, page in enumerate(visits.pages):
                picture = tmp_path / f"page-{number}.png"
                page.screenshot(path=picture, full_page=True)
                print(f"{page.url} looked like {picture}; faults: {visits.problems}")
        else:
            assert visits.unexpected() == []
    finally:
        visits.close()
