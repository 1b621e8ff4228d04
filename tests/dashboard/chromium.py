"""A real Chromium for tests, and what a page did in it that it must not do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

REPORT_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))"""


def need_chromium() -> str:
    """The path of Chromium. Where there is none the test is skipped with the reason; in CI (CI=true) it fails."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    missing("This test needs a real Chromium and there is none: install it (apt-get install chromium).")


def missing(text: str) -> NoReturn:
    """Skip with the reason, or fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless browser; playwright's own is not downloaded."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=need_chromium())
        yield opened
        opened.close()


@dataclass
class Visit:
    """A page of a service in a browser, with everything it complained of and every address it asked for."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def show(self, selector: str) -> str:
        """The text of something once it can be seen."""
        found = self.page.locator(selector)
        found.wait_for()
        return found.inner_text()

    def wait_for(self, text: str, selector: str = "body") -> None:
        """Wait until a part of the page says this."""
        self.page.locator(selector).filter(has_text=text).first.wait_for(timeout=15_000)


@contextmanager
def visit(
    opened: Browser, client: httpx.Client, address: str = "/dashboard#window=1h", **context: Any
) -> Iterator[Visit]:
    """Open a page; at the end, nothing may have been complained of and nobody else asked for anything."""
    with opened.new_context(**context) as made:
        page = made.new_page()
        found = Visit(page, str(client.base_url))
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("console", lambda m: found.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: found.complaints.append(str(error.stack)))
        page.on("request", lambda request: _note(found, request))
        page.set_default_timeout(15_000)
        page.goto(f"{found.url}{address}")
        try:
            yield found
        except Exception as error:
            error.add_note(f"the page complained: {found.complaints}")
            raise
        complaints = [each for each in found.complaints if not any(part in each for part in found.expected)]
        assert complaints == []
        assert {each for each in found.asked if not each.startswith(found.url)} == set()
        assert len(found.asked) > 3


def _note(found: Visit, request: Request) -> None:
    found.asked.append(request.url)
