"""Enrolled voices: a person's own, so that sessions call them by their name."""

from __future__ import annotations

import asyncio
import io
from typing import Annotated, Any, BinaryIO, Final

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray.exceptions import RayTaskError

from deployments.bodies import arriving
from deployments.context import FULL, Context
from deployments.multipart import FILE, BadForm, Form
from deployments.room import Crowded, NoPlace
from deployments.routes.access import TheContext, address_of
from deployments.routes.callers import REFUSALS, MayEnrol
from deployments.routes.refusals import access, refusal
from pipeline.audio import UndecodableAudio, decode
from pipeline.enrolment import LONGEST_SECONDS, CannotEnrol
from pipeline.quotas import from_address
from pipeline.session import Printable, VoiceKey
from pipeline.timeline import SAMPLE_RATE
from pipeline.voices import VoiceRecord, WrongVoiceKey

MOST_BYTES = 20 * 2**20
MOST_AT_ONCE: Final = 8  # voices that a replica takes in: their sound lies in its memory meanwhile
MOST_EACH: Final = 4  # of them from one address
ARRIVAL_SECONDS: Final = 300.0  # for all of it: 20 MB by a line of 0.6 Mbit/s
UNAGREED: Final = "The person who is heard must agree before their voice is enrolled (consent=true)."
TOO_MUCH: Final = "A voice is enrolled from 20 MB of sound at most."
BUSY: Final = "Several voices from this address are being enrolled; send this one again in a few seconds."
BUSY_HERE: Final = "Many voices are being enrolled; send this one again in a few seconds."
AGAIN: Final = {"Retry-After": "5"}
DAY = 86_400  # s
router = APIRouter(prefix="/v1/voices", tags=["voices"])
_bearer = HTTPBearer(auto_error=False, scheme_name="VoiceKey", description="the voice's own key")
_Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


class VoiceRequest(BaseModel):
    """What is said of a voice besides its sound: in the form, for a name in a URL would stand in logs."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: Printable = Field(min_length=1, max_length=80)
    consent: bool = Field(description="whether the person who is heard has agreed")
    days: int = Field(30, ge=1, le=365, description="until it is erased")


_SCHEMA = VoiceRequest.model_json_schema()
_SOUND = f"an audio file of one person talking, {LONGEST_SECONDS:.0f} s and 20 MB at most, any container"
VOICE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FILE, *_SCHEMA["required"]],
                    "properties": {
                        FILE: {"type": "string", "format": "binary", "description": _SOUND},
                        **_SCHEMA["properties"],
                    },
                },
                "example": {FILE: "anna.wav", "name": "Anna", "consent": True},
            }
        },
    }
}


class EnrolledVoice(VoiceRecord):
    """A new voice. The key is shown this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "6e5fd21904d7ec8d",
                    "name": "Anna",
                    "seconds": 11.5,
                    "consented_at": 1767225600.0,
                    "expires_at": 1769817600.0,
                    "key": "…",
                }
            ]
        }
    )

    key: str = Field(description="whoever opens a session with it has this voice recognised; it also erases the voice")


async def require_voice_key(voice: str, context: TheContext, bearer: _Bearer, connection: HTTPConnection) -> None:
    """Raises 401 without a key, 403 for a wrong one, 404 for a voice that is not there, 429 for too many."""
    if bearer is None:
        raise HTTPException(401, "Send the voice's key: 'Authorization: Bearer KEY'.", {"WWW-Authenticate": "Bearer"})
    try:
        async with context.gate.guarded(address_of(connection)):
            await context.store.voices.check(VoiceKey(id=voice[:64], key=bearer.credentials[:128]))
    except WrongVoiceKey as error:
        raise HTTPException(403, "This key does not open this voice.") from error
    await context.gate.answer(bearer.credentials, address_of(connection))


AsOwner = Depends(require_voice_key)


@router.post(
    "",
    status_code=201,
    openapi_extra=VOICE,
    responses=REFUSALS
    | {
        408: refusal("nothing came for too long, or not all of it in time"),
        413: refusal("more than 20 MB"),
        429: refusal("too many in a minute, or at once, from this caller; see Retry-After"),
    },
    dependencies=[MayEnrol],
)
async def enrol(request: Request, context: TheContext) -> EnrolledVoice:
    """Enrol a voice from some ten seconds of speech. The sound is not kept; what is kept cannot be played.

    422 for sound that holds too little speech, more than one voice, or no sound at all; 413 for more than 20 MB; 408
    where nothing comes for two minutes, or not all of it within five.
    """
    if context.full:
        raise HTTPException(503, FULL, {"Retry-After": "30"})
    try:
        with context.enrolling.place(from_address(address_of(request)), MOST_AT_ONCE, MOST_EACH):
            asked, sound = await _received(request)
            if not asked.consent:
                raise HTTPException(422, UNAGREED)
            audio = await asyncio.to_thread(_decoded, sound)
            voiceprint, seconds, version = await _heard(context, audio)
    except Crowded as error:
        raise HTTPException(429, BUSY, AGAIN) from error
    except NoPlace as error:
        raise HTTPException(503, BUSY_HERE, AGAIN) from error
    voice = await context.store.voices.add(asked.name, voiceprint, seconds, version, asked.days * DAY)
    return EnrolledVoice(**voice.record.model_dump(), key=voice.key)


@router.get("/{voice}", dependencies=[AsOwner], responses=access("voice"))
async def look(voice: str, context: TheContext) -> VoiceRecord:
    """What is known of a voice."""
    return await context.store.voices.record(voice)


@router.delete("/{voice}", dependencies=[AsOwner], responses=access("voice"))
async def erase(voice: str, context: TheContext) -> dict[str, str]:
    """Erase a voice, now."""
    await context.store.voices.erase(voice)
    return {"erased": voice, "detail": "This voice is gone; sessions that are being heard forget it when they end."}


async def _received(request: Request) -> tuple[VoiceRequest, io.BytesIO]:
    """What a form says, and its sound. Raises 413 as soon as that is too much, 408 where it does not come, and 422."""
    too_much = HTTPException(413, TOO_MUCH, {"Connection": "close"})
    sound = io.BytesIO()  # not a file on disk, from which what was erased could be brought back

    async def take(block: bytes) -> None:
        if sound.tell() + len(block) > MOST_BYTES:
            raise too_much
        sound.write(block)

    try:
        form = Form(request.headers.get("content-type", ""), take)
        async with asyncio.timeout(ARRIVAL_SECONDS):  # who sends a byte a minute would hold a place for a week
            await form.read(arriving(request, MOST_BYTES, too_much))
        asked = VoiceRequest.model_validate(form.fields)
    except TimeoutError as error:
        text = f"This has not come within {ARRIVAL_SECONDS:.0f} seconds; send a shorter file."
        raise HTTPException(408, text, {"Connection": "close"}) from error
    except BadForm as error:
        raise HTTPException(422, str(error)) from error
    except ValidationError as error:
        raise RequestValidationError(
            [mistake | {"loc": ("body", *mistake["loc"])} for mistake in error.errors()]
        ) from error
    sound.seek(0)
    return asked, sound


def _decoded(file: BinaryIO) -> NDArray[np.int16]:
    """An audio file's sound as int16 (n,), mono at 16 kHz."""
    blocks: list[NDArray[np.int16]] = []
    samples = 0
    try:
        for block in decode(file):
            blocks.append(block)
            samples += len(block)
            if samples > LONGEST_SECONDS * SAMPLE_RATE:
                raise HTTPException(422, f"A voice is enrolled from {LONGEST_SECONDS:.0f} s of sound at most.")
    except UndecodableAudio as error:
        raise HTTPException(422, "This is not audio that can be decoded; send an audio file of any kind.") from error
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)


async def _heard(context: Context, audio: NDArray[np.int16]) -> tuple[NDArray[np.float32], float, str]:
    """The voiceprint, the seconds of speech that it was made of, and its version."""
    try:
        heard: tuple[NDArray[np.float32], float, str] = await context.diariser.enrol.remote(audio)
    except RayTaskError as error:
        if isinstance(error.cause, CannotEnrol):
            raise HTTPException(422, str(error.cause)) from error
        raise
    return heard
