"""Whom another diariser's tags mean, of those whom a `SpeakerMemory` knows."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering import unit_length, weighed
from pipeline.diarisation.tags import TaggedWord, Told, speakers_of
from pipeline.timeline import SAMPLE_RATE, Turn
from pipeline.turns import Heard
from pipeline.voiceprint import SIZE

if TYPE_CHECKING:
    from pipeline.alignment import SpeakerMemory

WORTH_A_NUMBER: Final = 1.0  # s of words that a new voice must have to become a speaker: a lone word's tag often errs


def speakers_told(
    memory: SpeakerMemory, words: Sequence[TaggedWord], told: Sequence[Told], since: float
) -> dict[int, int]:
    """A speaker for each tag in `told`, the runs of the words from `since` seconds on.

    Who is known from before is found by the words before `since` and by voice. Of the others, who has said most comes
    first, and becomes whom the memory took them for, or somebody new. No two tags are one speaker, but where one of
    them has next to no words, or no more people are expected.
    """
    known = memory.settled()
    runs_of = {tag: [run for run in told if run.tag == tag] for tag in dict.fromkeys(run.tag for run in told)}
    voices = {tag: _voice(_within(memory.heard, runs)) for tag, runs in runs_of.items()}

    def likeness(tag: int, speaker: int) -> float:
        return float(voices[tag] @ unit_length(known[speaker])) if tag in voices and speaker in known else -1.0

    repeated = _repeated(memory.heard, words[0].start, since, known)
    found = speakers_of(words, repeated, likeness, before=since, speakers=known)
    seconds = {tag: sum(run.end - run.start for run in runs) for tag, runs in runs_of.items()}
    taken = {*known, *(speaker for speaker in found.values() if speaker)}
    speakers: dict[int, int] = {}
    for tag in sorted(runs_of, key=lambda tag: -seconds[tag]):
        speaker = found[tag]
        if speaker is None and known and seconds[tag] < WORTH_A_NUMBER:
            speaker = max(known, key=lambda other: likeness(tag, other))
        if speaker is None:
            heard = _heard_there(_within(memory.heard, runs_of[tag]))
            speaker = heard if heard is not None and heard not in taken else _another(memory, taken, voices[tag])
        taken.add(speaker)
        speakers[tag] = speaker
    return speakers


def _another(memory: SpeakerMemory, taken: Collection[int], voice: NDArray[np.float32]) -> int:
    """Whom to take a voice for that is none of those `taken`: somebody new, while so many people are expected.

    Else it is like one of the others whom the memory knows or, where there are none, like one of those after all.
    """
    if not memory.complete(taken):
        return memory.free_number(taken)
    sounds = memory.voices()
    left = [speaker for speaker in memory.speakers if speaker not in taken] or sorted(taken)
    return max(left, key=lambda speaker: float(voice @ unit_length(sounds[speaker])) if speaker in sounds else -1.0)


def _repeated(heard: Iterable[Heard], start: float, end: float, known: Container[int]) -> list[Turn]:
    """The units in [start, end), which is heard again, as turns of their own that tell whose the words there are.

    Those count that are settled. Where none is, since nothing was told of that stretch, it is those that the memory
    took for somebody `known`: else every answer that does not come could make somebody new of whoever changes.
    """
    again = [one for one in heard if start * SAMPLE_RATE < one.unit.end and one.unit.start < end * SAMPLE_RATE]
    telling = [one for one in again if one.settled] or [one for one in again if one.speaker in known]
    return [
        Turn(id=one.number, speaker=one.speaker, start=one.unit.start / SAMPLE_RATE, end=one.unit.end / SAMPLE_RATE)
        for one in telling
        if one.speaker is not None
    ]


def _within(heard: Iterable[Heard], runs: Sequence[Told]) -> list[Heard]:
    """The units with a voiceprint whose middles lie in some runs."""
    stretches = [(run.start * SAMPLE_RATE, run.end * SAMPLE_RATE) for run in runs]
    return [
        one
        for one in heard
        if one.unit.voiceprint is not None
        and any(start <= (one.unit.start + one.unit.end) / 2 < end for start, end in stretches)
    ]


def _voice(heard: Iterable[Heard]) -> NDArray[np.float32]:
    """How units sound together: unit length, or zeros where there are none."""
    return unit_length(sum((weighed(one.unit) for one in heard), start=np.zeros(SIZE, np.float32)))


def _heard_there(heard: Iterable[Heard]) -> int | None:
    """Whom the memory takes most of these units to be, of those that nobody has settled."""
    spoken: dict[int, int] = {}
    for one in heard:
        if one.speaker is not None and not one.settled:
            spoken[one.speaker] = spoken.get(one.speaker, 0) + one.unit.end - one.unit.start
    return max(spoken, key=lambda speaker: spoken[speaker], default=None)
