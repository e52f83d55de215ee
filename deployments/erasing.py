"""Erases a session or a recording wherever the service keeps something of it: Redis, blob store, actor, logs."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from deployments.context import Context
from deployments.inbox import Inbox
from deployments.settings import Settings
from pipeline.logs import own_folder, strike_out, why

LATER: Final = 60.0  # s after which its id is looked for again: a line about it may have been under way

logger = logging.getLogger("ray.serve")
_striking: set[asyncio.Task[None]] = set()


async def erase(identity: str, context: Context) -> None:
    """Leave nothing of a session or recording; of its id in this machine's logs, nothing within a minute.

    Raises `pipeline.blobs.BlobTrouble`, and then all of it is still there.
    """
    await erase_stored(identity, context.inbox)
    task = asyncio.create_task(_strike_out(identity, context))
    _striking.add(task)
    task.add_done_callback(_striking.discard)
    await context.pool.actor(identity).drop.remote(identity)


async def erase_stored(identity: str, inbox: Inbox) -> None:
    """Leave nothing in Redis, nor in the blob store where it was uploaded. Raises `pipeline.blobs.BlobTrouble`."""
    if await inbox.jobs.known(identity):
        await inbox.erase(identity)
    else:
        await inbox.sessions.erase(identity)


def traces_of(settings: Settings) -> list[Path]:
    """The file that spans go to, if they go to one."""
    return [Path(settings.traces)] if settings.traces and "://" not in settings.traces else []


async def _strike_out(identity: str, context: Context) -> None:
    logs = own_folder()
    places = [*([logs] if logs else []), *traces_of(context.settings)]
    for wait in (0.0, LATER):
        await asyncio.sleep(wait)
        for place in places:
            try:
                await context.aside(strike_out, identity, place)
            except OSError as error:
                logger.warning("an erased id may stand in the logs: %s", why(error))
