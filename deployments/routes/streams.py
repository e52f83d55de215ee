"""Server-sent events: answers that last, of which nobody may have too many."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Final

from anyio import CancelScope
from fastapi.responses import StreamingResponse
from redis.exceptions import RedisError

from deployments.gate import Gate, Limited

AGAIN_SECONDS: Final = 10.0  # between two signs of life of a stream


async def server_sent(
    gate: Gate, events: AsyncGenerator[str], address: str, session: str | None = None
) -> StreamingResponse:
    """Events as an answer to an address. `session`: of which so many may be open.

    Raises `Limited` where as many streams are open as may be.
    """
    stream = secrets.token_hex(8)
    await gate.hold_stream(stream, address, session)
    held = _held(gate, events, stream, address, session)
    return StreamingResponse(held, media_type="text/event-stream")


async def _held(
    gate: Gate, events: AsyncGenerator[str], stream: str, address: str, session: str | None
) -> AsyncIterator[str]:
    held_at = time.monotonic()
    try:
        async with aclosing(events):
            async for event in events:
                if time.monotonic() - held_at > AGAIN_SECONDS:
                    await gate.hold_stream(stream, address, session)
                    held_at = time.monotonic()
                yield event
    except Limited:
        pass  # others have taken its place while Redis was away; who follows comes again, and is told
    finally:
        # Where the line breaks, Starlette cancels whatever is awaited from then on.
        with CancelScope(shield=True), suppress(RedisError):  # or it is free again by itself
            await gate.let_go_of_stream(stream, address, session)
