"""Pages in a real browser: a gateway that serves them, visits with a login, what went wrong on a page, axe.

How to write a browser test (fixtures are in conftest.py):

    from tests.integration.browser.harness import Site, Visit, serious_faults

    @pytest.fixture(scope="module")
    def site(tmp_path_factory):                      # only when the module needs an engine behind its pages
        with running_engine() as engine, gateway(tmp_path_factory.mktemp("site"), engine) as site:
            yield site

    def test_overview(visit):
        page = visit("admin/secubox/dpi-dual/overview", login="viewer", width=360, scheme="dark", language="fr")
        page.get_by_role("heading", name="...").wait_for()          # Playwright waits; never sleep
        assert serious_faults(page) == []

`visit` returns Playwright's own `Page`, logged in (`login=None`: not). After the test each page must be without errors:
on its console, thrown, or asked from another host; `visit.expected.append("words of it")` forgives those that a test
provokes. A page of a failed test is kept as a picture, whose path the report says. A condition that Playwright
cannot wait for: `eventually()` of `lab.waiting`.

While Playwright runs (until a module's end) this thread counts as one with an asyncio loop: no `asyncio.run()` in
these modules' tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
from playwright.sync_api import Request as PageRequest

from lab.engine import RunningEngine

ROOT = Path(__file__).resolve().parent.parent.parent.parent
CHROMIUM = Path("/usr/bin/chromium")
LUCI = "/cgi-bin/luci"

#: Generous, as the machine may be slow: a wait ends as soon as what it waits for is there.
PATIENCE_MS = 60_000

ACL = ROOT / "luci-app-dpi-dual" / "root" / "usr" / "share" / "rpcd" / "acl.d"


@dataclass(frozen=True)
class Site:
    """Where pages are served, and the logins' passwords."""

    url: str
    passwords: dict[str, str]
    config: Path
    """The directory of UCI that the pages read and write."""


@contextmanager
def gateway(directory: Path, engine: RunningEngine | None = None, config: Path | None = None) -> Iterator[Site]:
    """A gateway of our own with the product's plugins, over an engine if there is one; a commit reloads that."""
    config = engine.directory / "config" if engine else config or ROOT / "config"
    passwords = {"root": "secret-of-root", "viewer": "secret-of-viewer"}
    for name, password in passwords.items():
        (directory / f"{name}.password").write_text(password)
    init = directory / "init"
    init.write_text(f"#!/bin/sh\nkill -HUP {engine.process.pid}\n" if engine else "#!/bin/sh\n")
    init.chmod(0o700)
    environment = engine.environment if engine else {**os.environ, "DPI_DUAL_CONFIG_DIR": str(config)}
    if engine is None:
        environment["DPI_DUAL_RUN_DIR"] = str(directory / "run")
    command = [sys.executable, "-m", "lab.gateway", "--acl", str(ACL), "--port", "0", "--config", str(config)]
    command += ["--socket", str(directory / "ubus.sock"), "--init", str(init)]
    command += ["--password-file", str(directory / "root.password")]
    command += ["--viewer-password-file", str(directory / "viewer.password")]
    with (directory / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        try:
            said = process.stdout.readline()
            port = re.match(r"ready on 127\.0\.0\.1:(\d+) ", said)
            assert port, f"{said}{(directory / 'gateway.log').read_text()}"
            yield Site(f"http://127.0.0.1:{port[1]}", passwords, config)
        finally:
            process.terminate()
            process.wait(30)


@dataclass
class Visit:
    """Opens pages of a site; remembers every fault of theirs."""

    browser: Browser
    site: Site
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Words of faults that this test provokes on purpose."""
    pages: list[Page] = field(default_factory=list)

    def __call__(
        self,
        path: str = "",
        *,
        login: str | None = "root",
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        language: str = "en",
        **more: Any,
    ) -> Page:
        """A page of a browser profile of its own; `path` as in the menu; `more` goes to Playwright's `new_context`."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, locale=language, **more
        )
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", self._said)
        context.on("weberror", lambda error: self._note(f"thrown: {error.error}"))
        context.on("request", self._asked)
        if login is not None:
            self.log_in(context, login)
        page = context.new_page()
        self.pages.append(page)
        page.goto(self.address(path))
        return page

    def address(self, path: str) -> str:
        return f"{self.site.url}{LUCI}/{path}".rstrip("/")

    def log_in(self, context: BrowserContext, login: str) -> None:
        """Gets the cookie without going through the form."""
        form = {"luci_username": login, "luci_password": self.site.passwords[login]}
        answer = context.request.post(self.address(""), form=form, max_redirects=0)
        assert answer.status == 302, answer.text()

    def unexpected(self) -> list[str]:
        return [problem for problem in self.problems if not any(words in problem for words in self.expected)]

    def close(self) -> None:
        for context in {page.context for page in self.pages}:
            context.close()

    def _note(self, problem: str) -> None:
        self.problems.append(problem)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self._note(f"console {message.type}: {message.text} ({message.location['url']})")

    def _asked(self, request: PageRequest) -> None:
        if not request.url.startswith((self.site.url, "data:", "blob:")):
            self._note(f"asked another host: {request.url}")


def serious_faults(page: Page, within: str | None = None) -> list[str]:
    """What axe finds to be seriously or critically wrong, a line for each place."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=within).response["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {node['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
