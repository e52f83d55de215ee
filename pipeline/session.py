"""The words in which the store and its users speak of a session: what it is, who may do what, what can be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from pipeline.consent import CURRENT, Consent, WordingVersion
from pipeline.purposes import Purpose

MOST_SPEAKERS: Final = 12  # that a session may be told to expect, and voices that it may know


class UnknownSession(LookupError):
    """No such session: never created, expired or erased."""


class SessionOver(RuntimeError):
    """The recording was stopped; nothing can be added."""


class OutOfStep(RuntimeError):
    """The session has gone on without whoever wanted to write to it; what it is now stands in the store."""


class TakenOver(RuntimeError):
    """Another connection records this session now."""


class OtherCodec(ValueError):
    """The session is recorded in another codec, given as `codec`."""

    def __init__(self, codec: Codec) -> None:
        super().__init__(f"This session is recorded as {codec.name.lower()}")
        self.codec = codec


class FrameGap(ValueError):
    """A frame came before the one that precedes it."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"frame {got} came where frame {expected} was expected")
        self.expected = expected


class Role(StrEnum):
    """What a key allows: a recorder may add audio, correct, stop and erase; a viewer may look."""

    RECORDER = "recorder"
    VIEWER = "viewer"


class Codec(StrEnum):
    """What a recorder sends, and the journal that keeps it."""

    PCM16 = "audio"
    WEBM = "webm"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters and broken Unicode are not taken")
    return text


Printable = Annotated[str, AfterValidator(_printable)]
Speakers = Annotated[int, Field(ge=1, le=MOST_SPEAKERS)]
DiariserName = Literal["local", "google"]
LANGUAGE: Final = r"^([A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*)?$"  # BCP 47, or nothing


class VoiceKey(BaseModel):
    """An enrolled voice, and the key that allows to look for it."""

    model_config = {"extra": "forbid"}

    id: str = Field(max_length=64)
    key: str = Field(max_length=128)


Voices = Annotated[
    list[VoiceKey], Field(max_length=MOST_SPEAKERS, description="enrolled voices to be called by their names")
]


class Declaration(BaseModel):
    """What must be said before anybody is heard, live or in a recording that is uploaded."""

    model_config = {"extra": "forbid", "str_strip_whitespace": True}

    purpose: Purpose = Field(description="why the conversation is recorded; GET /v1/purposes tells which are taken")
    remark: Printable = Field(default="", max_length=200, description="on the purpose; with other it must tell it")
    consent: StrictBool = Field(description="whether everyone who is heard has agreed")
    consent_version: WordingVersion = Field(
        default=CURRENT.version, description="of the wording that they have agreed to; none: the current one"
    )

    @model_validator(mode="after")
    def _other_is_told(self) -> Self:
        if self.purpose is Purpose.OTHER and not self.remark:
            raise PydanticCustomError("purpose", "The purpose other needs a remark that tells what it is.")
        return self


class SessionRequest(Declaration):
    """What is said of a session."""

    name: Printable = Field(default="", max_length=200, description="what to call the session")
    min_speakers: Speakers | None = Field(default=None, description="at least so many people will talk")
    max_speakers: Speakers | None = Field(default=None, description="at most so many people will talk")
    diariser: DiariserName | None = Field(
        default=None, description="who tells speakers apart; none: the server's choice"
    )
    language: str = Field(default="", max_length=35, pattern=LANGUAGE, description="BCP 47, for a transcript")
    voices: Voices = Field(default_factory=list)

    @model_validator(mode="after")
    def _fewest_before_most(self) -> SessionRequest:
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise PydanticCustomError(
                "speakers",
                "At least {least} and at most {most} speakers cannot both be; min_speakers is above max_speakers.",
                {"least": self.min_speakers, "most": self.max_speakers},
            )
        return self


class SessionRecord(BaseModel):
    """What is known of a session besides its sound."""

    id: str
    name: str
    purpose: str
    remark: str = ""
    consent: Consent | None = Field(default=None, description="none: a version that did not keep the wording made it")
    created_at: float = Field(description="Unix seconds; consent was declared then")
    stopped: bool
    expires_in: float = Field(description="seconds until everything is erased, counted anew whenever sound is added")
    min_speakers: int | None = None
    max_speakers: int | None = None
    diariser: DiariserName | None = Field(default=None, description="none: the server's choice")
    language: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """How many speakers a session was said to have; `most` is None where nobody said."""

    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """An enrolled voice. `voiceprint`: float16 (SIZE,) of unit length, see `pipeline.voiceprint`."""

    id: str
    name: str
    voiceprint: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session's id and its two keys, in clear this once: Redis holds only their hashes."""

    id: str
    recorder_key: str
    viewer_key: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to record. `connection` fences off earlier recorders.

    `next_frame`: the recorder's next; `next_audio` and `samples`: how far the journal of PCM reaches, which is the
    same unless the recorder sends webm.
    """

    connection: str
    next_frame: int
    next_audio: int
    samples: int


class Appended(NamedTuple):
    """What became of a frame: the number of the `next`, and whether it was `kept`, as all are but those seen before."""

    next: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a session is: `published`, the last step that was; `corrections`, how many were made.

    `ended`: its length in seconds, once its end is published.
    """

    published: int
    corrections: int
    stopped: bool
    ended: float | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One journal entry: PCM16 mono little-endian bytes (or webm bytes), and when they arrived (Unix seconds).

    `cadence`: how many hops were to be heard together when it came. It stands in the journal, so that whoever hears
    the frame again hears the same.
    """

    number: int
    data: bytes
    arrived_at: float
    cadence: int = 1
