"""A timeline in words and figures: the people cards, the sentence of who sounds how, a turn read aloud."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from pipeline.timeline import EMOTIONS, UNSURE, EmotionReading, Timeline, Turn


class Card(BaseModel):
    """What the page says of one person."""

    speaker: int
    name: str
    label: str = ""  # of the newest reading; empty before the first
    sounds: str = "listening"
    confidence: float = 0.0
    seconds: float = 0.0
    share: float = 0.0
    speaking: bool = False
    probabilities: list[float] = []


def name_of(speaker: int) -> str:
    """What a speaker is called."""
    return f"Speaker {speaker}"


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
    """Session time as m:ss."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def cards(timeline: Timeline) -> list[Card]:
    """One card a speaker, in order of their numbers."""
    seconds: dict[int, float] = {}
    talking: set[int] = set()
    for turn in timeline.turns.values():
        seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + turn.duration
        if not turn.final and not timeline.ended and timeline.heard_until - turn.end < 1.0:
            talking.add(turn.speaker)
    newest: dict[int, EmotionReading] = {}
    for reading in reversed(timeline.readings):
        if len(newest) == len(seconds):
            break
        speaker = timeline.speaker_of(reading)
        if speaker is not None:
            newest.setdefault(speaker, reading)
    total = sum(seconds.values()) or 1.0
    return [
        _card(speaker, newest.get(speaker), seconds[speaker], total, speaker in talking) for speaker in sorted(seconds)
    ]


def _card(speaker: int, reading: EmotionReading | None, seconds: float, total: float, speaking: bool) -> Card:
    card = Card(speaker=speaker, name=name_of(speaker), seconds=seconds, share=seconds / total, speaking=speaking)
    if reading is None:
        return card
    return card.model_copy(
        update={
            "label": reading.label,
            "sounds": sounds(reading.label),
            "confidence": reading.confidence,
            "probabilities": list(reading.probabilities),
        }
    )


def sentence(people: Iterable[Card]) -> str:
    """Who sounds how, for a screen reader."""
    parts = [
        f"{card.name} {'is unsure to read' if card.label == UNSURE else card.sounds}" for card in people if card.label
    ]
    return "; ".join(parts) + "." if parts else ""


def read_aloud(turn: Turn, timeline: Timeline) -> str:
    """A turn in a sentence: who, when, how it sounds."""
    seconds: dict[str, float] = {}
    for reading in timeline.readings:
        if reading.turn == turn.id:
            seconds[reading.label] = seconds.get(reading.label, 0.0) + reading.duration
    how = "nothing read yet"
    if seconds:
        label = max(seconds, key=lambda name: seconds[name])
        mostly = "mostly " if len(seconds) > 1 else ""
        how = f"{mostly}{sounds(label)}"
    return f"{name_of(turn.speaker)}, {clock(turn.start)} to {clock(turn.end)}: {how}."


def beside(timeline: Timeline, current: int | None, step: int) -> Turn | None:
    """The turn before or after the current one in order of time; without a current one, the last or first."""
    turns = sorted(timeline.turns.values(), key=lambda turn: (turn.start, turn.id))
    if not turns:
        return None
    ids = [turn.id for turn in turns]
    if current not in ids:
        return turns[0] if step > 0 else turns[-1]
    return turns[min(max(ids.index(current) + step, 0), len(turns) - 1)]


def probability(reading: EmotionReading, emotion: str) -> float:
    """One emotion's probability."""
    return reading.probabilities[EMOTIONS.index(emotion)]
