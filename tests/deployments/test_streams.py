"""A stream that lasts goes on holding its place, and lets go of it however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from math import inf
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from deployments.gate import Limited
from deployments.routes import streams
from deployments.routes.streams import server_sent


class Gate:
    """Notes what is held and let go of, with a Redis that goes away. `places`: how often a place can be held."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, str | None]] = []
        self.places = inf

    async def hold_stream(self, stream: str, address: str, session: str | None) -> None:
        self.told.append(("hold", stream, address, session))
        if len(self.told) > self.places:
            raise Limited("Taken.", 30)

    async def let_go_of_stream(self, stream: str, address: str, session: str | None) -> None:
        await asyncio.sleep(0)
        self.told.append(("let go", stream, address, session))
        raise RedisConnectionError


@pytest.mark.parametrize(("seconds", "held"), [(-1.0, 3), (60.0, 1)])
async def test_a_stream_gives_signs_of_life_and_then_lets_go(
    monkeypatch: pytest.MonkeyPatch, seconds: float, held: int
) -> None:
    monkeypatch.setattr(streams, "AGAIN_SECONDS", seconds)
    gate: Any = Gate()
    ended: list[bool] = []

    async def events() -> AsyncGenerator[str]:
        try:
            for number in range(9):
                yield f"data: {number}\n\n"
        finally:
            ended.append(True)

    answer = await server_sent(gate, events(), "192.0.2.1", "s1")
    sent: Any = answer.body_iterator
    assert [await anext(sent) for _ in range(2)] == ["data: 0\n\n", "data: 1\n\n"]
    await sent.aclose()  # whoever followed has gone
    assert ended == [True]
    (whose,) = {tuple(whose) for _, *whose in gate.told}
    assert whose[1:] == ("192.0.2.1", "s1")
    assert [what for what, *_ in gate.told] == ["hold"] * held + ["let go"]


async def test_a_stream_that_has_lost_its_place_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "AGAIN_SECONDS", -1.0)
    gate: Any = Gate()
    gate.places = 3

    async def events() -> AsyncGenerator[str]:
        for number in range(9):
            yield f"data: {number}\n\n"

    answer = await server_sent(gate, events(), "192.0.2.1", "s1")
    assert [event async for event in answer.body_iterator] == ["data: 0\n\n", "data: 1\n\n"]
    assert gate.told[-1][0] == "let go"


async def test_who_hangs_up_lets_go() -> None:
    """It used to be cancelled with all else."""
    gate: Any = Gate()
    told = asyncio.Event()

    async def events() -> AsyncGenerator[str]:
        yield "data: 0\n\n"
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message.get("body"):
            told.set()

    async def receive() -> dict[str, str]:
        await told.wait()
        return {"type": "http.disconnect"}

    answer = await server_sent(gate, events(), "192.0.2.1", "s1")
    await answer({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    assert [what for what, *_ in gate.told] == ["hold", "let go"]
