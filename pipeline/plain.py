"""What people typed or said, made fit for formats of lines: names and words are anybody's text."""

from __future__ import annotations

import re
from typing import Final

from pipeline.timeline import Timeline

# Controls, line and paragraph separators, what turns the direction of writing around, halves of surrogate pairs.
UNPRINTED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    """The text as one line that every encoding of Unicode can hold; any blanks become single spaces."""
    return " ".join(UNPRINTED.sub(" ", text).split())


def name_of(timeline: Timeline, speaker: int) -> str:
    """What to call a speaker, in one line that is never empty."""
    return one_line(timeline.name_of(speaker)) or f"Speaker {speaker}"
