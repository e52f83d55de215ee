"""An ogg file is a chain, of one link or more. FFmpeg gives up at a link that is of another rate than the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipeline.media.window import Window

MOST_PAGES: Final = 500_000  # looked at; 140 hours of pages of a second
MOST_LINKS: Final = 1_000
CHUNK: Final = 65_536  # bytes searched at once for a page
PAGE: Final = 27 + 255  # bytes before the content of a page, at most


def links_of(window: Window) -> list[Window]:
    """The links, at least one. A link begins with pages that are marked as beginnings, one for each of its tracks."""
    starts = [0]
    beginning = True
    for at, first in _pages(window):
        if first and not beginning and len(starts) < MOST_LINKS:
            starts.append(at)
        beginning = first
    return [window.part(start, end) for start, end in zip(starts, [*starts[1:], len(window)], strict=True)]


def _pages(window: Window) -> Iterator[tuple[int, bool]]:
    """Where pages begin, and whether each is the first of a track; what is between them is passed over."""
    at = 0
    for _ in range(MOST_PAGES):
        head = window.at(at, PAGE)
        if head[:4] != b"OggS" or len(head) < 27:
            at = _sought(window, at + 1)
            if at < 0:
                return
            continue
        yield at, bool(head[5] & 2)
        at += 27 + head[26] + sum(head[27 : 27 + head[26]])


def _sought(window: Window, at: int) -> int:
    """Where the next page seems to begin; -1 if none does."""
    while at < len(window):
        found = window.at(at, CHUNK).find(b"OggS")
        if found >= 0:
            return at + found
        at += CHUNK - 3
    return -1
