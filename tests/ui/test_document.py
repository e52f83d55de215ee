"""A document does what its browser asks, and survives what no browser of ours would ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bokeh.document import Document
from pydantic import SecretStr
from redis.exceptions import RedisError

from pipeline.session import NewSession, SessionRequest
from tests.service import running_redis
from ui.feed import Hub
from ui.page import Page
from ui.settings import PageSettings


class Asked(Page):
    """A page whose answers are kept."""

    def __init__(self, hub: Hub) -> None:
        self.answers: list[dict[str, object]] = []
        super().__init__(Document(), hub)

    def _answer(self, number: int, name: str, **fields: object) -> None:
        self.answers.append({"n": number, "name": name, **fields})

    async def ask(self, **command: object) -> str:
        await self._obey(json.dumps(command))
        return str(self.answers[-1]["name"]) if self.answers else ""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Asked]:
    with running_redis(tmp_path) as url:
        hub = Hub(PageSettings(redis_url=SecretStr(url)))
        page = Asked(hub)
        yield page
        page._leave(None)
        await hub.close()


@pytest.fixture
async def session(page: Asked) -> NewSession:
    return await page.hub.store.create(SessionRequest(purpose="research", consent=True))


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"n": 1}', '{"n": 1, "ask": "dance"}', '{"n": 1, "ask": []}'])
async def test_what_is_no_command_is_dropped(page: Asked, text: str) -> None:
    await page._obey(text)
    assert not page.answers


@pytest.mark.parametrize(
    "wrong",
    [
        {"ask": "open"},
        {"ask": "open", "session": 5, "key": None},
        {"ask": "step", "by": "far"},
        {"ask": "erase", "x": 1},
    ],
)
async def test_wrong_arguments_are_answered_with_trouble(page: Asked, wrong: dict[str, object]) -> None:
    assert await page.ask(n=1, **wrong) == "trouble"


async def test_every_request_is_answered_even_where_there_is_nothing_to_tell(page: Asked) -> None:
    """A promise in the browser stayed pending for ever."""
    assert await page.ask(n=1, ask="step", by=1) == "announce"
    assert await page.ask(n=2, ask="download") == "trouble"
    assert await page.ask(n=3, ask="erase") == "trouble"


async def test_two_quick_opens_leave_one_feed(page: Asked, session: NewSession) -> None:
    """The slower of the two stayed subscribed, and its reader ran until the server stopped."""
    opening = {"ask": "open", "session": session.id, "key": session.viewer_key}
    await asyncio.gather(page.ask(n=1, **opening), page.ask(n=2, **opening))
    assert [answer["name"] for answer in page.answers] == ["opened", "opened"]
    page._close_feed()
    assert not page.hub._feeds


async def test_a_store_that_is_away_is_said(page: Asked, session: NewSession, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_arguments: object) -> None:
        raise RedisError("away")

    await page.ask(n=1, ask="open", session=session.id, key=session.recorder_key)
    monkeypatch.setattr(page.hub.store, "erase", away)
    assert await page.ask(n=2, ask="erase") == "trouble"
    assert page.answers[-1]["message"] == "The store does not answer at the moment. Please try again."
    monkeypatch.setattr(page.hub.store, "role", away)
    assert await page.ask(n=3, ask="open", session=session.id, key=session.recorder_key) == "trouble"
    assert page.answers[-1]["message"] == "The store does not answer at the moment. The page tries again by itself."
