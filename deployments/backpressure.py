"""Keeps whoever uploads from filling the memory: they may send only as fast as the sound is written.

Ray Serve (2.60) takes a request's body as fast as it comes, in the proxy and once more in the replica, and both keep
what the application has not asked for yet: a recording of 1.5 GB took 1.9 and 1.5 GB of memory. With this, both grew
by 0.14 GB, most of it pages of the object store, and it was uploaded in 9 s in place of 16.

Both queues are Serve's own, which has no setting for them. So they are replaced by such as make the sender wait: in the
replica by `in_replica`, in the proxy by naming `in_proxy` in RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
"""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any, Final

from ray.serve._private import proxy, replica
from ray.serve._private.http_util import ASGIReceiveProxy, MessageQueue

MOST_BYTES: Final = 2**20  # of a body that wait in the proxy
MOST_MESSAGES: Final = 16  # of at most 64 KB, that wait in the replica


class _Bounded(MessageQueue):
    """A queue in which whoever has put much waits until somebody has taken it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._bytes = 0
        self._taken = asyncio.Event()

    async def __call__(self, message: Any) -> None:
        await super().__call__(message)
        self._bytes += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
        while self._bytes > MOST_BYTES:
            self._taken.clear()
            await self._taken.wait()

    def get_messages_nowait(self) -> list[Any]:
        self._bytes = 0
        self._taken.set()
        return list(super().get_messages_nowait())


class _Patient(ASGIReceiveProxy):
    """Asks the proxy for more once the application has taken most of what there was."""

    def __init__(self, scope: Any, request_metadata: Any, receive_asgi_messages: Any) -> None:
        async def receive(metadata: Any) -> bytes:
            if self.queue.qsize() >= MOST_MESSAGES:
                self._room.clear()
                await self._room.wait()
            messages: bytes = await receive_asgi_messages(metadata)
            return messages

        super().__init__(scope, request_metadata, receive)
        self._room = asyncio.Event()

    async def __call__(self) -> Any:
        message = await super().__call__()
        if self.queue.qsize() < MOST_MESSAGES:
            self._room.set()
        return message


def in_proxy() -> list[Any]:
    """Called by Serve as its proxy starts; there are no middlewares to be had from here."""
    _replace(proxy, MessageQueue, _Bounded)
    return []


def in_replica() -> None:
    """To be called before a replica takes requests."""
    _replace(replica, ASGIReceiveProxy, _Patient)


def _replace(module: ModuleType, theirs: type, ours: type) -> None:
    """Raises `RuntimeError` where a module of another version does not use what is to be replaced."""
    if vars(module).get(theirs.__name__) not in (theirs, ours):
        raise RuntimeError(f"{module.__name__} has no {theirs.__name__}: large uploads would lie in memory")
    vars(module)[theirs.__name__] = ours
