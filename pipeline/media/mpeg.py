"""MPEG audio (mp3) and AAC in ADTS have no header: frame follows frame, and each says how long it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

ENOUGH: Final = 3  # frames in a row, which noise does not hold
RATES: Final = (44_100, 48_000, 32_000)  # Hz, of MPEG-1; MPEG-2 halves them, MPEG-2.5 once more
KBITS: Final = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}  # kbit/s by (MPEG-1, layer) and index


class Frames(NamedTuple):
    """What is found where frames begin."""

    codec: Literal["mpeg", "adts"]
    counted: bool  # whether the first says how many there are (Xing, Info or VBRI)


def frames_in(data: bytes) -> Frames | None:
    """The frames in a file's first bytes. What comes before the first of them may be damaged."""
    at = data.find(b"\xff")
    while at >= 0:
        if _chained(data, at, _mpeg_frame):
            return Frames("mpeg", re.search(rb"Xing|Info|VBRI", data[at : at + 64]) is not None)
        if _chained(data, at, _adts_frame):
            return Frames("adts", False)
        at = data.find(b"\xff", at + 1)
    return None


def _chained(data: bytes, start: int, measure: Callable[[bytes], int]) -> bool:
    """Whether frames follow each other from here; a short file may be less than ENOUGH of them."""
    at = start
    for number in range(ENOUGH):
        size = measure(data[at : at + 7])
        if not size:
            return start == 0 and number > 1 and at >= len(data)
        at += size
    return True


def _mpeg_frame(head: bytes) -> int:
    """The length in bytes of the frame that begins so; 0 where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    index, which = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or which == 3 or index in (0, 15):
        return 0
    first = version == 3
    rate = RATES[which] >> (0 if first else 1 if version == 2 else 2)
    bits = KBITS[first, layer][index] * 1_000
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (144 if first or layer == 2 else 72) * bits // rate + padding


def _adts_frame(head: bytes) -> int:
    """As `_mpeg_frame`."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size > 7 else 0
