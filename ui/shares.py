"""How much of the time everyone talked, and how they sounded while they did, over a whole recording."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.timeline import UNSURE, EmotionReading, Timeline
from ui.palette import LABELS
from ui.summary import Card, cards, clock, whose_tone

MIXED, UNREAD = "mixed", "unread"  # in place of a label: another talks too; nothing was read
WORDS = {MIXED: "two talk at once", UNREAD: "not read"}
KINDS = (*LABELS, MIXED, UNREAD)


@dataclass(frozen=True, slots=True)
class Share:
    """The seconds of one kind (of `KINDS`), and their share, 0 to 1, of the time that the person talked."""

    kind: str
    seconds: float
    share: float

    @property
    def word(self) -> str:
        """What the report calls it."""
        return WORDS.get(self.kind, self.kind)

    @property
    def clock(self) -> str:
        """The seconds as m:ss."""
        return clock(round(self.seconds))

    @property
    def percent(self) -> str:
        """The share in words."""
        return percent(self.share)


@dataclass(frozen=True, slots=True)
class Person:
    """One speaker: seconds talked, the share of all talk, and what it is made of, in order of `KINDS`."""

    speaker: int
    name: str
    seconds: float
    share: float
    shares: Sequence[Share]

    @property
    def lasting(self) -> str:
        """The time talked in words."""
        return lasting(self.seconds)

    @property
    def percent(self) -> str:
        """The share of all talk in words."""
        return percent(self.share)

    @property
    def told(self) -> bool:
        """Whether any of the person's tone was told, be it unsure."""
        return any(share.seconds > 0 for share in self.shares if share.kind in LABELS)

    @property
    def most(self) -> str:
        """The label of the most time; empty where none was told."""
        labels = [share for share in self.shares if share.kind in LABELS]
        return max(labels, key=lambda share: share.seconds).kind if self.told else ""


def people(timeline: Timeline) -> list[Person]:
    """Everyone who talked, in order of their numbers. Who talks beneath another talks too."""
    seconds: dict[int, dict[str, float]] = {speaker: dict.fromkeys(KINDS, 0.0) for speaker in timeline.speakers}
    for reading in timeline.readings:
        turn = timeline.turns.get(reading.turn)
        if turn is not None and not turn.second_voice:
            told = whose_tone(reading, timeline) is not None
            seconds[turn.speaker][reading.label if told else MIXED] += reading.duration
    for turn in timeline.turns.values():
        if turn.second_voice:
            seconds[turn.speaker][MIXED] += turn.duration
    return [
        Person(card.speaker, card.name, card.seconds, card.share, _parts(card.seconds, seconds[card.speaker]))
        for card in cards(timeline)
    ]


def whole_cards(timeline: Timeline, recognised: Collection[int] = ()) -> list[Card]:
    """The cards of a conversation that is over: how everyone sounded most often, and their mean probabilities."""
    told = {person.speaker: person for person in people(timeline)}
    readings: dict[int, list[EmotionReading]] = {}
    for reading in timeline.readings:
        speaker = whose_tone(reading, timeline)
        if speaker is not None and reading.duration > 0:
            readings.setdefault(speaker, []).append(reading)
    return [
        card.model_copy(update=_whole(told[card.speaker], readings.get(card.speaker, [])))
        for card in cards(timeline, recognised)
    ]


def in_a_sentence(everyone: Iterable[Person]) -> str:
    """Who talked for how long, and how they sounded most often."""
    parts = [f"{person.name} talked for {person.lasting} ({person.percent}) and {_most(person)}" for person in everyone]
    return f"{'; '.join(parts)}." if parts else "Nobody was heard."


def lasting(seconds: float) -> str:
    """A length of time in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}\N{NO-BREAK SPACE}s"
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min")) if hours else ((minutes, "min"), (rest, "s"))
    return " ".join(f"{number}\N{NO-BREAK SPACE}{unit}" for number, unit in parts if number)


def percent(share: float) -> str:
    """A share as whole per cent; what is little is not nothing."""
    whole = round(100 * share)
    return "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%" if share > 0 and not whole else f"{whole}\N{NO-BREAK SPACE}%"


def _most(person: Person) -> str:
    if not person.most:
        return "was only heard beneath others" if person.shares[KINDS.index(MIXED)].seconds else "was not read"
    return "was most often unsure to read" if person.most == UNSURE else f"most often sounded {person.most}"


def _whole(person: Person, readings: Sequence[EmotionReading]) -> dict[str, Any]:
    """How somebody sounded over the whole conversation, as fields of their card."""
    untold = {"whole": True, "label": "", "confidence": 0.0, "probabilities": []}
    if not person.most:
        beneath = person.shares[KINDS.index(MIXED)].seconds
        return untold | {"sounds": "heard beneath others" if beneath else WORDS[UNREAD]}
    mean = np.average(
        [reading.probabilities for reading in readings], axis=0, weights=[reading.duration for reading in readings]
    )
    share = person.shares[KINDS.index(person.most)]
    return untold | {
        "label": person.most,
        "sounds": f"mostly {person.most}",
        "portion": share.percent,
        "probabilities": [round(value, 4) for value in mean.tolist()],
    }


def _parts(talked: float, seconds: dict[str, float]) -> list[Share]:
    known = sum(seconds.values())
    total = max(talked, known) or 1.0  # two who became one may have been read twice in the same second
    parts = seconds | {UNREAD: max(0.0, talked - known)}
    return [Share(kind, parts[kind], parts[kind] / total) for kind in KINDS]
