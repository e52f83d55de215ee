"""What a test file is and what is to be made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.media.undecodable import Reason
from pipeline.timeline import SAMPLE_RATE
from tests.media.sounds import Sound


@dataclass(frozen=True)
class Medium:
    """A file, and what is to be made of it. `channels` and `rate` are the file's own."""

    name: str
    path: Path
    made: str  # how, in a phrase
    kind: Literal["good", "silent", "refused"]
    reason: Reason | None = None  # for which it is refused
    container: str = ""  # these four as `pipeline.media.probe` has them
    codec: str = ""
    media_type: str = ""
    claimed: float | None = None
    channels: int = 0
    rate: int = 0
    seconds: float = 0.0  # that are heard
    tolerance: float = 0.1  # s, of both
    sound: Sound | None = field(default=None, repr=False, compare=False)  # (channels, n) at 16 kHz; None: any
    alike: float = 0.9  # correlation of each channel with that


def good(name: str, made: str, container: str, codec: str, media_type: str, sound: Sound, **more: Any) -> Medium:
    """A recording of this sound. Unless said otherwise it claims as long as it is."""
    seconds = more.pop("seconds", sound.shape[1] / SAMPLE_RATE)
    more = {"claimed": seconds, "channels": len(sound), "kind": "good"} | more
    return Medium(
        name,
        Path(),
        made,
        container=container,
        codec=codec,
        media_type=media_type,
        seconds=seconds,
        sound=sound,
        **more,
    )


def refused(name: str, made: str, reason: Reason) -> Medium:
    """A file from which no sound is to be had."""
    return Medium(name, Path(), made, "refused", reason)


Made = Iterator[tuple[bytes, Medium]]
