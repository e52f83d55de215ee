"""What waits in the proxy is bounded, whatever kind of message it came in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deployments.backpressure import MOST_BYTES, _Bounded


@pytest.mark.parametrize("message", [{"body": bytes(100_000)}, {"bytes": bytes(100_000)}, {"text": "x" * 100_000}])
async def test_who_has_sent_much_waits_until_it_is_taken(message: dict[str, Any]) -> None:
    """Text on a WebSocket was not counted: a flood of it lay in the proxy's memory."""
    queue = _Bounded()

    async def flood() -> None:
        for _ in range(100):
            await queue(message)

    flooding = asyncio.create_task(flood())
    await asyncio.sleep(0.1)
    assert not flooding.done()
    taken = queue.get_messages_nowait()
    assert MOST_BYTES <= 100_000 * len(taken) <= MOST_BYTES + 100_000
    while not flooding.done():
        taken += queue.get_messages_nowait()
        await asyncio.sleep(0)
    assert len(taken) + len(queue.get_messages_nowait()) == 100
