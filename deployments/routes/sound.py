"""The sound of a recording, where it was kept, in whole or in part: to a few at once, and only while it is there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, HTTPException, Response
from fastapi.responses import StreamingResponse

from deployments.context import Context
from deployments.gate import Limited
from deployments.room import Crowded, NoPlace
from deployments.routes.access import MayLook, TheAddress, TheContext
from deployments.routes.examples import SOUND
from deployments.routes.refusals import access
from pipeline.quotas import from_address
from pipeline.session import Role

BLOCK: Final = 2**18  # bytes
# Serve's proxy takes what it is given at once, and sends it on whatever becomes of it.
PACE: Final = 8 * 2**20  # bytes a second
MOST_AT_ONCE: Final = 8  # downloads from a replica: each takes of its line, and of the blob store's
MOST_EACH: Final = 4  # of them to one address, behind which there may be several people
BUSY: Final = "As much sound as may go to this address at once is on its way: {most} downloads."
BUSY_HERE: Final = "As much sound as may leave this server at once is on its way."
AGAIN_SECONDS: Final = 10.0
RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})$")

router = APIRouter(prefix="/v1/recordings", tags=["recordings"], responses=access("recording"))


async def _place(context: TheContext, address: TheAddress) -> AsyncIterator[None]:
    """A place until the proxy has all of it, or its receiver has gone. Raises `Limited`."""
    try:
        with context.sending.place(from_address(address), MOST_AT_ONCE, MOST_EACH):
            yield
    except Crowded as error:
        raise Limited(BUSY.format(most=MOST_EACH), AGAIN_SECONDS) from error
    except NoPlace as error:
        raise Limited(BUSY_HERE, AGAIN_SECONDS) from error


@router.get("/{recording}/audio", response_class=StreamingResponse, responses=SOUND)
async def audio(
    recording: str,
    role: Annotated[Role, MayLook],
    context: TheContext,
    _: Annotated[None, Depends(_place)],
    wanted: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """The sound as it was uploaded, where it was to be kept; a part of it where a single `Range` is asked for.

    Where it is erased meanwhile, no more of it is sent, and the line breaks.
    """
    job = await context.inbox.jobs.job(recording)
    gone = HTTPException(404, "The sound of this recording is not kept; say keep_audio=true when you upload.")
    if not job.audio:
        raise gone
    try:
        size = await asyncio.to_thread(context.inbox.blobs.size, recording)
    except FileNotFoundError as error:
        raise gone from error
    start, end, status = _part(wanted, size)
    await context.store.looks.note(recording, role, "audio")
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Disposition"] = "attachment"
    return StreamingResponse(_content(context, recording, start, end), status, headers, job.media_type)


async def _content(context: Context, recording: str, start: int, end: int) -> AsyncIterator[bytes]:
    """The bytes from one to another. What is open can be read on after it was erased, so that is asked each time."""
    with ExitStack() as stack:
        file = await asyncio.to_thread(stack.enter_context, context.inbox.blobs.read(recording))
        await asyncio.to_thread(file.seek, start)
        left = end - start
        while left > 0 and await context.inbox.jobs.has_sound(recording):
            block = await asyncio.to_thread(file.read, min(BLOCK, left))
            if not block:
                return
            left -= len(block)
            yield block
            await asyncio.sleep(len(block) / PACE)


def _part(wanted: str | None, size: int) -> tuple[int, int, int]:
    """The first byte, the last and one, and the status (RFC 9110, section 14.2). Raises 416.

    Several ranges, or what is none, get all of it.
    """
    found = RANGE.match(wanted.strip()) if wanted else None
    if not found or found[1] == found[2] == "":
        return 0, size, 200
    start = max(0, size - int(found[2])) if found[1] == "" else int(found[1])
    end = min(size, int(found[2]) + 1) if found[1] and found[2] else size
    if start >= end:
        raise HTTPException(416, f"The sound has {size} bytes.", {"Content-Range": f"bytes */{size}"})
    return start, end, 206
