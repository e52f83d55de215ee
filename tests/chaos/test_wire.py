"""That a wire carries everything until it is cut, and that nothing tells of that."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.chaos.wire import Wire


async def test_once_it_is_cut_the_other_end_stays_open_and_hears_nothing() -> None:
    lines: list[ServerConnection] = []

    async def echo(line: ServerConnection) -> None:
        lines.append(line)
        async for message in line:
            await line.send(message)

    async with serve(echo, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with Wire(f"http://127.0.0.1:{port}") as wire:
            client = await connect(wire.api.replace("http", "ws"))
            await client.send("here")
            assert await client.recv() == "here"
            wire.cut()
            client.transport.abort()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(lines[0].wait_closed(), 0.5)
        async with asyncio.timeout(10):
            await lines[0].wait_closed()
