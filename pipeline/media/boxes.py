"""What must be known of an mp4 or a Matroska file before FFmpeg may have it, read from their own tables.

A table of a few bytes can claim billions of samples, for which FFmpeg makes an index of 24 bytes each; and what is
encrypted, FFmpeg decodes to noise.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pipeline.media.window import READ_AHEAD, Window

MOST_BOXES: Final = 200_000  # a recording of a day in fragments of a second
MOST_SAMPLES: Final = 2**23  # packets of all tracks; AAC at 48 kHz makes four million a day
PCM_PACKET: Final = 1_024  # samples of PCM that FFmpeg makes a packet of
MOST_ELEMENTS: Final = 1_000  # before the first cluster; there are about six
MOST_EDITS: Final = 64  # a phone's recording has been cut in two or three places
SEGMENT, INFO, TRACKS, CLUSTER, DURATION = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x4489
ENCRYPTION: Final = 0x5035
_TO_ENCRYPTION: Final = {0xAE, 0x6D80, 0x6240}  # track, its encodings, one of them


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tables say."""

    whole: bool = True  # whether there are tables at all
    encrypted: bool = False
    absurd: bool = False
    timed: bool = True  # whether they say how long the sound is
    edited: bool = False  # in so many places that nobody has done it
    samples: int = 0  # packets of all tracks


def mp4_facts(window: Window) -> Facts:
    """Those of an mp4, m4a, mov or 3gp."""
    facts = Facts(whole=False)
    most = min(MOST_SAMPLES, len(window))  # a packet is a byte at least
    at = seen = 0
    for _ in range(MOST_BOXES):
        head = window.at(at, 16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        size = size or len(window) - at
        if name not in (b"mdat", b"free", b"skip"):
            boxes = window.at(at, min(size, READ_AHEAD - seen))
            seen += len(boxes)
            known = replace(
                facts, whole=facts.whole or name in (b"moov", b"moof"), timed=facts.timed and name != b"moof"
            )
            facts = _with_tables(known, boxes, most)
        at += size
        if seen >= READ_AHEAD:
            break
        if size < 8 or at >= len(window):
            return facts
    return replace(facts, absurd=True)


def _with_tables(facts: Facts, boxes: bytes, most: int) -> Facts:
    """The facts and those of one header. FFmpeg takes a table wherever in it it is, so it is looked for anywhere."""
    samples = facts.samples + sum(_indexed(track) for track in boxes.split(b"trak"))
    samples += sum(_run(boxes[found.end() : found.end() + 8]) for found in re.finditer(rb"trun", boxes))
    edits = max((_numbers(boxes, found.end() + 4)[0] for found in re.finditer(rb"elst", boxes)), default=0)
    return replace(
        facts,
        encrypted=facts.encrypted or re.search(rb"stsd.{12}(enca|drms|aavd)", boxes, re.DOTALL) is not None,
        absurd=facts.absurd or samples > most or b"cmov" in boxes,
        edited=facts.edited or edits > MOST_EDITS or edits * samples > MOST_SAMPLES,
        samples=samples,
    )


def _indexed(track: bytes) -> int:
    """How many packets FFmpeg makes of a track's tables: of PCM, whose samples last 1 each, by chunks."""
    counts = [_numbers(track, found.end() + 8)[0] for found in re.finditer(rb"stsz|stz2", track)]
    durations = [_numbers(track, found.end() + 4, 3) for found in re.finditer(rb"stts", track)]
    if len(durations) != 1 or durations[0][0] != 1 or durations[0][2] != 1:
        return sum(counts)
    chunks = sum(_numbers(track, found.end() + 4)[0] for found in re.finditer(rb"stco|co64", track))
    most = max((_most_in_chunk(track, found.end()) for found in re.finditer(rb"stsc", track)), default=0)
    return min(chunks, len(track) // 4) * -(-most // PCM_PACKET)


def _run(head: bytes) -> int:
    """The samples of a run, by its flags and count; none where the letters are part of a word."""
    flags, count = _numbers(head, 0, 2)
    described = flags & 0xF00  # each of them takes bytes, so that there cannot be many
    return 0 if described and head.isascii() and head.decode().isprintable() else count


def _numbers(boxes: bytes, at: int, count: int = 1) -> tuple[int, ...]:
    """Big-endian numbers of 32 bits, 0 where the file has ended."""
    return struct.unpack(f">{count}I", boxes[at : at + 4 * count].ljust(4 * count, b"\0"))


def _most_in_chunk(boxes: bytes, at: int) -> int:
    """The most samples that a table of chunks puts into one."""
    (count,) = _numbers(boxes, at + 4)
    table = boxes[at + 8 : at + 8 + 12 * count]
    rows = np.frombuffer(table[: len(table) // 12 * 12], ">u4").reshape(-1, 3)
    return int(rows[:, 1].max(initial=0))


def matroska_facts(window: Window) -> Facts:
    """Those of a Matroska or webm file, from what comes before its first cluster."""
    facts = Facts(whole=False, timed=False)
    at = 0
    for _ in range(MOST_ELEMENTS):
        head = window.at(at, 12)
        name, size, length = _element(head)
        if not length or name == CLUSTER or at >= len(window):
            break
        if name == SEGMENT:  # whose size is unknown while it is being recorded
            at += length
            continue
        if name in (INFO, TRACKS):
            body = window.at(at + length, min(size, READ_AHEAD))
            duration = next((data for found, data in _elements(body) if found == DURATION), b"")
            facts = replace(
                facts,
                whole=facts.whole or name == TRACKS,
                encrypted=facts.encrypted or (name == TRACKS and _encrypted(body)),
                timed=facts.timed or bool(duration.strip(b"\0")),
            )
        at += length + size
    return facts


def _encrypted(tracks: bytes) -> bool:
    return any(name == ENCRYPTION or (name in _TO_ENCRYPTION and _encrypted(data)) for name, data in _elements(tracks))


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Names and contents of the elements in another."""
    at = 0
    while at < len(data):
        name, size, length = _element(data[at : at + 12])
        if not length:
            return
        yield name, data[at + length : at + length + size]
        at += length + size


def _element(head: bytes) -> tuple[int, int, int]:
    """An element's name, the size of its content and of what is before it; nothing but 0 where none begins."""
    if not head or not head[0]:
        return 0, 0, 0
    named = 9 - head[0].bit_length()
    if len(head) <= named or named > 4 or not head[named]:
        return 0, 0, 0
    sized = 9 - head[named].bit_length()
    size = int.from_bytes(head[named : named + sized], "big") & ((1 << 7 * sized) - 1)
    return int.from_bytes(head[:named], "big"), size, named + sized
