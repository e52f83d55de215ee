"""A timeline in words and figures: the people cards, the sentence of who sounds how, a turn read aloud."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel

from pipeline.timeline import EMOTIONS, UNSURE, EmotionReading, Timeline, Turn
from ui.transcript import said

AT_ONCE = "two talk at once"
UNTOLD = "whose tone it is cannot be told"
BENEATH = "talks beneath another"
SHORT_NAME = 14  # letters of a name that lanes and dots have room for
JUST_BEGUN = 1.0  # seconds into a turn in which the step back leads to the one before


class Card(BaseModel):
    """What the page says of one person."""

    speaker: int
    name: str
    given: str = ""  # the name that somebody gave; empty while it is but a number
    recognised: bool = False  # the name is an enrolled voice's
    whole: bool = False  # said of the whole conversation, which is over, and not of the newest reading: `ui.shares`
    label: str = ""  # of the newest reading that tells a tone; empty before the first
    sounds: str = "listening"
    confidence: float = 0.0
    portion: str = ""  # of the time that they talked, in which they sounded like that; of the whole only
    seconds: float = 0.0
    share: float = 0.0
    speaking: bool = False
    probabilities: list[float] = []


def whose_tone(reading: EmotionReading, timeline: Timeline) -> int | None:
    """Whose tone a reading tells, or None where that is unknown: of a turn not known yet, or of several voices."""
    turn = timeline.turns.get(reading.turn)
    return None if turn is None or turn.second_voice or reading.mixed else turn.speaker


def short(name: str) -> str:
    """A name as a plot has room for it."""
    return name if len(name) <= SHORT_NAME else f"{name[: SHORT_NAME - 1].rstrip()}…"


def sounds(label: str) -> str:
    """A label as the page words it: how someone sounds, never what they are."""
    return UNSURE if label == UNSURE else f"sounds {label}"


def basis(reading: EmotionReading) -> str:
    """What a reading rests on, in words."""
    heard = f"heard {reading.heard:.1f} s of speech"
    if reading.mode == "none":
        return f"{heard}, and nothing else of this voice"
    more = "before" if reading.mode == "causal" else "more in the recording"
    return f"{heard}, set against {reading.baseline:.0f} s {more}"


def clock(seconds: float) -> str:
    """Session time as m:ss, from an hour on as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, beyond = divmod(minutes, 60)
    return f"{hours}:{beyond:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def cards(timeline: Timeline, recognised: Collection[int] = ()) -> list[Card]:
    """One card a speaker, in order of their numbers. Who talks beneath another talks too."""
    turns: dict[int, list[Turn]] = {}
    talking: set[int] = set()
    for turn in timeline.turns.values():
        turns.setdefault(turn.speaker, []).append(turn)
        if not turn.final and not timeline.ended and timeline.heard_until - turn.end < 1.0:
            talking.add(turn.speaker)
    newest: dict[int, EmotionReading] = {}
    for reading in reversed(timeline.readings):
        if len(newest) == len(turns):
            break
        speaker = whose_tone(reading, timeline)
        if speaker is not None:
            newest.setdefault(speaker, reading)
    seconds = {speaker: _covered(spoken) for speaker, spoken in turns.items()}
    total = sum(seconds.values()) or 1.0
    return [
        Card(
            speaker=speaker,
            name=timeline.name_of(speaker),
            given=timeline.names.get(speaker, ""),
            recognised=speaker in recognised,
            seconds=seconds[speaker],
            share=seconds[speaker] / total,
            speaking=speaker in talking,
            **_tone(newest.get(speaker), turns[speaker]),
        )
        for speaker in sorted(turns)
    ]


def _covered(turns: list[Turn]) -> float:
    """Seconds in which at least one of the turns runs: two people who became one may have talked at once."""
    covered, reached = 0.0, 0.0
    for turn in sorted(turns, key=lambda turn: turn.start):
        covered += max(0.0, turn.end - max(turn.start, reached))
        reached = max(reached, turn.end)
    return covered


def _tone(reading: EmotionReading | None, turns: list[Turn]) -> dict[str, Any]:
    """How somebody sounds, as fields of their card."""
    if reading is None:
        return {"sounds": "heard beneath others"} if all(turn.second_voice for turn in turns) else {}
    return {
        "label": reading.label,
        "sounds": sounds(reading.label),
        "confidence": reading.confidence,
        "probabilities": list(reading.probabilities),
    }


def sentence(people: Iterable[Card]) -> str:
    """Who sounds how, for a screen reader."""
    parts = [
        f"{card.name} {'is unsure to read' if card.label == UNSURE else card.sounds}" for card in people if card.label
    ]
    return "; ".join(parts) + "." if parts else ""


def read_aloud(turn: Turn, timeline: Timeline) -> str:
    """A turn in a sentence or two: who, when, how it sounds, and what was said where that is known."""
    words = said(timeline).get(turn.id)
    quoted = f" Said: “{words}”" if words else ""
    when = f"{clock(turn.start)} to {clock(turn.end)}"
    return f"{timeline.name_of(turn.speaker)}, {when}: {_how(turn, timeline)}.{quoted}"


def _how(turn: Turn, timeline: Timeline) -> str:
    if turn.second_voice:
        return f"{BENEATH}. {AT_ONCE.capitalize()}: {UNTOLD}"
    readings = [reading for reading in timeline.readings if reading.turn == turn.id]
    seconds: dict[str, float] = {}
    for reading in readings:
        if not reading.mixed:
            seconds[reading.label] = seconds.get(reading.label, 0.0) + reading.duration
    if not seconds:
        return f"{AT_ONCE}: {UNTOLD}" if readings else "nothing read yet"
    label = max(seconds, key=lambda name: seconds[name])
    mostly = "mostly " if len(seconds) > 1 else ""
    return f"{mostly}{sounds(label)}"


def beside(timeline: Timeline, current: int | None, step: int, at: float | None = None) -> Turn | None:
    """The turn before or after the current one in order of time; without a current one, the last or first.

    `at`: an instant to go on from, where that is not the current turn's; what has only just begun is then no way back.
    """
    turns = sorted(timeline.turns.values(), key=lambda turn: (turn.start, turn.id))
    if not turns:
        return None
    if at is not None:
        earlier = [turn for turn in turns if turn.start < at - JUST_BEGUN]
        later = [turn for turn in turns if turn.start > at]
        return (later or turns[-1:])[0] if step > 0 else (earlier or turns[:1])[-1]
    ids = [turn.id for turn in turns]
    if current not in ids:
        return turns[0] if step > 0 else turns[-1]
    return turns[min(max(ids.index(current) + step, 0), len(turns) - 1)]


def probability(reading: EmotionReading, emotion: str) -> float:
    """One emotion's probability."""
    return reading.probabilities[EMOTIONS.index(emotion)]
