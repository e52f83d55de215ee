"""The stage of the page's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import redis
from playwright.sync_api import Browser, BrowserContext
from pydantic import SecretStr

from pipeline.timeline import SAMPLE_RATE
from tests.browser import obeying, talking_browser
from tests.service import free_port, lasting_port, running_redis
from tests.talkers import write_wav
from tests.ui.stage import Backend, running_page
from ui.settings import PageSettings


@pytest.fixture(scope="module")  # and no longer: while it is open, no other test may run a loop of its own
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


@dataclass(frozen=True)
class Stage:
    """What all tests share, for it takes long to be set up: a Redis, and a page whose API is at a port of its own."""

    redis_url: str
    backend_port: int
    page_url: str


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    backend_port = lasting_port()
    with running_redis(tmp_path_factory.mktemp("redis")) as redis_url:
        settings = PageSettings(
            redis_url=SecretStr(redis_url), ui_port=free_port(), port=backend_port, pages_per_minute=10_000
        )
        with running_page(settings) as page_url:
            yield Stage(redis_url, backend_port, page_url)


@pytest.fixture
def redis_url(stage: Stage) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(stage.redis_url) as client:
        client.flushall()
    return stage.redis_url


@pytest.fixture
def backend(redis_url: str, stage: Stage) -> Iterator[Backend]:
    """A backend that plays the script as frames come in."""
    with Backend(redis_url, stage.backend_port) as backend:
        yield backend


@pytest.fixture
def page_url(stage: Stage, backend: Backend) -> str:
    """The page, served."""
    return stage.page_url
