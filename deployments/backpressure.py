"""Keeps whoever sends from filling the memory: they may send only as fast as it is taken, and nothing that swells.

Ray Serve (2.60) takes a request's body as fast as it comes, in the proxy and once more in the replica, and both keep
what the application has not asked for yet: a recording of 1.5 GB took 1.9 and 1.5 GB of memory. With this, both grew
by 0.14 GB, most of it pages of the object store, and it was uploaded in 9 s in place of 16. And its proxy takes
WebSocket messages of 16 MiB, which may come compressed: 16 KiB on the wire are as much there.

Both queues are Serve's own, and so is how it starts its server (`start_asgi_http_server`); it has settings for neither.
So they are replaced: in the replica by `in_replica`, in the proxy by naming `in_proxy` in
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
"""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any, Final

import uvicorn
from ray.serve._private import proxy, replica
from ray.serve._private.http_util import ASGIReceiveProxy, MessageQueue
from uvicorn import Config

MOST_BYTES: Final = 2**20  # of one request that wait in the proxy, and as many in the replica
EACH: Final = 512  # bytes that a message takes besides: without them a flood of empty ones would be free
LONGEST_MESSAGE: Final = 2**20  # bytes on a WebSocket; a frame has 64 KiB


def _weight(message: Any) -> int:
    """The bytes of a message, or of an error in place of one."""
    if not isinstance(message, dict):
        return EACH
    return EACH + len(message.get("body") or message.get("bytes") or message.get("text") or b"")


class _Bounded(MessageQueue):
    """A queue in which whoever has put much waits until somebody has taken it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._bytes = 0
        self._taken = asyncio.Event()

    async def __call__(self, message: Any) -> None:
        await super().__call__(message)
        self._bytes += _weight(message)
        while self._bytes > MOST_BYTES:
            self._taken.clear()
            await self._taken.wait()

    def get_messages_nowait(self) -> list[Any]:
        self._bytes = 0
        self._taken.set()
        return list(super().get_messages_nowait())


class _Weighed(asyncio.Queue[Any]):
    """Knows how many bytes wait in it."""

    bytes = 0

    def _put(self, item: Any) -> None:
        self.bytes += _weight(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.bytes -= _weight(item)
        return item


class _Patient(ASGIReceiveProxy):
    """Asks the proxy for more once the application has taken most of what there was."""

    def __init__(self, scope: Any, request_metadata: Any, receive_asgi_messages: Any) -> None:
        async def receive(metadata: Any) -> bytes:
            if self.queue.bytes >= MOST_BYTES:
                self._room.clear()
                await self._room.wait()
            messages: bytes = await receive_asgi_messages(metadata)
            return messages

        super().__init__(scope, request_metadata, receive)
        self._room = asyncio.Event()

    @property
    def queue(self) -> _Weighed:
        """In the place of Serve's own."""
        if not isinstance(self._queue, _Weighed):
            self._queue = _Weighed()
        return self._queue

    async def __call__(self) -> Any:
        message = await super().__call__()
        if self.queue.bytes < MOST_BYTES:
            self._room.set()
        return message


class _Frugal(Config):
    """Of a server that takes no long messages on WebSockets, and none compressed: sound in frames hardly shrinks."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        own = {"ws_max_size": LONGEST_MESSAGE, "ws_per_message_deflate": False}
        super().__init__(*arguments, **options | own)


def in_proxy() -> list[Any]:
    """Called by Serve before its proxy listens; there are no middlewares to be had from here."""
    _replace(proxy, MessageQueue, _Bounded)
    _replace(uvicorn, Config, _Frugal)
    return []


def in_replica() -> None:
    """To be called before a replica takes requests."""
    _replace(replica, ASGIReceiveProxy, _Patient)


def _replace(module: ModuleType, theirs: type, ours: type) -> None:
    """Raises `RuntimeError` where a module of another version does not use what is to be replaced."""
    if vars(module).get(theirs.__name__) not in (theirs, ours):
        raise RuntimeError(f"{module.__name__} has no {theirs.__name__}: whatever is sent would lie in memory")
    vars(module)[theirs.__name__] = ours
