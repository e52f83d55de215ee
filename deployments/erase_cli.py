"""`tonetrack erase`: a session or a recording, wherever the service keeps something of it."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deployments.analyse_cli import settings_of_environment
from deployments.recordings_cli import HERE, MaybeKey, Server, as_operator, asked
from training.console import fail, say

if TYPE_CHECKING:
    from deployments.inbox import Inbox
    from deployments.recordings_client import Recordings

IN_MEMORY: Final = (
    "The process that hears it was not told, and looks every 10 s whether it is still there: until then, or while Redis"
    " or Google keep it waiting, a conversation that is under way stays in its memory, with what that knows of voices."
    " With --key KEY it is forgotten at once."
)
LOGS: Final = Path(tempfile.gettempdir()) / "ray" / "session_latest" / "logs"

app = typer.Typer()


@app.command()
def erase(
    identity: Annotated[str, typer.Argument(help="of a session or a recording", metavar="ID")],
    key: MaybeKey = None,
    server: Server = HERE,
    logs: Annotated[
        Path, typer.Option(help="folder of the service's logs, where the id is struck out; without a key only")
    ] = LOGS,
) -> None:
    """Erase a session or a recording for good: sound, events, timeline, trail of looks, job, and its id in the logs.

    With its recorder's or owner's key (--key KEY) a running service does it. Without one, whoever runs the service does
    it from the machine that the logs are on: TONETRACK_REDIS_URL and TONETRACK_BLOBS as the service has them. A
    conversation that is under way stays in memory until the process that hears it looks again, which is every 10 s.

    What was sent elsewhere is not reached: exports, webhooks, logs that are shipped, backups. PRIVACY.md tells of them.
    """
    if not re.fullmatch("[0-9a-f]{16}", identity):
        fail(f"{identity!r} is no id: those of sessions and recordings are 16 hexadecimal digits.")
    if key:
        there = asked(server, key, lambda recordings: _over_http(recordings, identity))
    else:
        there = as_operator(lambda inbox: _in_stores(inbox, identity))
        say(_strike_out(identity, logs))
    if not there:
        say(f"There was nothing of {identity}: it has expired, or was erased.")
    elif key:
        say(f"Nothing is left of {identity}.")
    else:
        say(f"Nothing is left of {identity} in Redis and the blob store. {IN_MEMORY}")


async def _over_http(recordings: Recordings, identity: str) -> bool:
    return await recordings.erase(identity) or await recordings.erase(identity, "sessions")


async def _in_stores(inbox: Inbox, identity: str) -> bool:
    """Whether there was anything. Whoever holds it finds that it is gone when they next want to write something."""
    from deployments.erasing import erase_stored

    if await inbox.jobs.known(identity):
        await _check_sound(inbox, identity)
        await erase_stored(identity, inbox)
        return True
    return bool(await inbox.sessions.erase(identity))


async def _check_sound(inbox: Inbox, recording: str) -> None:
    """Without the blob store that the service has, its sound would be left there, and nobody would know of it."""
    if not (await inbox.jobs.job(recording)).audio:
        return
    try:
        await asyncio.to_thread(inbox.blobs.size, recording)
    except FileNotFoundError:
        fail(
            f"The sound of {recording} is not at {inbox.blobs.url}, so nothing was erased. "
            "Set TONETRACK_BLOBS to the place that the service has."
        )


def _strike_out(identity: str, logs: Path) -> str:
    """What became of it in the logs of this machine, in a sentence; status 1 where it may stand there still."""
    from deployments.erasing import traces_of
    from pipeline.logs import strike_out

    places = [place for place in (logs, *traces_of(settings_of_environment())) if place.exists()]
    if not places:
        return f"There are no logs at {logs}; --logs names the folder, on the machine that the service runs on."
    try:
        struck = sum(strike_out(identity, place) for place in places)
    except OSError as error:
        fail(
            f"Redis and the blob store have nothing of {identity} any more, but a log could not be written to"
            f" ({error}). Do it again as the user that the service runs as."
        )
    return f"Its id was struck out of the logs, where it stood {struck} times." if struck else "No log names it."
