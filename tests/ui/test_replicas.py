"""Several servers of the page behind one address, which sends each connection to whichever it likes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from playwright.sync_api import BrowserContext

from tests.browser import wait
from tests.service import free_port
from tests.ui.stage import Backend, running_page
from ui.settings import PageSettings

pytestmark = pytest.mark.timeout(120)


@contextmanager
def entry(documents: int, sockets: int) -> Iterator[str]:
    """An address that sends WebSockets to one port and everything else to another: the worst that can happen."""
    port, loop = free_port(), asyncio.new_event_loop()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"upgrade: websocket" not in head.lower():  # one request a connection, so that each is looked at
                head = head.replace(b"Connection: keep-alive", b"Connection: close")
            ahead, behind = await asyncio.open_connection(
                "127.0.0.1", sockets if b"upgrade: websocket" in head.lower() else documents
            )
            behind.write(head)
            await asyncio.gather(copy(reader, behind), copy(ahead, writer))

    async def end() -> None:
        lines = asyncio.all_tasks() - {asyncio.current_task()}
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(asyncio.start_server(connected, "127.0.0.1", port), loop).result(10)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@pytest.mark.slow
def test_a_document_and_its_socket_may_come_to_different_replicas(
    context: BrowserContext, backend: Backend, redis_url: str
) -> None:
    """Without a common secret or a shared store: the replica that has the socket makes the document anew."""
    session = backend.held()
    first, second = free_port(), free_port()

    def page(port: int) -> PageSettings:
        return PageSettings(redis_url=redis_url, host="0.0.0.0", ui_port=port, port=backend.port)

    with running_page(page(first)), running_page(page(second)), entry(first, second) as url:
        # What the first has shown before makes the numbers of its models other ones than the second's.
        for address in (f"http://127.0.0.1:{first}", f"http://127.0.0.1:{first}", url):
            tab = context.new_page()
            tab.goto(f"{address}/?session={session.id}#{session.viewer_key}")
            wait(tab, "d.state === 'ended' && d.speakers >= 1")
