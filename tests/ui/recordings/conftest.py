"""The page before a service that knows recordings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import obeying, wait
from tests.ui.recordings.service import Service
from tests.ui.stage import Backend


@pytest.fixture
def service(backend: Backend) -> Service:
    return Service(backend.port)


@pytest.fixture
def page(browser: Browser, page_url: str, service: Service) -> Iterator[Page]:
    """The page before anything is recorded; no script may fail in it."""
    with obeying(browser.new_context(accept_downloads=True)) as context:
        page = context.new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.route(f"**:{service.port}/**", service.answer)
        page.goto(page_url)
        wait(page, "d.state === 'ready'")
        yield page
        context.close()
    assert not troubles
