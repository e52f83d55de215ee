"""Recordings over HTTP: follow what becomes of them, fetch what was heard, cancel, erase."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from deployments import erasing
from deployments.facts import declared, facts
from deployments.routes.access import IsOwner, MayLook, OwnerKey, TheAddress, TheContext, TheKey
from deployments.routes.examples import JOB, TIMELINES
from deployments.routes.refusals import access, refusal
from deployments.routes.refusals import events as streamed
from deployments.routes.sessions import ViewerKey, WhoLooked
from deployments.routes.streams import server_sent
from pipeline.exports import FORMATS, best_format
from pipeline.job import Job, State, UnknownRecording
from pipeline.jobs import JobStore
from pipeline.session import Role
from pipeline.timeline import Timeline
from pipeline.webhooks import Attempted

POLL_SECONDS = 0.5  # between two looks at a recording that somebody follows
STILL_SECONDS = 15.0  # without news, after which a sign of life is sent

router = APIRouter(prefix="/v1/recordings", tags=["recordings"], responses=access("recording"))


class Recordings(BaseModel):
    """A page of recordings, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"recordings": [JOB], "next": "1767225600.123456"}]})

    recordings: list[Job]
    next: str | None = Field(description="the cursor of the next page; none on the last")


class RenewedKey(BaseModel):
    """A new key to all that is one's own, shown this once."""

    key: str = Field(description="opens all that the one before opened, which opens nothing any more")


class Attempts(BaseModel):
    """What became of the attempts to tell the webhook, the oldest first."""

    deliveries: list[Attempted]


@router.get("")
async def owned(
    context: TheContext,
    owner_key: OwnerKey,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[float | None, Query(description="as the page before says", ge=0)] = None,
) -> Recordings:
    """What was uploaded under the key of the request, newest first."""
    jobs = await context.inbox.jobs.owned(_there(owner_key), cursor, limit + 1)
    more = len(jobs) > limit
    return Recordings(recordings=jobs[:limit], next=repr(jobs[limit - 1].created_at) if more else None)


@router.post("/key")
async def renew_key(context: TheContext, owner_key: OwnerKey) -> RenewedKey:
    """Another key to all that is under the key of the request, for one that has leaked."""
    return RenewedKey(key=await context.inbox.jobs.renew_owner_key(_there(owner_key)))


@router.get("/{recording}")
async def look(recording: str, role: Annotated[Role, MayLook], context: TheContext) -> Job:
    """How far a recording is: its state, its place in the queue, the seconds done, or why it failed."""
    job = await context.inbox.jobs.job(recording)
    return job if role is Role.RECORDER else _for_viewers(job)


@router.get("/{recording}/events", response_class=StreamingResponse, responses=streamed("a job each"))
async def events(
    recording: str, role: Annotated[Role, MayLook], context: TheContext, key: TheKey, address: TheAddress
) -> StreamingResponse:
    """How far a recording is, as server-sent events, until it is over. Each holds all there is to know."""
    return await server_sent(context.gate, _followed(context.inbox.jobs, recording, role, key), address)


@router.get("/{recording}/timeline", responses=TIMELINES, response_class=StreamingResponse)
async def timeline(
    recording: str,
    role: Annotated[Role, MayLook],
    context: TheContext,
    accept: Annotated[str, Header()] = "application/json",
) -> StreamingResponse:
    """What was heard, corrections applied, in the format that `Accept` asks for; JSON where it leaves that open."""
    extension = best_format(accept)
    if extension is None:
        offered = ", ".join(one.media_type for one in FORMATS.values())
        raise HTTPException(406, f"A timeline comes as {offered}.")
    return await _exported(recording, extension, role, context)


@router.get("/{recording}/timeline.{extension}", responses=TIMELINES, response_class=StreamingResponse)
async def timeline_as(
    recording: str,
    extension: Annotated[str, Path(description=", ".join(FORMATS), max_length=20)],
    role: Annotated[Role, MayLook],
    context: TheContext,
) -> StreamingResponse:
    """The same, in the format of an extension."""
    if extension not in FORMATS:
        raise HTTPException(404, f"There is no timeline.{extension}; there are: {', '.join(FORMATS)}.")
    return await _exported(recording, extension, role, context)


@router.get("/{recording}/report.html", response_class=HTMLResponse, responses={409: TIMELINES[409]})
async def report(recording: str, role: Annotated[Role, MayLook], context: TheContext) -> HTMLResponse:
    """What was heard as a page with plots that opens without a network."""
    job, known = await _heard(recording, context)
    text = await context.aside(_report, job, known)
    await context.store.looks.note(recording, role, "report")
    headers = {"Content-Disposition": f'attachment; filename="{_file_name(job)}.html"'}
    return HTMLResponse(text, headers=headers)


@router.get("/{recording}/looks", dependencies=[IsOwner])
async def looks(recording: str, context: TheContext) -> WhoLooked:
    """Who has looked at what was heard, or listened, and when; how far a recording is does not count."""
    found = await context.store.looks.of(recording)
    owner = {"who": "owner"}
    return WhoLooked(looks=[one.model_copy(update=owner if one.who == "recorder" else {}) for one in found])


@router.get("/{recording}/deliveries", dependencies=[IsOwner])
async def deliveries(recording: str, context: TheContext) -> Attempts:
    """What became of the attempts to tell the webhook."""
    return Attempts(deliveries=await context.inbox.webhooks.log(recording))


@router.post("/{recording}/cancel", dependencies=[IsOwner], status_code=202, responses={409: refusal("it is over")})
async def cancel(recording: str, context: TheContext) -> Job:
    """Have it heard no more. What is being heard stops within a segment; 409 for what is over."""
    state = await context.inbox.jobs.cancel(recording)
    if state.over:
        raise HTTPException(409, f"This recording is over already: {state.value}.")
    if state is State.QUEUED:
        await context.inbox.conclude(recording)
    return await context.inbox.jobs.job(recording)


@router.post(
    "/{recording}/retry", dependencies=[IsOwner], status_code=202, responses={409: refusal("it was not given up")}
)
async def retry(recording: str, context: TheContext) -> Job:
    """Send what was given up to the queue again; 409 for what was not."""
    try:
        await context.inbox.jobs.retry(recording)
    except ValueError as error:
        raise HTTPException(409, str(error)) from error
    await context.inbox.enqueue(recording)
    return await context.inbox.jobs.job(recording)


@router.post("/{recording}/viewer-key", dependencies=[IsOwner])
async def renew_viewer_key(recording: str, context: TheContext) -> ViewerKey:
    """Another viewer key, as of a session."""
    return ViewerKey(viewer_key=await context.store.renew_viewer_key(recording))


@router.delete("/{recording}", dependencies=[IsOwner])
async def erase(recording: str, context: TheContext) -> dict[str, str]:
    """Erase the sound, the timeline and the job, now."""
    await erasing.erase(recording, context)
    return {"erased": recording, "detail": "The sound, the timeline and the job of this recording are gone."}


def _there(owner_key: str | None) -> str:
    """Raises 401 without a key."""
    if owner_key is None:
        message = "Send the key that your recordings are under: 'Authorization: Bearer KEY'."
        raise HTTPException(401, message, {"WWW-Authenticate": "Bearer"})
    return owner_key


def _for_viewers(job: Job) -> Job:
    """Without the webhook, whose URL may be a secret of its own."""
    return job.model_copy(update={"webhook": ""})


async def _followed(jobs: JobStore, recording: str, role: Role, key: str) -> AsyncGenerator[str]:
    told, told_at = None, time.monotonic()
    try:
        while True:
            job = await jobs.job(recording)
            if await jobs.role(recording, key) is not role:  # it was replaced meanwhile
                return
            shown = job if role is Role.RECORDER else _for_viewers(job)
            text = shown.model_copy(update={"expires_in": None}).model_dump_json()
            if text != told:
                told, told_at = text, time.monotonic()
                yield f"event: recording.{job.state.value}\ndata: {text}\n\n"
            elif time.monotonic() - told_at > STILL_SECONDS:  # or a proxy would take the line for dead
                told_at = time.monotonic()
                yield ": still here\n\n"
            if job.state.over:
                return
            await asyncio.sleep(POLL_SECONDS)
    except UnknownRecording:
        yield 'event: recording.erased\ndata: {"type": "recording.erased"}\n\n'


async def _heard(recording: str, context: Any) -> tuple[Job, Timeline]:
    """A recording and its timeline. Raises 409 where there is none yet, or never will be."""
    job: Job = await context.inbox.jobs.job(recording)
    match job.state:
        case State.QUEUED:
            raise HTTPException(409, f"It waits to be heard, as number {job.position}.", {"Retry-After": "5"})
        case State.RUNNING:
            raise HTTPException(409, f"It is being heard; {job.progress:.0%} is done.", {"Retry-After": "2"})
        case State.FAILED:
            raise HTTPException(409, f"It could not be heard. {job.error}")
        case State.CANCELLED:
            raise HTTPException(409, "It was cancelled.")
    return job, await context.timeline(recording)


async def _exported(recording: str, extension: str, role: Role, context: Any) -> StreamingResponse:
    job, known = await _heard(recording, context)
    await context.store.looks.note(recording, role, "timeline" if extension == "json" else "export")
    form = FORMATS[extension]
    headers = {"Content-Disposition": f'attachment; filename="{_file_name(job)}.{extension}"', "Vary": "Accept"}
    written = context.aside.each(form.write(known, job.name, declared(job)))
    return StreamingResponse(written, media_type=form.media_type, headers=headers)


def _report(job: Job, known: Timeline) -> str:
    from ui.report import report  # Bokeh: half a second, and only whoever wants a report needs it

    return report(known, job.name, facts(job, known))


def _file_name(job: Job) -> str:
    """A name for a download that no header, shell or folder can take amiss."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in job.name.rsplit(".", 1)[0])
    return re.sub("-+", "-", plain).strip("-")[:80] or f"recording-{job.id}"
