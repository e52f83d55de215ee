"""The words in which the store and its users speak of a session: what it is, who may do what, what can be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field, StrictBool

PURPOSES: Final = ("therapy", "research", "teaching", "team meeting", "personal")


class UnknownSession(LookupError):
    """No such session: never created, expired or erased."""


class SessionOver(RuntimeError):
    """The recording was stopped; nothing can be added."""


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
    """What a key allows: a recorder may add audio, stop and erase; a viewer may look."""

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


class SessionRequest(BaseModel):
    """What must be said before anybody is recorded."""

    model_config = {"extra": "forbid", "str_strip_whitespace": True}

    purpose: Printable = Field(min_length=1, max_length=200, description="why the conversation is recorded")
    consent: StrictBool = Field(description="whether everyone who will be heard has agreed")
    name: Printable = Field(default="", max_length=200, description="what to call the session")


class SessionRecord(BaseModel):
    """What is known of a session besides its sound."""

    id: str
    name: str
    purpose: str
    created_at: float = Field(description="Unix seconds; consent was declared then")
    stopped: bool
    expires_in: float = Field(description="seconds until everything is erased, counted anew whenever sound is added")


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


@dataclass(frozen=True, slots=True)
class Frame:
    """One journal entry: PCM16 mono little-endian bytes (or webm bytes), and when they arrived (Unix seconds)."""

    number: int
    data: bytes
    arrived_at: float
