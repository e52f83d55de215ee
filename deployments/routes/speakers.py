"""What people know better than the ear: who a speaker is, and that two of them are one."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field

from deployments.routes.access import AsRecorder, TheContext
from deployments.routes.refusals import BODY, Responses, access, refusal
from pipeline.corrections import Merging, Naming
from pipeline.session import Printable

Speaker = Annotated[int, Path(ge=1, le=1_000_000)]
MOST_CORRECTIONS: Final = 2_000  # of a session, another diariser's included: each is made again whenever it is restored
TOO_MANY: Final = f"A session takes {MOST_CORRECTIONS:,} corrections, and this one has had them."
MISTAKES: Final[Responses] = {
    404: refusal("no such session, or nobody of that number has spoken so far"),
    409: refusal("as many corrections as a session takes were made"),
    422: refusal("not a name, or one speaker merged with themselves"),
}


async def _not_too_many(session: str, context: TheContext) -> None:
    """Raises 409 where no more corrections are taken."""
    if (await context.store.standing(session)).corrections >= MOST_CORRECTIONS:
        raise HTTPException(409, TOO_MANY)


router = APIRouter(
    prefix="/v1/sessions/{session}/speakers",
    tags=["speakers"],
    dependencies=[AsRecorder, Depends(_not_too_many)],
    responses=BODY | access("session") | MISTAKES,
)


class SpeakerName(BaseModel):
    """What to call a speaker; an empty name takes the name away."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, json_schema_extra={"examples": [{"name": "Anna"}]}
    )

    name: Printable = Field(max_length=80)


class NamedSpeaker(BaseModel):
    """A speaker and what they are called now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"speaker": 2, "name": "Anna"}]})

    speaker: int
    name: str


class MergeRequest(BaseModel):
    """Who the speaker really is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"into": 1}]})

    into: int = Field(ge=1, le=1_000_000)


class MergedSpeakers(BaseModel):
    """All that `merged` said, and will say, is `kept`'s."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kept": 1, "merged": 3}]})

    kept: int
    merged: int


@router.patch("/{speaker}")
async def name(session: str, speaker: Speaker, request: SpeakerName, context: TheContext) -> NamedSpeaker:
    """Call a speaker by a name, in what was said and in what will be."""
    await context.pool.correct(session, Naming(speaker=speaker, name=request.name))
    return NamedSpeaker(speaker=speaker, name=request.name)


@router.post("/{speaker}/merge")
async def merge(session: str, speaker: Speaker, request: MergeRequest, context: TheContext) -> MergedSpeakers:
    """Say that a speaker is somebody who has been heard already. It cannot be taken back."""
    try:
        await context.pool.correct(session, Merging(kept=request.into, merged=speaker))
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return MergedSpeakers(kept=request.into, merged=speaker)
