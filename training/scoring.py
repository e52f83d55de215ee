"""How right a page is about a conversation, counted by the instant: who was said to speak, and how they sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.timeline import EMOTIONS, UNSURE, EmotionReading, Timeline, Turn
from training.evaluate import Rate
from training.simulate import SpokenTurn

STEP: Final = 0.01  # s from one instant to the next
BOOTSTRAPS: Final = 2000
NOBODY: Final = 0  # in place of a speaker's number
UNREAD: Final = -1  # in place of an emotion's, where no reading covers an instant
UNSURE_NUMBER: Final = len(EMOTIONS)
MEASURES: Final = {  # a share: instants of this kind, of all those of that kind
    "right speaker": ("right_speaker", "spoken"),
    "right emotion": ("right_emotion", "spoken"),
    "both right": ("right", "spoken"),
    "missed": ("missed", "spoken"),
    "answered unsure": ("answered_unsure", "spoken"),
    "right emotion, of what was asserted": ("right_emotion", "asserted"),
    "right emotion, were the speakers told": ("told_right", "spoken"),
    "unsure, were the speakers told": ("told_unsure", "spoken"),
}
LOSSES: Final = {
    "missed speech": "missed",
    "wrong speaker": "wrong_speaker",
    "no reading": "no_reading",
    "unsure": "unsure",
    "wrong emotion": "wrong_emotion",
}
Instants = NDArray[np.int_]


@dataclass(frozen=True)
class Shown:
    """What the page says about each instant: the speaker's number, and the emotion's, both (instants,)."""

    speakers: Instants
    emotions: Instants

    @classmethod
    def nothing(cls, seconds: float) -> Shown:
        """An empty page of so many seconds."""
        instants = instant(seconds) + 1
        return cls(np.full(instants, NOBODY), np.full(instants, UNREAD))

    @classmethod
    def of(cls, timeline: Timeline, seconds: float) -> Shown:
        """All of a timeline."""
        page = cls.nothing(seconds)
        page.put(timeline, 0, len(page.speakers))
        return page

    def put(self, timeline: Timeline, first: int, stop: int) -> None:
        """Write what a timeline says about the instants [first, stop)."""

        def here(span: Turn | EmotionReading) -> slice:
            return slice(max(first, instant(span.start)), max(first, min(stop, instant(span.end))))

        for turn in timeline.turns.values():
            self.speakers[here(turn)] = turn.speaker
        for known in timeline.readings:
            self.emotions[here(known)] = _number(known.label)


class Island(NamedTuple):
    """A stretch of the reference's speech: one speaker, one emotion, from one instant up to another."""

    speaker: str
    emotion: int
    first: int
    stop: int


@dataclass(frozen=True)
class Tally:
    """Instants of reference speech. `missed` to `right` are apart from each other and add up to `spoken`."""

    spoken: int
    missed: int  # nobody is said to speak
    wrong_speaker: int
    no_reading: int  # the right speaker, but nothing is said of the emotion
    unsure: int  # the right speaker, and "unsure"
    wrong_emotion: int  # the right speaker, and another emotion
    right: int  # speaker and emotion
    right_speaker: int
    right_emotion: int  # whoever is said to speak
    answered_unsure: int  # whoever is said to speak
    asserted: int  # an emotion is said, right or wrong
    told_right: int  # emotion, where the pipeline is told who speaks when
    told_unsure: int


@dataclass(frozen=True)
class View:
    """How right one way of listening is. `losses` and what is both right add up to 1."""

    measures: dict[str, Rate]  # by the names of MEASURES
    losses: dict[str, Rate]  # by the names of LOSSES
    largest_loss: str


def islands_of(reference: Sequence[SpokenTurn]) -> list[Island]:
    """The reference's speech, in order of time. Raises ValueError where an emotion is not known."""
    islands = [
        Island(turn.speaker, EMOTIONS.index(turn.emotion or ""), instant(start), instant(end))
        for turn in reference
        for start, end in turn.speech
    ]
    return sorted(islands, key=lambda island: island.first)


def told_turns(islands: Sequence[Island]) -> list[Turn]:
    """The islands as turns, as a diariser without fault would give them; a turn's id is the island's index."""
    names = sorted({island.speaker for island in islands})
    return [
        Turn(id=i, speaker=1 + names.index(one.speaker), start=one.first * STEP, end=one.stop * STEP, final=True)
        for i, one in enumerate(islands)
    ]


def tally(islands: Sequence[Island], seen: Shown, told: Sequence[EmotionReading]) -> Tally:
    """What a page is worth. `told`: the readings of `told_turns(islands)`."""
    names = sorted({island.speaker for island in islands})
    lengths = [island.stop - island.first for island in islands]
    speaker = np.repeat([names.index(island.speaker) for island in islands], lengths)
    emotion = np.repeat([island.emotion for island in islands], lengths)
    who = _joined([seen.speakers[island.first : island.stop] for island in islands])
    what = _joined([seen.emotions[island.first : island.stop] for island in islands])
    told_what = _joined(_told_emotions(islands, told))

    is_they = _one_to_one(speaker, who) == speaker
    counts = {
        "spoken": speaker >= 0,
        "missed": who == NOBODY,
        "wrong_speaker": (who != NOBODY) & ~is_they,
        "no_reading": is_they & (what == UNREAD),
        "unsure": is_they & (what == UNSURE_NUMBER),
        "wrong_emotion": is_they & (what != UNREAD) & (what != UNSURE_NUMBER) & (what != emotion),
        "right": is_they & (what == emotion),
        "right_speaker": is_they,
        "right_emotion": what == emotion,
        "answered_unsure": what == UNSURE_NUMBER,
        "asserted": (what != UNREAD) & (what != UNSURE_NUMBER),
        "told_right": told_what == emotion,
        "told_unsure": told_what == UNSURE_NUMBER,
    }
    return Tally(**{name: int(instants.sum()) for name, instants in counts.items()})


def view_of(tallies: Sequence[Tally], seed: int) -> View:
    """The shares that the tallies of conversations come to."""
    counts = np.array([astuple(one) for one in tallies], float)
    column = {name.name: number for number, name in enumerate(fields(Tally))}
    drawn = np.random.default_rng(seed).integers(len(counts), size=(BOOTSTRAPS, len(counts)))
    resampled = counts[drawn].sum(axis=1)

    def share(part: str, whole: str) -> Rate:
        with np.errstate(invalid="ignore"):  # nothing of nothing is no share
            value, *others = (
                sums[..., column[part]] / sums[..., column[whole]] for sums in (counts.sum(axis=0), resampled)
            )
        low, high = np.nanpercentile(others, (2.5, 97.5)) if not np.isnan(value) else (np.nan, np.nan)
        return Rate(float(value), float(low), float(high))

    losses = {name: share(part, "spoken") for name, part in LOSSES.items()}
    return View(
        {name: share(*kinds) for name, kinds in MEASURES.items()},
        losses,
        max(losses, key=lambda name: losses[name].value),
    )


def _told_emotions(islands: Sequence[Island], told: Sequence[EmotionReading]) -> list[Instants]:
    """For each island, the emotion that is read at each of its instants."""
    emotions = [np.full(island.stop - island.first, UNREAD) for island in islands]
    for known in told:
        first = islands[known.turn].first
        emotions[known.turn][instant(known.start) - first : instant(known.end) - first] = _number(known.label)
    return emotions


def _one_to_one(speaker: Instants, who: Instants) -> Instants:
    """The speaker of the reference that each instant's `who` stands for, or -1: all three are (instants,).

    One number stands for one speaker, and all of them together share as much time with theirs as they can: the
    mapping of the diarisation error rate (NIST, RT-09 evaluation plan).
    """
    numbers = sorted(set(who.tolist()) - {NOBODY})
    together = np.zeros((speaker.max(initial=-1) + 1, len(numbers)))
    for column, number in enumerate(numbers):
        together[:, column] = np.bincount(speaker[who == number], minlength=len(together))
    stands_for = np.full(who.max(initial=NOBODY) + 1, -1)
    for row, column in zip(*linear_sum_assignment(-together), strict=True):
        if together[row, column] > 0:
            stands_for[numbers[column]] = row
    return stands_for[who]


def overlapping(islands: Sequence[Island]) -> int:
    """Instants of speech, each speaker's counted, at which somebody else speaks, too."""
    voices = np.zeros(max((island.stop for island in islands), default=0), int)
    for island in islands:
        voices[island.first : island.stop] += 1
    return int(voices[voices > 1].sum())


def instant(seconds: float) -> int:
    """The number of the instant at a time in seconds."""
    return round(seconds / STEP)


def _number(label: str) -> int:
    return UNSURE_NUMBER if label == UNSURE else EMOTIONS.index(label)


def _joined(parts: Sequence[Instants]) -> Instants:
    return np.concatenate([np.zeros(0, np.int_), *parts])
