"""Enrolled voices: a person's own, so that sessions call them by their name."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, StringConstraints
from ray.exceptions import RayTaskError

from deployments.context import Context
from deployments.routes.access import TheContext
from pipeline.audio import UndecodableAudio, decode
from pipeline.enrolment import LONGEST_SECONDS, CannotEnrol
from pipeline.session import Printable, VoiceKey
from pipeline.timeline import SAMPLE_RATE
from pipeline.voices import VoiceRecord, WrongVoiceKey

MOST_BYTES = 20 * 2**20
DAY = 86_400  # s
AUDIO: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"an audio file of one person talking, {LONGEST_SECONDS:.0f} s and 20 MB at most, any container",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

router = APIRouter(prefix="/v1/voices", tags=["voices"])
_bearer = HTTPBearer(auto_error=False, scheme_name="VoiceKey", description="the voice's own key")
_Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
Name = Annotated[Printable, StringConstraints(strip_whitespace=True), Query(min_length=1, max_length=80)]


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


async def require_voice_key(voice: str, context: TheContext, bearer: _Bearer) -> None:
    """Raises 401 without a key, 403 for a wrong one, 404 for a voice that is not there."""
    if bearer is None:
        raise HTTPException(401, "Send the voice's key: 'Authorization: Bearer KEY'.", {"WWW-Authenticate": "Bearer"})
    try:
        await context.store.voices.check(VoiceKey(id=voice[:64], key=bearer.credentials[:128]))
    except WrongVoiceKey as error:
        raise HTTPException(403, "This key does not open this voice.") from error


AsOwner = Depends(require_voice_key)


@router.post("", status_code=201, openapi_extra=AUDIO)
async def enrol(
    request: Request,
    context: TheContext,
    name: Name,
    consent: Annotated[bool, Query(description="whether the person who is heard has agreed")],
    days: Annotated[int, Query(ge=1, le=365, description="until it is erased")] = 30,
) -> EnrolledVoice:
    """Enrol a voice from some ten seconds of speech. The sound is not kept; what is kept cannot be played.

    422 for sound that holds too little speech, more than one voice, or no sound at all; 413 for more than 20 MB.
    """
    if not consent:
        raise HTTPException(422, "The person who is heard must agree before their voice is enrolled (consent=true).")
    if context.full:
        raise HTTPException(503, "All places are taken; try again in half a minute.", {"Retry-After": "30"})
    sound = io.BytesIO()  # not a file on disk, from which what was erased could be brought back
    async for block in _limited(request):
        sound.write(block)
    sound.seek(0)
    audio = await asyncio.to_thread(_decoded, sound)
    voiceprint, seconds, version = await _heard(context, audio)
    voice = await context.store.voices.add(name, voiceprint, seconds, version, days * DAY)
    return EnrolledVoice(**voice.record.model_dump(), key=voice.key)


@router.get("/{voice}", dependencies=[AsOwner])
async def look(voice: str, context: TheContext) -> VoiceRecord:
    """What is known of a voice."""
    return await context.store.voices.record(voice)


@router.delete("/{voice}", dependencies=[AsOwner])
async def erase(voice: str, context: TheContext) -> dict[str, str]:
    """Erase a voice, now."""
    await context.store.voices.erase(voice)
    return {"erased": voice, "detail": "This voice is gone; sessions that are being heard forget it when they end."}


async def _limited(request: Request) -> AsyncIterator[bytes]:
    received = 0
    async for block in request.stream():
        received += len(block)
        if received > MOST_BYTES:
            raise HTTPException(413, "A voice is enrolled from 20 MB of sound at most.")
        yield block


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
