"""Sessions over HTTP: create, look, stream, erase."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from math import inf
from typing import Annotated, Final

from fastapi import APIRouter, Header, HTTPException, Path
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from deployments import erasing
from deployments.context import FULL, Context
from deployments.routes.access import AsRecorder, AsViewer, TheAddress, TheContext, TheKey
from deployments.routes.callers import REFUSALS, OpensSession
from deployments.routes.refusals import BODY, access, refusal
from deployments.routes.refusals import events as streamed
from deployments.routes.streams import server_sent
from pipeline.exports import json_object
from pipeline.looks import AGAIN, Look
from pipeline.purposes import permit
from pipeline.session import Role, SessionRecord, SessionRequest, UnknownSession
from pipeline.timeline import CHUNK_SECONDS, EMOTIONS, ChunkSpeaker, EmotionReading, Turn, Word

OF_ONE: Final = access("session")
ChunkNumber = Annotated[int, Path(ge=0, le=1_000_000)]

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


class SessionCreated(BaseModel):
    """A new session. The keys are shown this once."""

    id: str
    recorder_key: str = Field(description="may record, correct, stop and erase; keep it to yourself")
    viewer_key: str = Field(description="may look; give it to whoever should watch")
    audio: str = Field(description="path of the recorder's WebSocket")


class ViewerKey(BaseModel):
    """A new viewer key, shown this once."""

    viewer_key: str = Field(description="may look; what was given out before opens nothing any more")


class RecorderKey(BaseModel):
    """A new recorder key, shown this once."""

    recorder_key: str = Field(description="may record, correct, stop and erase; the one before opens nothing any more")


class SessionTimeline(BaseModel):
    """A session and what has been heard in it, corrections applied. Times are seconds from the first sample."""

    session: SessionRecord
    heard_until: float = Field(description="seconds")
    ended: bool
    speakers: list[int]
    turns: list[Turn]
    readings: list[EmotionReading] = Field(description=f"probabilities in the order {', '.join(EMOTIONS)}")
    names: dict[int, str] = Field(description="by speaker, where somebody has named them or their voice is enrolled")
    words: list[Word] = Field(description="the transcript, where the diariser gives one")


class WhoLooked(BaseModel):
    """Who has looked, and at what; the newest first."""

    looks: list[Look]


@router.post("", status_code=201, responses=BODY | REFUSALS | {404: refusal("no such voice")})
async def create(request: SessionRequest, context: TheContext, caller: OpensSession) -> SessionCreated:
    """Open a session, once everyone who will be heard has agreed.

    422 for a purpose that is refused here, 422 and 404 for enrolled voices whose keys are wrong, or which are gone.
    """
    if context.full:
        raise HTTPException(503, FULL, {"Retry-After": "30"})
    try:
        permit(request.purpose, context.settings.refused_purposes)
        async with context.gate.guarded(caller.address):  # the keys of voices
            session = await context.store.create(request, caller.api_key)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return SessionCreated(
        id=session.id,
        recorder_key=session.recorder_key,
        viewer_key=session.viewer_key,
        audio=f"/v1/sessions/{session.id}/audio",
    )


@router.get("/{session}", responses=OF_ONE, response_model=SessionTimeline)
async def timeline(session: str, role: Annotated[Role, AsViewer], context: TheContext) -> StreamingResponse:
    """The timeline so far."""
    known = await context.timeline(session)
    record = await context.store.record(session)
    await context.store.looks.note(session, role, "timeline")
    told = {"session": record.model_dump()} | await context.aside(known.document)
    return StreamingResponse(context.aside.each(json_object(told)), media_type="application/json")


@router.get("/{session}/chunks/{number}", responses=OF_ONE)
async def chunk(
    session: str, number: ChunkNumber, role: Annotated[Role, AsViewer], context: TheContext
) -> dict[str, ChunkSpeaker]:
    """The integrated JSON of one 30 s chunk, by speaker, with all corrections known by now."""
    known = await context.timeline(session)
    begins, closes = number * CHUNK_SECONDS, (number + 1) * CHUNK_SECONDS
    if known.heard_until < (begins + 1e-3 if known.ended else closes):
        heard = f"{known.heard_until:.1f} s {'were' if known.ended else 'are'} heard"
        raise HTTPException(404, f"Chunk {number} closes at {closes:.0f} s; so far {heard}.")
    await context.store.looks.note(session, role, "timeline")
    return await context.aside(known.chunk, number)


@router.get("/{session}/looks", dependencies=[AsRecorder], responses=OF_ONE)
async def looks(session: str, context: TheContext) -> WhoLooked:
    """Who has looked at the session, when and at what, as far as keys tell: a viewer key may be many people's."""
    return WhoLooked(looks=await context.store.looks.of(session))


@router.get(
    "/{session}/events",
    response_class=StreamingResponse,
    responses=OF_ONE
    | streamed("the models of pipeline/events.py")
    | {429: refusal("too many requests, wrong keys or streams of this address, or on this session; see Retry-After")},
)
async def events(
    session: str,
    role: Annotated[Role, AsViewer],
    context: TheContext,
    key: TheKey,
    address: TheAddress,
    last_event_id: Annotated[str, Header(pattern=r"^\d{1,15}(-\d{1,15})?$")] = "0",
) -> StreamingResponse:
    """Everything that was published and will be, as server-sent events; `Last-Event-ID` goes on where one left off.

    It ends where the key that it was opened with is replaced.
    """
    return await server_sent(context.gate, _followed(context, session, key, role, last_event_id), address, session)


@router.post("/{session}/viewer-key", dependencies=[AsRecorder], responses=OF_ONE)
async def renew_viewer_key(session: str, context: TheContext) -> ViewerKey:
    """Another viewer key. With the one before nobody sees anything more; open streams and pages end within 5 s."""
    return ViewerKey(viewer_key=await context.store.renew_viewer_key(session))


@router.post(
    "/{session}/recorder-key",
    dependencies=[AsRecorder],
    responses=OF_ONE | {409: refusal("a recording that was uploaded: its key is its owner's")},
)
async def renew_recorder_key(session: str, context: TheContext) -> RecorderKey:
    """Another recorder key, for one that has leaked. Whoever records with the one before is cut off (4409)."""
    try:
        return RecorderKey(recorder_key=await context.store.renew_recorder_key(session))
    except ValueError as error:
        raise HTTPException(409, str(error)) from error


@router.delete("/{session}", dependencies=[AsRecorder], responses=OF_ONE)
async def erase(session: str, context: TheContext) -> dict[str, str]:
    """Erase everything that is known of a session, now."""
    await erasing.erase(session, context)
    return {"erased": session, "detail": "The sound, the events and the timeline of this session are gone."}


async def _followed(context: Context, session: str, key: str, role: Role, after: str) -> AsyncGenerator[str]:
    store, noted_at = context.store, -inf
    try:
        async for batch in store.follow(session, after):
            if await store.role(session, key) is None:
                return
            if time.monotonic() - noted_at > AGAIN:
                noted_at = time.monotonic()
                await store.looks.note(session, role, "events")
            for entry, event in batch:
                yield f"id: {entry}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
            if not batch:
                yield ": still here\n\n"
    except UnknownSession:
        yield 'event: session.erased\ndata: {"type": "session.erased"}\n\n'
