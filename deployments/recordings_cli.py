"""`tonetrack recordings`: what was uploaded, looked after by its owners and by whoever runs the service."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from deployments.analyse_cli import settings_of_environment
from pipeline.plain import one_line
from training.console import console, fail, say

if TYPE_CHECKING:
    from deployments.inbox import Inbox
    from deployments.recordings_client import Recordings
    from pipeline.job import Job

app = typer.Typer(help="Uploaded recordings: list, show, cancel, erase them, or send them again.", no_args_is_help=True)

Answer = TypeVar("Answer")

Key = Annotated[str, typer.Option(help="under which they were uploaded")]
MaybeKey = Annotated[
    str | None,
    typer.Option(help="under which they were uploaded; none: TONETRACK_REDIS_URL leads to everybody's, for operators"),
]
Server = Annotated[str, typer.Option(help="base URL of the API")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]
Recording = Annotated[str, typer.Argument(help="the recording's id", metavar="ID")]
HERE: Final = "http://127.0.0.1:8000"


@app.command("list")
def list_command(key: Key, server: Server = HERE, as_json: AsJson = False) -> None:
    """List what was uploaded under a key, newest first."""

    async def listed(recordings: Recordings) -> list[Job]:
        return [job async for job in recordings.owned()]

    _show(asked(server, key, listed), as_json, "No recordings are under this key.")


@app.command()
def show(recording: Recording, key: Key, server: Server = HERE, as_json: AsJson = False) -> None:
    """Show all that is known of a recording. A viewer key will do."""
    from rich.table import Table
    from rich.text import Text

    job = asked(server, key, lambda recordings: recordings.job(recording))
    if as_json:
        typer.echo(job.model_dump_json(indent=1))
        return
    table = Table(show_header=False, box=None)
    for name, told in _facts(job):
        table.add_row(Text(name, style="bold"), Text(one_line(told)))
    _out().print(table)


@app.command()
def looks(recording: Recording, key: Key, server: Server = HERE, as_json: AsJson = False) -> None:
    """Show who has looked at what was heard, or listened, and when. Looks minutes apart are told as one."""
    from rich.table import Table

    found = asked(server, key, lambda recordings: recordings.looks(recording))
    if as_json:
        typer.echo(json.dumps([look.model_dump() for look in found], indent=1))
        return
    table = Table("key", "saw", "from", "to", box=None, header_style="bold")
    for look in found:
        table.add_row(look.who, look.what, _when(look.since), _when(look.until))
    _out().print(table) if found else say("Nobody has looked yet.")


@app.command()
def cancel(recording: Recording, key: Key, server: Server = HERE) -> None:
    """Have a recording heard no more. What is being heard stops within a minute of its sound."""
    job = asked(server, key, lambda recordings: recordings.cancel(recording))
    say(f"{_called(job)} is cancelled." if job.state.over else f"{_called(job)} will stop being heard.")


@app.command()
def erase(recording: Recording, key: Key, server: Server = HERE) -> None:
    """Erase a recording: its sound, its timeline and all that is known of it, now and for good."""
    asked(server, key, lambda recordings: recordings.erase(recording))
    say("The recording is gone.")


@app.command("renew-key")
def renew_key(key: Key, server: Server = HERE) -> None:
    """Replace a key that has leaked: print another that opens all that was under it. The old one opens nothing more."""
    typer.echo(asked(server, key, lambda recordings: recordings.renew_key()))
    say("This key is shown once. It opens what the old one did, which opens nothing any more.")


@app.command()
def retry(
    recordings: Annotated[list[str] | None, typer.Argument(help="ids of recordings", metavar="[ID]...")] = None,
    everything: Annotated[bool, typer.Option("--all", help="whatever was given up")] = False,
    key: MaybeKey = None,
    server: Server = HERE,
) -> None:
    """Send recordings that were given up to the queue again, once what was wrong is mended."""
    if bool(recordings) == everything:
        fail("Name the recordings that are to be sent again, or say --all.")

    async def over_http(there: Recordings) -> list[str]:
        wanted = recordings or [job.id async for job in there.owned() if job.retryable]
        return await _each(wanted, there.retry)

    async def in_redis(inbox: Inbox) -> list[str]:
        async def one(recording: str) -> None:
            await inbox.jobs.retry(recording)
            await inbox.enqueue(recording)

        wanted = recordings or [job.id for job in await inbox.jobs.given_up()]
        return await _each(wanted, one)

    problems = asked(server, key, over_http) if key else as_operator(in_redis)
    for problem in problems:
        console.print(problem, style="bold red", soft_wrap=True, highlight=False, markup=False)
    if problems:
        raise typer.Exit(1)


@app.command()
def dead(key: MaybeKey = None, server: Server = HERE, as_json: AsJson = False) -> None:
    """List what was given up and can be sent again."""

    async def over_http(there: Recordings) -> list[Job]:
        return [job async for job in there.owned() if job.retryable]

    async def in_redis(inbox: Inbox) -> list[Job]:
        return await inbox.jobs.given_up()

    jobs = asked(server, key, over_http) if key else as_operator(in_redis)
    _show(jobs, as_json, "Nothing was given up.")


async def _each(wanted: Iterable[str], send: Callable[[str], Awaitable[Any]]) -> list[str]:
    """Send each again; why some were not."""
    from deployments.recordings_client import Refused
    from pipeline.job import UnknownRecording

    problems, sent = [], 0
    for recording in wanted:
        try:
            await send(recording)
            sent += 1
        except UnknownRecording:
            problems.append(f"{recording}: there is no such recording; it has expired, or was erased.")
        except (Refused, ValueError) as error:
            problems.append(f"{recording}: {error}")
    say(f"{sent} {'recording is' if sent == 1 else 'recordings are'} in the queue again.")
    return problems


def asked(server: str, key: str, question: Callable[[Recordings], Awaitable[Answer]]) -> Answer:
    """What a service answers, or the end, with a sentence."""
    from deployments.recordings_client import NoServer, Recordings, Refused

    async def ask() -> Answer:
        async with Recordings(server, key) as recordings:
            await recordings.reach()
            return await question(recordings)

    try:
        return asyncio.run(ask())
    except (NoServer, Refused) as error:
        fail(str(error))


def as_operator(question: Callable[[Inbox], Awaitable[Answer]]) -> Answer:
    """What the service's own Redis holds, or the end, with a sentence."""
    settings = settings_of_environment()
    if settings.redis_url is None:
        fail(
            "There is neither a key nor a Redis. Whoever uploaded the recordings says --key KEY (and --server URL); "
            "whoever runs the service sets TONETRACK_REDIS_URL to its Redis."
        )
    from redis.exceptions import RedisError

    from deployments.inbox import Inbox
    from pipeline.blobs import BlobTrouble

    async def ask() -> Answer:
        inbox = Inbox(settings)
        try:
            return await question(inbox)
        finally:
            await inbox.redis.aclose()

    try:
        return asyncio.run(ask())
    except BlobTrouble as error:
        fail(str(error))
    except RedisError as error:
        fail(f"No Redis answers at TONETRACK_REDIS_URL: {str(error).rstrip('.')}.")


def _show(jobs: list[Job], as_json: bool, none: str) -> None:
    from rich.table import Table
    from rich.text import Text

    if as_json:
        typer.echo(json.dumps([job.model_dump(mode="json") for job in jobs], indent=1))
        return
    if not jobs:
        say(none)
        return
    table = Table("id", "name", "state", "length", "came", "", box=None, header_style="bold")
    for job in jobs:
        length = _length(job.seconds) if job.seconds else ""
        cells = (job.id, job.name, job.state.value, length, _when(job.created_at), _how_far(job))
        table.add_row(*(Text(one_line(cell), no_wrap=number == 0) for number, cell in enumerate(cells)))
    _out().print(table)


def _facts(job: Job) -> Iterable[tuple[str, str]]:
    """What is known of a recording, by what to call it, but what is not there."""
    told = {
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "how far": _how_far(job),
        "error": job.error if job.error != _how_far(job) else "",
        "warning": job.warning,
        "purpose": f"{job.purpose}: {job.remark}" if job.remark else job.purpose,
        "consent": f"{_when(job.consent.agreed_at)}, wording {job.consent.version}" if job.consent else "",
        "file": f"{job.file} ({job.media_type}, {job.bytes:,} bytes, {job.channels} channels as {job.channels_as})",
        "length": _length(job.seconds) if job.seconds else "",
        "speakers": _range(job.min_speakers, job.max_speakers),
        "came": _when(job.created_at),
        "begun": _when(job.started_at) if job.started_at else "",
        "over": _when(job.finished_at) if job.finished_at else "",
        "erased": _when(time.time() + job.expires_in) if job.expires_in is not None else "",
        "sound": "is kept" if job.audio else "is erased",
        "webhook": job.webhook,
    }
    return [(name, fact) for name, fact in told.items() if fact]


def _how_far(job: Job) -> str:
    if job.position is not None:
        return f"number {job.position} in the queue"
    if job.error:
        return job.error
    if job.step and not job.state.over:
        return f"{job.step}, {job.progress:.0%}"
    return job.warning or ""


def _range(least: int | None, most: int | None) -> str:
    bounds = [f"at least {least}" if least else "", f"at most {most}" if most else ""]
    return ", ".join(filter(None, bounds))


def _called(job: Job) -> str:
    return one_line(f"{job.name} ({job.id})")


def _when(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(instant))


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _out() -> Any:
    """The console for what was asked for, which a program may read on; all else goes beside it."""
    from rich.console import Console

    return Console()
