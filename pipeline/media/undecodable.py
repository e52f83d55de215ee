"""Why sound cannot be had from a file, in one sentence that says what to do about it."""

from __future__ import annotations

from typing import Final, Literal

Reason = Literal[
    "unreadable",  # there is no such file, or it cannot be read
    "not_audio",  # text, a picture, an archive, nothing at all
    "no_audio",  # a film without an audio track
    "unsupported",  # sound of a kind that is not taken
    "encrypted",  # nobody but its player can decode it
    "truncated",  # nothing usable is left of it
    "absurd",  # more channels, or other rates, than a recording has
    "too_long",
]

ADVICE: Final[dict[Reason, str]] = {
    "unreadable": "name a file that can be read",
    "not_audio": "send a recording, such as wav, mp3, m4a, flac, ogg or webm",
    "no_audio": "send a file in which somebody can be heard",
    "unsupported": "convert it to wav, mp3 or flac first",
    "encrypted": "send a copy without copy protection",
    "truncated": "export or copy the recording once more",
    "absurd": "export it as wav, mp3 or flac at an ordinary rate",
    "too_long": "cut it into shorter parts",
}


class UndecodableAudio(ValueError):
    """The bytes are not audio that can be decoded; `reason` is for programs what the sentence is for people."""

    def __init__(self, message: str, reason: Reason = "not_audio") -> None:
        super().__init__(message)
        self.reason = reason


def undecodable(why: str, reason: Reason) -> UndecodableAudio:
    """Such an error, with what to do about it after why it is so."""
    return UndecodableAudio(f"{why}; {ADVICE[reason]}", reason)
