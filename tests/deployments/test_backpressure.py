"""What waits in the proxy and in the replica is bounded, whatever kind of message it came in, and nothing swells."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from ray.serve._private import proxy
from ray.serve._private.http_util import start_asgi_http_server
from ray.serve.config import HTTPOptions
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from deployments.backpressure import EACH, LONGEST_MESSAGE, MOST_BYTES, _Bounded, _Patient, in_proxy
from tests.service import free_port

LARGE = 100_000  # bytes


@pytest.mark.parametrize(
    ("message", "size"),
    [
        ({"body": bytes(LARGE)}, LARGE),
        ({"bytes": bytes(LARGE)}, LARGE),
        ({"text": "x" * LARGE}, LARGE),
        ({"bytes": b""}, 0),
    ],
)
async def test_who_has_sent_much_waits_until_it_is_taken(message: dict[str, Any], size: int) -> None:
    """Text on a WebSocket was not counted: a flood of it lay in the proxy's memory. So did one of empty messages."""
    queue, many = _Bounded(), 10 * MOST_BYTES // (size + EACH)

    async def flood() -> None:
        for _ in range(many):
            await queue(message)

    flooding = asyncio.create_task(flood())
    await asyncio.sleep(0.1)
    assert not flooding.done()
    taken = queue.get_messages_nowait()
    assert MOST_BYTES <= (size + EACH) * len(taken) <= MOST_BYTES + size + EACH
    while not flooding.done():
        taken += queue.get_messages_nowait()
        await asyncio.sleep(0)
    assert len(taken) + len(queue.get_messages_nowait()) == many


@pytest.mark.parametrize("message", [{"bytes": bytes(LONGEST_MESSAGE)}, {"text": ""}])
async def test_a_replica_asks_for_no_more_than_it_can_hold(message: dict[str, Any]) -> None:
    """It asked until there were so many messages, of which each might be large."""
    asked = 0

    async def give(_: Any) -> bytes:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return pickle.dumps([{"type": "websocket.receive"} | message])

    receive = _Patient({"type": "websocket"}, None, give)
    fetching = asyncio.create_task(receive.fetch_until_disconnect())
    most = -(-MOST_BYTES // (EACH + len(message.get("bytes", b""))))
    for taken in range(3):
        async with asyncio.timeout(30):
            while asked < most + taken:
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert asked == most + taken
        await receive()
    fetching.cancel()


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server as Serve's proxy starts its own, which says of each message how long it is."""
    monkeypatch.setattr(uvicorn, "Config", uvicorn.Config)  # as they were, afterwards
    monkeypatch.setattr(proxy, "MessageQueue", proxy.MessageQueue)
    in_proxy()

    async def application(_: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": str(len(message["bytes"]))})

    options = HTTPOptions(host="127.0.0.1", port=free_port())
    serving, server = await start_asgi_http_server(application, options, event_loop=asyncio.get_running_loop())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"ws://127.0.0.1:{options.port}"
    server.should_exit = True
    await serving


async def test_messages_of_the_proxy_are_short_and_as_long_as_on_the_wire(address: str) -> None:
    """Of 16 KiB, compressed, it made 16 MiB."""
    async with connect(address, compression="deflate") as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        await socket.send(bytes(LONGEST_MESSAGE))
        assert await socket.recv() == str(LONGEST_MESSAGE)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.gather(socket.send(bytes(LONGEST_MESSAGE + 1)), socket.recv())
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
