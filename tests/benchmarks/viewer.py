"""One who watches: a headless Chromium that notes when its plots were told of a hop, and when it had drawn it.

The page's document changes in one callback on the server: first the data sources of its plots, then `bridge.session`,
which says how far was heard. They come to the browser in that order, so when the latter is there, the former are; the
second animation frame after that begins when the one that holds the change was handed over to be shown.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from os import environ
from typing import Any

from playwright.sync_api import Page, sync_playwright

from deployments.client import Session
from pipeline.timeline import HOP_SECONDS

NOTE = """() => {
  window.seen = []
  const bridge = Bokeh.documents[0].get_model_by_name("bridge")
  bridge.properties.session.change.connect(() => {
    const {heardUntil} = JSON.parse(bridge.session)
    const told = performance.timeOrigin + performance.now()
    if (heardUntil === undefined || heardUntil <= (seen.at(-1)?.until ?? 0)) return
    const one = {until: heardUntil, told}
    seen.push(one)
    requestAnimationFrame(() => requestAnimationFrame(
      () => { one.drawn = performance.timeOrigin + performance.now() }))
  })
}"""
SHOWN = "(() => { const d = document.documentElement.dataset; return d.state === 'live' && d.readings >= 1 })()"


def chromium() -> str | None:
    """Path of a Chromium, or None where there is none."""
    named = environ.get("TONETRACK_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("google-chrome")


class Viewer:
    """A browser on one session's page. Not for several threads."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def watch(self, base: str, session: Session, seconds: float) -> dict[str, list[float]]:
        """When each hop was `told` and `drawn`, in Unix time, by hop; hops that came together share their time."""
        self._page.goto(f"{base}/?session={session.id}#{session.viewer_key}")
        self._page.wait_for_function(SHOWN, timeout=60_000)
        self._page.evaluate(NOTE)
        time.sleep(seconds)
        seen = self._page.evaluate("seen.filter(one => one.drawn)")
        return spread(seen)


def spread(seen: list[dict[str, float]]) -> dict[str, list[float]]:
    """Each hop's times from what was seen, which may have been several hops at once: `hop`, `told` and `drawn`.

    What came first may have been on its way before anybody looked, and is left out.
    """
    hops: dict[str, list[float]] = {"hop": [], "told": [], "drawn": []}
    for before, one in pairwise(seen):
        for hop in range(round(before["until"] / HOP_SECONDS), round(one["until"] / HOP_SECONDS)):
            hops["hop"].append(hop)
            hops["told"].append(one["told"] / 1000)
            hops["drawn"].append(one["drawn"] / 1000)
    return hops


@contextmanager
def viewer(path: str) -> Iterator[Viewer]:
    """A headless Chromium, for the thread that it was opened in."""
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield Viewer(browser.new_page(bypass_csp=True))  # waiting for what it shows takes eval
        finally:
            browser.close()
