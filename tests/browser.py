"""A real Chromium with a microphone of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright


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
    page.wait_for_function(
        f"(() => {{ const d = document.documentElement.dataset; return {condition} }})()", timeout=1_000 * seconds
    )


def declare(page: Page) -> None:
    """Choose a purpose and tick the consent."""
    page.get_by_label("Purpose of the recording").select_option("research")
    page.get_by_label("Everyone who will be heard has agreed").check()
