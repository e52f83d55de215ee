"""The recorder's WebSocket in types: its messages, its frames, its close codes. PROTOCOL.md tells it with examples."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_NUMBER = struct.Struct(">I")
LONGEST_REASON: Final = 123  # bytes that a close frame holds besides its code (RFC 6455, section 5.5)


class Close(IntEnum):
    """Why the server closes. 44xx are final, but for SILENT; after any other code the recorder comes back."""

    DONE = 1000
    BUSY = 1013
    BAD_MESSAGE = 4400
    WRONG_KEY = 4401
    UNKNOWN_SESSION = 4404
    SILENT = 4408
    TAKEN_OVER = 4409
    OVER = 4410
    TOO_LARGE = 4413
    UNDECODABLE = 4415
    TROUBLE = 1011


class Refused(Exception):
    """The server ends the connection: a close code, and a sentence that says what was wrong and what to do."""

    def __init__(self, code: Close, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def reason(self) -> str:
        """As much of the sentence as a close frame holds."""
        return self.message.encode()[:LONGEST_REASON].decode(errors="ignore")


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hello(_Message):
    """The recorder's first message. Rate and channels go with pcm16 alone; webm says its own.

    `recorder`: what a recorder calls itself, at random, on all of its connections, so that they are known as one.
    """

    type: Literal["hello"] = "hello"
    protocol: Literal[1] = 1
    key: str
    codec: Literal["pcm16", "webm"] = "pcm16"
    sample_rate: Literal[16000] | None = None
    channels: Literal[1] | None = None
    recorder: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{8,64}$")] | None = None


class Ping(_Message):
    """A sign of life."""

    type: Literal["ping"] = "ping"


class Stop(_Message):
    """The recording is over; no frame follows."""

    type: Literal["stop"] = "stop"


class Welcome(_Message):
    """The server's answer to hello: where to go on, how often to ping (seconds), how large a frame may be (bytes)."""

    type: Literal["welcome"] = "welcome"
    next_frame: int
    heartbeat: float
    max_frame_bytes: int


class Ack(_Message):
    """All frames before `next_frame` are in the journal and need not be kept."""

    type: Literal["ack"] = "ack"
    next_frame: int


class Pong(_Message):
    """The answer to a ping."""

    type: Literal["pong"] = "pong"


class Stopped(_Message):
    """Everything has been heard and published; `seconds` of audio in all."""

    type: Literal["stopped"] = "stopped"
    seconds: float


class Failed(_Message):
    """What the server says before it closes: the close code's name, and a sentence for people."""

    type: Literal["error"] = "error"
    code: str
    message: str


FromRecorder = Hello | Ping | Stop
FromServer = Welcome | Ack | Pong | Stopped | Failed

from_recorder: TypeAdapter[FromRecorder] = TypeAdapter(Annotated[FromRecorder, Field(discriminator="type")])
from_server: TypeAdapter[FromServer] = TypeAdapter(Annotated[FromServer, Field(discriminator="type")])


def pack_frame(number: int, payload: bytes) -> bytes:
    """A binary message: the frame's number in four bytes, most significant first, then its audio."""
    return _NUMBER.pack(number) + payload


def unpack_frame(message: bytes) -> tuple[int, bytes]:
    """Number and audio of a binary message. Raises `Refused` where there is no audio in it."""
    if len(message) <= _NUMBER.size:
        raise Refused(Close.BAD_MESSAGE, "A frame is four bytes of number and then audio; this one holds no audio.")
    return _NUMBER.unpack_from(message)[0], message[_NUMBER.size :]
