"""A long recording as a page can hold it, in somewhat longer steps, and as an eye can take it in, in long ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from pipeline.timeline import UNSURE, EmotionReading, Timeline, Turn
from ui.summary import whose_tone

MOST_READINGS = 12_000  # some 100 minutes of talk; each takes about 300 bytes of a report
FAR_STEPS = (5, 10, 15, 20, 30, 60, 120, 300, 600)  # seconds that one look from afar may be in
LOOKS = 300  # from afar at most
PLACES = 3  # decimals of probabilities and seconds


def coarse(timeline: Timeline, most: int = MOST_READINGS) -> tuple[Timeline, float]:
    """The timeline with no more than about so many readings, and the seconds of its steps; 0 where it kept them all.

    A turn's readings in one step become one that sounds like the most of it, with their average probabilities.
    Values are rounded to what a plot shows. Turns, names and words stay the same.
    """
    step, readings = 0.0, timeline.readings
    while len(readings) > max(most, len(timeline.turns)):
        step = 2 * step if step else 1.0
        readings = list(_joined(timeline.readings, step))
    return timeline.model_copy(update={"readings": [_rounded(reading) for reading in readings]}), step


def from_afar(timeline: Timeline) -> tuple[Timeline, int]:
    """How everyone sounded in each step of a long recording, and its seconds.

    A step in which a person's tone was told is one turn of theirs, from its start to its end, with one reading: what
    they sounded like for the most of it, their average probabilities, and how long they were heard. Who was only
    heard beneath others keeps those turns, and with them a lane.
    """
    step = next((step for step in FAR_STEPS if timeline.heard_until <= step * LOOKS), FAR_STEPS[-1])
    looks: dict[tuple[int, int], list[EmotionReading]] = {}
    for reading in timeline.readings:
        speaker = whose_tone(reading, timeline)
        if speaker is not None:
            looks.setdefault((speaker, int(reading.middle // step)), []).append(reading)
    seen = {speaker for speaker, _ in looks}
    turns = [turn for turn in timeline.turns.values() if turn.speaker not in seen]
    readings = []
    free = 1 + max(timeline.turns, default=0)
    for turn_id, ((speaker, number), heard) in enumerate(sorted(looks.items(), key=lambda look: look[0]), free):
        span = {"start": float(number * step), "end": min(float((number + 1) * step), timeline.heard_until)}
        turns.append(Turn(id=turn_id, speaker=speaker, final=True, **span))
        whole = {"turn": turn_id, "heard": round(sum(reading.duration for reading in heard), PLACES)}
        readings.append(_rounded(_average(heard).model_copy(update=span | whole)))
    far = {"turns": {turn.id: turn for turn in turns}, "readings": readings, "words": []}
    return timeline.model_copy(update=far), step


def _joined(readings: Sequence[EmotionReading], step: float) -> Iterator[EmotionReading]:
    def place(reading: EmotionReading) -> tuple[int, int, bool]:
        return reading.turn, int(reading.middle // step), reading.mixed

    for _, neighbours in groupby(readings, key=place):
        yield _average(list(neighbours))


def _average(readings: Sequence[EmotionReading]) -> EmotionReading:
    """One reading in place of neighbours."""
    if len(readings) == 1:
        return readings[0]
    lengths = np.array([reading.duration for reading in readings]) + 1e-9
    seconds: dict[str, float] = {}
    for reading in readings:
        seconds[reading.label] = seconds.get(reading.label, 0.0) + reading.duration
    label = max(seconds, key=lambda name: (seconds[name], name != UNSURE))
    values = np.average(
        [(*reading.probabilities, reading.valence, reading.arousal) for reading in readings], axis=0, weights=lengths
    ).tolist()
    return readings[-1].model_copy(
        update={
            "start": readings[0].start,
            "label": label,
            "probabilities": tuple(values[:-2]),
            "valence": values[-2],
            "arousal": values[-1],
        }
    )


def _rounded(reading: EmotionReading) -> EmotionReading:
    return reading.model_copy(
        update={
            "start": round(reading.start, PLACES),
            "end": round(reading.end, PLACES),
            "probabilities": tuple(round(value, PLACES) for value in reading.probabilities),
        }
    )
