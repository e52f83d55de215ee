"""The words in which uploaded recordings are spoken of: what was asked, how far it is, and what can be wrong."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError, from_json

from pipeline.consent import Consent
from pipeline.session import (
    LANGUAGE,
    MOST_SPEAKERS,
    Declaration,
    DiariserName,
    Expected,
    Printable,
    Speakers,
    VoiceKey,
    Voices,
)

WAITING: Final = "tonetrack:jobs:waiting"  # in Redis, see `pipeline.jobs`
RUNNING: Final = "tonetrack:jobs:running"
PATIENCE: Final = 30 * 86_400.0  # s that a recording may wait to be heard

Channels = Literal["mix", "speakers"]


class UnknownRecording(LookupError):
    """No such recording: never uploaded, expired or erased."""


class Superseded(RuntimeError):
    """Another worker hears this recording now."""


class Cancelled(RuntimeError):
    """Whoever uploaded the recording does not want it heard any more."""


class StillArriving(RuntimeError):
    """The same upload is on its way over another connection."""


class OtherUpload(ValueError):
    """An Idempotency-Key that has stood for another upload before."""


def sentence(error: Exception) -> str:
    """What an error says, as people are told it."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


class State(StrEnum):
    """Where a recording stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)


def _of_a_form(voices: Any) -> Any:
    """What a field of a form says of voices, which is text."""
    if not isinstance(voices, str):
        return voices
    try:
        return from_json(voices)
    except ValueError as error:
        example = '[{"id": "…", "key": "…"}]'
        raise PydanticCustomError("voices", "This is no JSON; say {example}.", {"example": example}) from error


VOICES_SCHEMA: Final = {
    "type": "string",
    "contentMediaType": "application/json",
    "contentSchema": {"type": "array", "maxItems": MOST_SPEAKERS, "items": VoiceKey.model_json_schema()},
}


class RecordingRequest(Declaration):
    """What is said of a recording that is uploaded."""

    name: Printable = Field(default="", max_length=200, description="what to call it; none: the file's name")
    language: str = Field(default="", max_length=35, pattern=LANGUAGE, description="BCP 47, for a transcript")
    min_speakers: Speakers | None = Field(default=None, description="at least so many people talk")
    max_speakers: Speakers | None = Field(default=None, description="at most so many people talk")
    diariser: DiariserName | None = Field(
        default=None, description="who tells speakers apart; none: the server's choice"
    )
    channels: Channels = Field(
        default="mix", description="speakers: every channel is one person, as in a recorded call; mix: all in one"
    )
    voices: Annotated[Voices, BeforeValidator(_of_a_form), WithJsonSchema(VOICES_SCHEMA)] = Field(
        default_factory=list, description="enrolled voices, as JSON, whose owners are called by their names"
    )
    keep_audio: bool = Field(default=False, description="keep the sound until the timeline expires; else it goes first")
    webhook: str = Field(
        default="", max_length=2_000, description="URL that is told when it is done, has failed, or was cancelled"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> RecordingRequest:
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise PydanticCustomError(
                "speakers",
                "At least {least} and at most {most} speakers cannot both be; min_speakers is above max_speakers.",
                {"least": self.min_speakers, "most": self.max_speakers},
            )
        if self.channels == "speakers" and (self.min_speakers or self.max_speakers or self.diariser == "google"):
            raise PydanticCustomError(
                "channels", "Where each channel is one speaker, nobody has to tell them apart or to know how many talk."
            )
        return self

    @property
    def expected(self) -> Expected:
        """How many speakers were announced."""
        return Expected(self.min_speakers or 1, self.max_speakers)


class Upload(BaseModel):
    """The file, as it was found to be by its content."""

    model_config = ConfigDict(frozen=True)

    file: str = Field(description="the file's name as its sender gave it; nothing depends on it")
    bytes: int
    media_type: str
    seconds: float | None = Field(description="that it claims to have; none where it does not say")
    channels: int


class Job(BaseModel):
    """An uploaded recording and how far it is. Times of day are Unix seconds."""

    id: str
    name: str
    purpose: str
    remark: str = ""
    consent: Consent | None = Field(default=None, description="none: a version that did not keep the wording made it")
    state: State
    created_at: float = Field(description="consent was declared then")
    started_at: float | None = None
    finished_at: float | None = None
    expires_in: float | None = Field(
        default=None, description="seconds until it is erased, counted from when it is over; none before"
    )
    position: int | None = Field(default=None, description="in the queue, from 1; none where it does not wait")
    step: str | None = Field(default=None, description="what is being done")
    done: float = Field(default=0.0, description="seconds of the recording that this step has been through")
    seconds: float | None = Field(default=None, description="its length, as far as it is known")
    progress: float = Field(default=0.0, ge=0, le=1, description="of all the work")
    error: str | None = Field(default=None, description="why it failed, and what to do")
    cancelling: bool = Field(default=False, description="somebody wants it heard no more, and it is about to stop")
    warning: str | None = Field(default=None, description="what went less well than it should")
    retryable: bool = Field(default=False, description="whether it was given up and can be sent again")
    tries: int = Field(default=0, description="begun so often since it last got further")
    file: str = ""
    bytes: int = 0
    media_type: str = ""
    channels: int = Field(default=1, description="of the file")
    channels_as: Channels = "mix"
    language: str = ""
    diariser: DiariserName | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    keep_audio: bool = False
    audio: bool = Field(default=False, description="whether the sound is still there")
    webhook: str = ""
