"""A wire that can be cut: whoever is at one end falls silent, and no word tells the other end why."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit

from pipeline import tasks


class Wire:
    """What goes to a service's API and back, by way of `api`, until it is cut. The service's ends stay open then."""

    def __init__(self, api: str) -> None:
        self._there = urlsplit(api)
        self._pumps: list[asyncio.Task[None]] = []
        self._ends: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.api = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await tasks.end(*self._pumps)
        for end in self._ends:
            end.close()

    def cut(self) -> None:
        """From now on nothing goes through, no end of a line either."""
        for pump in self._pumps:
            pump.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, there = await asyncio.open_connection(self._there.hostname, self._there.port)
        self._ends += writer, there
        self._pumps += asyncio.create_task(_pumped(reader, there)), asyncio.create_task(_pumped(answers, writer))


async def _pumped(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while some := await source.read(2**16):
        sink.write(some)
        await sink.drain()
    sink.close()
