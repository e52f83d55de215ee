"""The upload of a recording: checked, kept and queued while its sender waits, and taken in once if it is sent again."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Header, HTTPException, Request, Response
from pydantic import ConfigDict, Field, ValidationError
from redis.exceptions import RedisError

from deployments.bodies import FORM, arriving
from deployments.context import Context
from deployments.gate import Limited
from deployments.multipart import BadForm, Form
from deployments.routes.access import OwnerKey, TheContext
from deployments.routes.callers import UploadsRecording
from deployments.routes.errors import LONGEST_PLACE, MOST_MISTAKES
from deployments.routes.examples import TAKEN_IN, UPLOAD, UPLOAD_REFUSALS
from pipeline import tasks
from pipeline.blobs import Writable
from pipeline.idempotency import SHORTEST, Given, Idempotency
from pipeline.job import Job, OtherUpload, RecordingRequest, StillArriving, Superseded, Upload, sentence
from pipeline.logs import about, why
from pipeline.media.undecodable import Reason, UndecodableAudio
from pipeline.plain import one_line
from pipeline.purposes import RefusedPurpose, permit
from pipeline.webhooks import WebhookRefused, check_url

BLOCK: Final = 2**20  # bytes that are written at once
SIGN_OF_LIFE: Final = 10.0  # s between two signs that an upload is going on
STATUS: Final[dict[Reason, int]] = {"not_audio": 415, "no_audio": 415, "unsupported": 415, "too_long": 413}  # else 422
OVERTAKEN: Final = "This upload has begun anew over another connection; send it again to be told what became of it."
SENDER_NAMES: Final = frozenset(RecordingRequest.model_fields)

Answer = TypeVar("Answer")

logger = logging.getLogger("ray.serve")
router = APIRouter(prefix="/v1/recordings", tags=["recordings"])


class TakenIn(Job):
    """A new recording. The keys are shown this once, and again to whoever repeats the upload."""

    model_config = ConfigDict(json_schema_extra={"examples": [TAKEN_IN]})

    key: str = Field(description="opens all that is uploaded under it: to look, to correct, to cancel, to erase")
    viewer_key: str = Field(description="may look at this recording; give it to whoever should")
    webhook_secret: str = Field(description="signs what the webhook is told: see ToneTrack-Signature")


@router.post("", status_code=202, openapi_extra=UPLOAD, responses=UPLOAD_REFUSALS)
async def upload(
    request: Request,
    response: Response,
    context: TheContext,
    caller: UploadsRecording,
    owner_key: OwnerKey,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=SHORTEST, max_length=255, description="of your own making, such as a UUID; a repeat is known"
        ),
    ] = None,
) -> TakenIn:
    """Upload a recording of a conversation, once everyone who is heard in it has agreed.

    With the key of an earlier upload as the bearer, it comes under that key; without one, under a new key.

    413 for what is too big (told as soon as that is known) or too long, 415 for what is no recording, 422 for what is
    broken, encrypted or not allowed, 422 and 404 for enrolled voices whose keys are wrong, or which are gone, 409 while
    the same upload is still on its way or where it has begun anew over another connection, 408 where nothing comes for
    two minutes, 507 where there is no room for it.
    """
    if await context.inbox.full():
        raise HTTPException(503, "Too many recordings wait; try again in a few minutes.", {"Retry-After": "120"})
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > context.settings.max_upload_bytes + FORM:
        raise _too_big(context)
    inbox = context.inbox
    promise = None
    if idempotency_key:
        promise = await Idempotency.of(inbox.redis, idempotency_key, owner_key or "", inbox.jobs.longest)
    given = promise.given if promise else Given.of()
    about(recording=given.id)
    response.headers["Location"] = f"/v1/recordings/{given.id}"
    if promise and await _taken_before(promise, length):
        response.headers["Idempotent-Replayed"] = "true"
    else:
        try:
            await context.gate.hold_recording(caller, given.id, inbox.jobs.longest)
        except Limited as error:
            if promise:
                await promise.failed()
            headers = {"Retry-After": str(error.seconds), "Connection": "close"}
            raise HTTPException(429, str(error), headers) from error
        arrival = _Arrival(context, given, promise, caller.address)
        try:
            asked, sent = await arrival.receive(request)
            await inbox.take_in(given, asked, sent, owner_key or given.key)
        except BaseException as error:
            await _to_its_end(arrival.undo())
            logger.info("not taken in: %s", why(error))
            if isinstance(error, Superseded):
                raise HTTPException(409, OVERTAKEN, {"Retry-After": "5", "Connection": "close"}) from error
            raise
        logger.info("taken in: %d bytes of %s", sent.bytes, sent.media_type)
        if promise:
            await promise.taken()
    job = await inbox.jobs.job(given.id)
    keys = {"key": owner_key or given.key, "viewer_key": given.viewer_key, "webhook_secret": given.webhook_secret}
    return TakenIn(**job.model_dump(), **keys)


async def _taken_before(promise: Idempotency, length: str) -> bool:
    try:
        return await promise.begin(length)
    except StillArriving as error:
        raise HTTPException(
            409, "This upload is still on its way over another connection; ask again shortly.", {"Retry-After": "5"}
        ) from error
    except OtherUpload as error:
        raise HTTPException(
            422, "This Idempotency-Key has stood for another upload; use a new one for each recording."
        ) from error


class _Arrival:
    """One attempt at an upload, on its way into the blob store."""

    def __init__(self, context: Context, given: Given, promise: Idempotency | None, address: str) -> None:
        self._context = context
        self._address = address
        self._recording = given.id
        self._promise = promise
        self._attempt = promise.attempt if promise else secrets.token_hex(8)
        self._sign_at = 0.0
        self._waiting = bytearray()
        self._taken = 0  # bytes of the file
        self._blob: Writable | None = None

    async def receive(self, request: Request) -> tuple[RecordingRequest, Upload]:
        """Keep what comes; what was said of it, and what it is. Raises `Superseded`."""
        blobs, form = self._context.inbox.blobs, None
        await self._sign()  # before there is anything, so that whatever is left of it is found
        with ExitStack() as stack:
            writing = blobs.write(self._recording, self._attempt)
            self._blob = await _to_its_end(asyncio.to_thread(stack.enter_context, writing))
            length = request.headers.get("content-length", "")
            await asyncio.to_thread(blobs.check_room, int(length) if length.isdecimal() else 0)
            try:
                form = Form(request.headers.get("content-type", ""), self._take)
                await form.read(self._alive(request))
            except BadForm as error:
                raise HTTPException(422, str(error)) from error
            asked = _understood(form.fields, self._context)
            if asked.voices:
                async with self._context.gate.guarded(self._address):
                    await self._context.store.voices.opened(asked.voices)
            await self._write()
            closing = stack.pop_all()
        async with self._signs():
            await _to_its_end(asyncio.to_thread(closing.close))
            try:
                examine = self._context.inbox.examine
                sent = await asyncio.to_thread(examine, self._recording, self._attempt, form.file_name or "")
            except UndecodableAudio as error:
                raise HTTPException(STATUS.get(error.reason, 422), sentence(error)) from error
            await self._sign()  # only who still holds the claim may bring anything
            await _to_its_end(asyncio.to_thread(blobs.keep, self._recording, self._attempt))
        return asked, sent

    async def undo(self) -> None:
        """Nothing of it shall stay, but what another attempt brings and a recording that a repeat will be told of."""
        inbox = self._context.inbox
        await asyncio.to_thread(inbox.blobs.discard, self._recording, self._attempt)
        if self._promise is None:
            await inbox.erase(self._recording)
            return
        try:
            await self._promise.going_on()
        except Superseded:
            return
        await inbox.erase(self._recording)
        await self._promise.failed()

    async def _take(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > self._context.settings.max_upload_bytes:
            raise _too_big(self._context)
        self._waiting += data
        if len(self._waiting) >= BLOCK:
            await self._write()

    async def _write(self) -> None:
        if self._blob and self._waiting:
            data = bytes(self._waiting)
            self._waiting.clear()
            await asyncio.to_thread(self._context.inbox.blobs.check_room, len(data))
            await _to_its_end(asyncio.to_thread(self._blob.write, data))

    async def _alive(self, request: Request) -> AsyncIterator[bytes]:
        """The body, and every now and then a sign that it is still coming. Raises 408 where it is not."""
        async for block in arriving(request, self._context.settings.max_upload_bytes, _too_big(self._context)):
            if time.monotonic() - self._sign_at > SIGN_OF_LIFE:
                await self._sign()
            yield block

    async def _sign(self) -> None:
        """A sign that it is getting further. Raises `Superseded`."""
        self._sign_at = time.monotonic()
        if self._promise:
            await self._promise.going_on()
        await self._context.inbox.jobs.arriving(self._recording)

    @asynccontextmanager
    async def _signs(self) -> AsyncIterator[None]:
        """Signs of life while all of it is there and something is done with it."""

        async def give() -> None:
            while True:
                await asyncio.sleep(SIGN_OF_LIFE)
                with suppress(Superseded, RedisError):  # it will be told by the next sign that it waits for
                    await self._sign()

        giving = asyncio.create_task(give())
        try:
            yield
        finally:
            await tasks.end(giving)


async def _to_its_end(work: Awaitable[Answer]) -> Answer:
    """Wait for it to the end, though the sender has gone: what is undone must not be done after that.

    Serve cancels a request whose sender has gone, and more than once.
    """
    doing, cancelled = asyncio.ensure_future(work), None
    while not doing.done():
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
    return doing.result()


def _understood(fields: dict[str, str], context: Context) -> RecordingRequest:
    """What a form says. Raises 422."""
    try:
        said = {name: value for name, value in fields.items() if value != "" or name not in SENDER_NAMES}
        asked = RecordingRequest.model_validate(
            said | {"consent": said.get("consent", "").lower() in ("true", "1", "on")}
        )
        permit(asked.purpose, context.settings.refused_purposes)
        if asked.webhook:
            check_url(asked.webhook, context.settings.webhook_private)
    except ValidationError as error:
        mistakes = (
            f"{one_line('.'.join(map(str, one['loc'])))[:LONGEST_PLACE]}: {one['msg']}".lstrip(": ")
            for one in error.errors()[:MOST_MISTAKES]
        )
        raise HTTPException(422, "; ".join(mistakes)) from error
    except RefusedPurpose as error:
        raise HTTPException(422, str(error)) from error
    except WebhookRefused as error:
        raise HTTPException(422, f"webhook: {error}") from error
    if not asked.consent:
        raise HTTPException(422, "Everyone who is heard must have agreed before a recording is read (consent=true).")
    return asked


def _too_big(context: Context) -> HTTPException:
    most = context.settings.max_upload_bytes / 2**20
    text = f"A recording has {most:,.0f} MiB at most; send it as mp3, m4a or opus, or in parts."
    return HTTPException(413, text, {"Connection": "close"})  # or the rest would be taken to its end, for nothing
