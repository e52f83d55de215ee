"""Ending tasks that Python itself keeps from hearing of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeline import tasks


async def _moment() -> None:
    await asyncio.sleep(0)


async def _deaf() -> None:
    """Sends and sends, as the Redis client does; not for ever, or a test that fails would never be over."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        await asyncio.wait_for(_moment(), 5)


@pytest.mark.parametrize("steps", range(12))
async def test_a_task_ends_at_whatever_step_it_is_asked(steps: int) -> None:
    task = asyncio.create_task(_deaf())
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await tasks.end(task)
    assert task.cancelled()


async def test_what_had_failed_already_is_over() -> None:
    async def fail() -> None:
        raise ValueError("by itself")

    failed, over = asyncio.create_task(fail()), asyncio.create_task(_moment())
    await asyncio.wait({failed, over})
    await tasks.end(failed, over)
    assert isinstance(failed.exception(), ValueError)
    assert not over.cancelled()
