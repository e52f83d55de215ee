"""A conversation as captions: who talks, how it sounds and what is said, for any player of the recording.

The format is W3C's WebVTT (https://www.w3.org/TR/webvtt1/). A cue is long enough to be read, and short enough to
follow a voice that changes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from pipeline.plain import name_of, one_line
from pipeline.timeline import EMOTIONS, UNSURE, EmotionReading, Timeline, Turn, Word

SHORTEST, LONGEST = 1.5, 6.0  # seconds of a cue; only a turn that is shorter makes a shorter one
NEAR: Final = 1.0  # seconds from a cue at most within which a word that none covers is still said in it
NOTE: Final = "Readings say how someone sounds, not how they feel."
MIXED: Final = "mixed"  # in place of a label where another talks too


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown in [start, end) seconds. `speaker` is None where nobody knows whose words they are."""

    start: float
    end: float
    speaker: int | None
    tone: str
    beneath: bool = False
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Run:
    """A stretch of a turn that sounds much the same."""

    start: float
    end: float
    look: str

    @property
    def seconds(self) -> float:
        return self.end - self.start


def vtt(timeline: Timeline, name: str = "") -> Iterator[str]:
    """WebVTT (https://www.w3.org/TR/webvtt1/), cue by cue, in order of their starts; `name` is the recording's."""
    title = f" - {_escaped(name)}" if one_line(name) else ""
    yield f"WEBVTT{title}\n\nNOTE {NOTE}\n"
    for cue in cues(timeline):
        start, end = _milliseconds(cue.start), _milliseconds(cue.end)
        if start < end:
            who = "Somebody" if cue.speaker is None else name_of(timeline, cue.speaker)
            lines = (f"<v {_escaped(who)}>{_escaped(who)}{cue.tone}", _escaped(" ".join(cue.words)))
            text = "\n".join(line for line in lines if line)
            yield f"\n{_stamp(start)} --> {_stamp(end)}\n{text}\n"


def cues(timeline: Timeline) -> list[Cue]:
    """All cues in order of their starts, with the words that are said in them."""
    readings: dict[int, list[EmotionReading]] = {}
    for reading in timeline.readings:
        readings.setdefault(reading.turn, []).append(reading)
    turns = sorted(timeline.turns.values(), key=lambda turn: turn.start)
    found = [cue for turn in turns for cue in _cues_of(turn, readings.get(turn.id, []))]
    return sorted([*found, *_fill_in(found, timeline.words)], key=lambda cue: cue.start)


def _cues_of(turn: Turn, readings: Sequence[EmotionReading]) -> Iterator[Cue]:
    if turn.second_voice or not readings:
        tone = " talks beneath another" if turn.second_voice else " talks"
        for start, end in _parts(turn.start, turn.end):
            yield Cue(start, end, turn.speaker, tone, turn.second_voice)
        return
    parts = [part for run in _runs(turn, readings) for part in _parts(run.start, run.end)]
    starts = [start for start, _ in parts]
    heard: list[list[EmotionReading]] = [[] for _ in parts]
    for reading in readings:
        heard[max(0, bisect_right(starts, reading.middle) - 1)].append(reading)
    for (start, end), own in zip(parts, heard, strict=True):
        yield Cue(start, end, turn.speaker, _tone(own))


def _runs(turn: Turn, readings: Sequence[EmotionReading]) -> list[_Run]:
    """The turn, parted where its label changes for long enough to be read."""
    changes = [turn.start, *(min(max(reading.start, turn.start), turn.end) for reading in readings[1:]), turn.end]
    runs: list[_Run] = []
    for reading, (start, end) in zip(readings, pairwise(changes), strict=True):
        if runs and runs[-1].look == _look(reading):
            runs[-1] = replace(runs[-1], end=end)
        else:
            runs.append(_Run(start, end, _look(reading)))
    settled: list[_Run] = []
    for run in runs:
        last = settled[-1] if settled else None
        if last and (last.look == run.look or run.seconds < SHORTEST):  # a flicker is no change
            settled[-1] = replace(last, end=run.end)
        elif last and last.seconds < SHORTEST:  # nor is what a turn begins with
            settled[-1] = replace(run, start=last.start)
        else:
            settled.append(run)
    return settled


def _parts(start: float, end: float) -> list[tuple[float, float]]:
    """Equal parts of a stretch, none longer than a cue may be."""
    count = max(1, math.ceil((end - start) / LONGEST))
    edges = [start + (end - start) * number / count for number in range(count)]
    return list(pairwise([*edges, end]))


def _look(reading: EmotionReading) -> str:
    return MIXED if reading.mixed else reading.label


def _tone(readings: Iterable[EmotionReading]) -> str:
    """How most of the time sounds, and how sure that is on average, as what follows a name."""
    looks: dict[str, list[EmotionReading]] = {}
    for reading in readings:
        looks.setdefault(_look(reading), []).append(reading)
    if not looks:
        return " talks"
    label = max(looks, key=lambda look: sum(reading.duration for reading in looks[look]))
    if label == MIXED:
        return ": two talk at once"
    if label == UNSURE:
        return ": unsure"
    alike, place = looks[label], EMOTIONS.index(label)
    seconds = sum(reading.duration for reading in alike) or 1.0
    sure = sum(reading.probabilities[place] * reading.duration for reading in alike) / seconds
    return f" sounds {label} ({round(100 * sure)} %)"


def _fill_in(found: Sequence[Cue], words: Iterable[Word]) -> list[Cue]:
    """Give each word to its speaker's nearest cue; what no cue is near to gets cues of its own."""
    by_speaker: dict[int | None, list[Cue]] = {}
    for cue in found:
        by_speaker.setdefault(cue.speaker, []).append(cue)
    starts = {speaker: [cue.start for cue in own] for speaker, own in by_speaker.items()}
    astray: list[Cue] = []
    for word in words:
        near = []
        for speaker in list(by_speaker) if word.speaker is None else [word.speaker]:
            after = bisect_right(starts.get(speaker, []), word.middle)
            near += by_speaker.get(speaker, [])[max(0, after - 1) : after + 1]
        home = min(near, key=lambda cue: (_apart(word, cue), cue.beneath, cue.start), default=None)
        if home is None or _apart(word, home) >= NEAR:
            home = _stray(word, astray)
        home.words.append(word.text)
    return astray


def _stray(word: Word, astray: list[Cue]) -> Cue:
    """The cue of a word that no turn is near to: the last such cue while it goes on, or a new one."""
    last = astray[-1] if astray else None
    if last and last.speaker == word.speaker and word.start - last.end < NEAR and word.end - last.start <= LONGEST:
        astray[-1] = replace(last, end=max(last.end, word.end))
    else:
        astray.append(Cue(word.start, word.end, word.speaker, " talks"))
    return astray[-1]


def _apart(word: Word, cue: Cue) -> float:
    return max(cue.start - word.middle, word.middle - cue.end, 0.0)


def _escaped(text: str) -> str:
    """Text that is no markup to WebVTT, and whose arrows part no times."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _milliseconds(seconds: float) -> int:
    return round(1_000 * seconds)


def _stamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{rest:03d}"
