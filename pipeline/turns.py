"""Turns: what one speaker says without a long pause, and what is said beneath it, of units whose speakers are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.diarisation import Unit
from pipeline.timeline import SAMPLE_RATE, Turn

TURN_PAUSE: Final = round(0.55 * SAMPLE_RATE)  # a longer pause ends a turn; shorter ones are bridged
LONGEST_TURN: Final = 30 * SAMPLE_RATE  # a monologue is cut here, so that what may still change stays small
SECOND_PAUSE: Final = 0.2  # s; shorter ones within what is said beneath a turn are bridged
SECOND_REACH: Final = 10 * SAMPLE_RATE  # who talks beneath another has talked this shortly before, or does after


@dataclass(frozen=True, slots=True)
class Heard:
    """A unit and its speaker; `number` counts the units of the conversation.

    `settled`: who it is is not decided anew, for another diariser has said so, or nobody can tell any more.
    """

    number: int
    unit: Unit
    speaker: int | None
    settled: bool = False

    @property
    def tells(self) -> bool:
        """Whether its own voice tells who it is."""
        return self.unit.voiceprint is not None


Run = tuple[Turn, list[Heard]]


def told_of(heard: Sequence[Heard], faces: Sequence[int | None], going_on: int) -> tuple[list[Turn], list[Turn]]:
    """The turns, and what is said beneath them, each within one of them, both in order of time.

    `heard`: units in order of time; `faces`: for each the speaker as whom it is shown; `going_on`: sample up to which
    the speech of the last one goes on, if it does. The id of a turn is twice the number of its first unit, and one more
    than that of what is said beneath one.
    """
    runs = _runs(heard, faces, going_on)
    return [turn for turn, _ in runs], _beneath(heard, faces, runs)


def overlaps_of(units: Iterable[Unit]) -> list[tuple[float, float]]:
    """The stretches in which two talk at once, in seconds, of units in order of time."""
    return [(unit.overlap[0] / SAMPLE_RATE, unit.overlap[1] / SAMPLE_RATE) for unit in units if unit.overlap]


def _runs(heard: Sequence[Heard], faces: Sequence[int | None], going_on: int) -> list[Run]:
    """The turns, and the units of each."""
    runs: list[tuple[int, list[Heard]]] = []
    before: int | None = None
    for one, face in zip(heard, faces, strict=True):
        run = runs[-1][1] if face is not None and face == before else None
        if run and one.unit.start - run[-1].unit.end <= TURN_PAUSE and one.unit.end - run[0].unit.start <= LONGEST_TURN:
            run.append(one)
        elif face is not None:
            runs.append((face, [one]))
        before = face
    return [(_turn(face, run, going_on if run[-1] is heard[-1] else 0), run) for face, run in runs]


def _turn(speaker: int, run: Sequence[Heard], going_on: int) -> Turn:
    samples = run[0].unit.start, max(run[-1].unit.end, going_on)
    start, end = (round(sample / SAMPLE_RATE, 3) for sample in samples)
    return Turn(id=2 * run[0].number, speaker=speaker, start=start, end=end)


def _beneath(heard: Sequence[Heard], faces: Sequence[int | None], runs: Sequence[Run]) -> list[Turn]:
    """What is said beneath the turns.

    Two voices at once give a voiceprint that is neither's. Who talks beneath another has most often just talked, or is
    about to (Otterson and Ostendorf 2007), so it is the nearest other speaker in time.
    """
    found: list[Turn] = []
    turn_of = {one.number: turn for turn, units in runs for one in units if one.unit.overlap}
    for i, one in enumerate(heard):
        turn = turn_of.get(one.number)
        if turn is None or one.unit.overlap is None or (speaker := _nearest_other(heard, faces, i)) is None:
            continue
        start, end = (round(sample / SAMPLE_RATE, 3) for sample in one.unit.overlap)
        last = found[-1] if found else None
        if last and last.id > turn.id and last.speaker == speaker and start - last.end <= SECOND_PAUSE:
            found[-1] = last.model_copy(update={"end": end})
        else:
            found.append(Turn(id=2 * one.number + 1, speaker=speaker, start=start, end=end, second_voice=True))
    return found


def _nearest_other(heard: Sequence[Heard], faces: Sequence[int | None], i: int) -> int | None:
    """Of all who are not the speaker of unit `i`, who talks nearest to it in time, if that is near enough."""
    unit = heard[i].unit
    candidates = []
    for direction in (range(i - 1, -1, -1), range(i + 1, len(faces))):
        if (j := next((j for j in direction if faces[j] not in (None, faces[i])), None)) is not None:
            other = heard[j].unit
            candidates.append((max(other.start - unit.end, unit.start - other.end), faces[j]))
    distance, nearest = min(candidates, default=(SECOND_REACH, None), key=lambda candidate: candidate[0])
    return nearest if distance < SECOND_REACH else None
