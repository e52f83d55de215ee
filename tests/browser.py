"""A real Chromium with a microphone of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright


@contextmanager
def talking_browser(chromium: str, wav: Path) -> Iterator[Browser]:
    """A Chromium whose microphone plays a file, over and over."""
    flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[*flags, f"--use-file-for-fake-audio-capture={wav}"]
        )
        try:
            yield browser
        finally:
            browser.close()


def wait(page: Page, condition: str, seconds: float = 20) -> None:
    """Until the page's data-* attributes fulfil a condition on `d`."""
    until(page, f"(() => {{ const d = document.documentElement.dataset; return {condition} }})()", seconds)


def until(page: Page, expression: str, seconds: float = 20) -> None:
    """Until an expression is true. Asked from outside, for the page's policy lets no text become a script in it."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not so after {seconds} s: {expression}"
        page.wait_for_timeout(50)


@contextmanager
def obeying(context: BrowserContext) -> Iterator[BrowserContext]:
    """Nothing in these pages may be stopped by their Content-Security-Policy."""
    stopped: list[str] = []

    def hear(said: ConsoleMessage) -> None:
        if "Content Security Policy" in said.text:
            stopped.append(said.text)

    context.on("console", hear)
    yield context
    assert not stopped


def declare(page: Page) -> None:
    """Choose a purpose and tick the consent."""
    page.get_by_label("Purpose of the recording").select_option("research")
    page.get_by_label("Everyone who will be heard has agreed").check()
