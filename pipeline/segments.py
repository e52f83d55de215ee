"""Who speaks, a minute at a time: a recording cut into segments, each of which can be heard without the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final

import msgpack
import numpy as np

from pipeline.diarisation import Diariser, DiariserState, Stretch, Unit
from pipeline.diarisation.local import REACH_SECONDS
from pipeline.hearing import DIARISING, DIARISING_SHARE, Ears, Embedder, Listening, Progress, Segment, in_order
from pipeline.sound import Sound
from pipeline.speech import SpeechState
from pipeline.timeline import SAMPLE_RATE

SEGMENT: Final = 60 * SAMPLE_RATE  # samples; what is lost with a worker, and how soon a cancellation takes effect
LEAD: Final = 5 * SAMPLE_RATE  # samples heard before a segment, in which voice activity finds its feet
TAIL: Final = SAMPLE_RATE  # samples heard after it, or of silence after the recording: whatever is being said ends
STRETCH: Final = 10 * SAMPLE_RATE  # samples that the diariser hears at a time: as much as overlaps are told by best


def ears_here(diariser: Diariser, model: Embedder, at_once: int = 1) -> Ears:
    """Ears that are models of this process."""
    return Ears(lambda segment: units_of(diariser, segment), model.embed, at_once)


def units_by_track(sound: Sound, ears: Ears, how: Listening) -> list[list[Unit]]:
    """All units of speech of each track, in order of time."""

    def hear_segment(item: tuple[str, int, Segment]) -> tuple[int, int, list[Unit]]:
        key, track, segment = item
        noted = how.notes.get(key)
        if noted is not None:
            return track, segment.end, _unpack_units(noted)
        units = ears.units(segment)
        how.notes.put(key, _pack_units(units))
        return track, segment.end, units

    tracks: list[list[Unit]] = [[] for _ in range(sound.tracks)]
    with closing(in_order(hear_segment, _segments(sound), ears.at_once)) as heard:
        for track, end, units in heard:
            tracks[track] += units
            length = max(how.claimed, end / SAMPLE_RATE) if sound.reach(end + 1) else sound.seconds
            to_come = (len(tracks) - 1 - track) / len(tracks) * SEGMENT  # of this segment, on average
            done = min((end - to_come) / SAMPLE_RATE, length)
            how.on_progress(Progress(DIARISING, round(done, 3), DIARISING_SHARE * done / length))
    return tracks


def units_of(diariser: Diariser, segment: Segment) -> list[Unit]:
    """The units of speech that begin within a segment, in order of time; none reaches beyond it.

    Voice activity begins anew with the sound before the segment. What is being said at the segment's edge is cut there.
    """
    reach = round(REACH_SECONDS * SAMPLE_RATE)
    units: list[Unit] = []
    state = DiariserState(replace(SpeechState.fresh(), position=segment.begin), segment.start)
    end = segment.begin + len(segment.audio)
    for begin in range(segment.begin, end, STRETCH):
        until = min(begin + STRETCH, end)
        start = max(segment.begin, begin - reach)
        audio = segment.audio[start - segment.begin : until - segment.begin]
        (observation,) = diariser.observe([Stretch(audio, start, state)])
        units += observation.units
        state = observation.state
    within = [unit for unit in units if unit.start < segment.end]
    return [_cut(unit, segment.end) if unit.end > segment.end else unit for unit in within]


def _cut(unit: Unit, end: int) -> Unit:
    """A unit that ends sooner; its voiceprint still tells whose it is."""
    overlap = unit.overlap and (unit.overlap[0], min(unit.overlap[1], end))
    return replace(unit, end=end, overlap=overlap if overlap and overlap[0] < overlap[1] else None)


def _segments(sound: Sound) -> Iterator[tuple[str, int, Segment]]:
    """Every segment of every track with its name and its track, by time, as soon as it is decoded."""
    number = 0
    while sound.reach(number * SEGMENT + 1):
        start, end = number * SEGMENT, (number + 1) * SEGMENT
        begin = max(0, start - LEAD)
        for track in range(sound.tracks):
            audio = sound.read(track, begin, end + TAIL)
            over = begin + len(audio) < end + TAIL
            padded = np.concatenate([audio, np.zeros(TAIL, np.int16)]) if over else audio
            yield f"units-{track}-{number}", track, Segment(padded, begin, start, end)
        number += 1


def _pack_units(units: Sequence[Unit]) -> bytes:
    rows = [
        (u.start, u.end, u.window, None if u.voiceprint is None else u.voiceprint.tobytes(), u.overlap) for u in units
    ]
    return bytes(msgpack.packb(rows))


def _unpack_units(data: bytes) -> list[Unit]:
    return [
        Unit(
            start,
            end,
            window,
            None if voiceprint is None else np.frombuffer(voiceprint, np.float16),
            None if overlap is None else (overlap[0], overlap[1]),
        )
        for start, end, window, voiceprint, overlap in msgpack.unpackb(data)
    ]
