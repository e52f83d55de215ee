"""Ends tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 0.2


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and come back when all of them are over; what they raised is theirs.

    Until Python 3.12, `asyncio.wait_for` forgets a cancellation that comes just when it is done
    (python/cpython#86296), and the Redis client sends every command through it (redis/redis-py#2028). So ask until
    heard.
    """
    running = {task for task in tasks if not task.done()}
    asked = 0
    while running:
        for _ in range(asked):  # a busy task could be in step with the clock, and be asked at its deaf moment each time
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_SECONDS)
        asked += 1
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that the loop does not complain that nobody did
