"""The stage of the page's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext

from pipeline.timeline import SAMPLE_RATE
from tests.browser import obeying, talking_browser
from tests.service import free_port, running_redis
from tests.talkers import write_wav
from tests.ui.stage import Backend, running_page
from ui.settings import PageSettings


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    sound = tmp_path_factory.mktemp("sound") / "tone.wav"
    write_tone(sound)
    with talking_browser(chromium, sound) as browser:
        yield browser


@pytest.fixture
def context(browser: Browser, backend: Backend) -> Iterator[BrowserContext]:
    """Pages whose sessions the backend opens."""
    with obeying(browser.new_context(accept_downloads=True)) as context:
        context.route(f"**:{backend.port}/v1/sessions**", backend.answer)
        yield context
        context.close()


def write_tone(path: Path, seconds: int = 5) -> None:
    """A 220 Hz tone, loud enough for the meter."""
    write_wav(
        path, (0.27 * np.sin(2 * np.pi * 220 * np.arange(SAMPLE_RATE * seconds) / SAMPLE_RATE)).astype(np.float32)
    )


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """An empty Redis."""
    with running_redis(tmp_path) as url:
        yield url


@pytest.fixture
def backend(redis_url: str) -> Iterator[Backend]:
    """A backend that plays the script as frames come in."""
    with Backend(redis_url, free_port()) as backend:
        yield backend


@pytest.fixture
def page_url(redis_url: str, backend: Backend) -> Iterator[str]:
    """The page, served."""
    settings = PageSettings(redis_url=redis_url, ui_port=free_port(), port=backend.port)
    with running_page(settings) as url:
        yield url
