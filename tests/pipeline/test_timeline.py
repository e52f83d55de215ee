from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.timeline import EMOTIONS, UNSURE, EmotionReading, Span, Timeline, Turn


def reading(turn: int, start: float, end: float, label: str = "calm") -> EmotionReading:
    probabilities = tuple(float(emotion == label) for emotion in EMOTIONS)
    return EmotionReading(
        turn=turn,
        start=start,
        end=end,
        probabilities=probabilities,
        label=label,
        valence=0,
        arousal=0,
        heard=1,
        model="m",
    )


@pytest.mark.parametrize("seed", range(200))
def test_overlap_is_what_two_spans_share(seed: int) -> None:
    edges = np.random.default_rng(seed).integers(0, 12, 4) / 4  # coarse, so that edges often coincide
    one, other = (Span(start=min(pair), end=max(pair)) for pair in (edges[:2], edges[2:]))
    shared = one.overlap(other.start, other.end)
    assert shared == other.overlap(one.start, one.end)
    assert 0 <= shared <= min(one.duration, other.duration) + 1e-9
    assert (shared == 0) or (max(one.start, other.start) in one)


def test_a_span_cannot_end_before_it_starts() -> None:
    with pytest.raises(ValidationError, match="cannot end"):
        Span(start=2, end=1)


def test_a_growing_turn_replaces_itself() -> None:
    timeline = Timeline()
    timeline.put(Turn(id=0, speaker=1, start=0, end=1))
    timeline.put(Turn(id=0, speaker=1, start=0, end=2))
    assert timeline.talk_seconds(1) == 2


def test_a_reading_that_is_told_again_replaces_itself() -> None:
    timeline = Timeline()
    for one in (
        reading(0, 0, 0.5),
        reading(0, 0.5, 1),
        reading(4, 0.5, 1),
        reading(0, 1, 1.5),
        reading(0, 0.5, 1, "sad"),
    ):
        timeline.add(one)
    assert [(one.turn, one.start, one.label) for one in timeline.readings] == [
        (0, 0, "calm"),
        (0, 0.5, "sad"),
        (4, 0.5, "calm"),
        (0, 1, "calm"),
    ]


def test_a_correction_takes_the_readings_along() -> None:
    timeline = Timeline()
    timeline.put(Turn(id=0, speaker=1, start=0, end=4))
    for start in range(4):
        timeline.add(reading(0, start, start + 1))
    timeline.revise([], [Turn(id=0, speaker=1, start=0, end=2), Turn(id=7, speaker=2, start=2, end=4)])
    assert [(r.start, timeline.speaker_of(r)) for r in timeline.readings] == [(0, 1), (1, 1), (2, 2), (3, 2)]


def test_a_reading_of_what_is_no_speech_any_more_goes() -> None:
    timeline = Timeline()
    timeline.put(Turn(id=0, speaker=1, start=0, end=1))
    timeline.put(Turn(id=3, speaker=2, start=5, end=6))
    timeline.add(reading(0, 0, 1))
    timeline.add(reading(3, 5, 6))
    timeline.revise([0], [])
    assert [r.turn for r in timeline.readings] == [3]


def test_merged_speakers_share_their_history() -> None:
    timeline = Timeline()
    timeline.put(Turn(id=0, speaker=1, start=0, end=1))
    timeline.put(Turn(id=1, speaker=2, start=1, end=3))
    timeline.merge_speakers(kept=1, merged=2)
    assert timeline.speakers == [1]
    assert timeline.talk_seconds(1) == 3


def test_a_chunk_labels_every_second_that_a_stretch_begins() -> None:
    timeline = Timeline()
    timeline.put(Turn(id=0, speaker=1, start=28.0, end=32.5))
    timeline.put(Turn(id=1, speaker=2, start=33.0, end=33.25))
    timeline.add(reading(0, 28, 30, "sad"))
    timeline.add(reading(0, 30, 31.4, "happy"))
    first, second = timeline.chunk(0), timeline.chunk(1)
    assert first["1"].model_dump() == {"start_times": [28.0], "end_times": [30.0], "emotion": ["sad", "sad"]}
    assert second["1"].emotion == ["happy", "happy", UNSURE]
    assert second["2"].model_dump() == {"start_times": [33.0], "end_times": [33.25], "emotion": [UNSURE]}
    assert timeline.chunk(2) == {}


def test_nobody_talks_beneath_themselves_after_a_merge() -> None:
    timeline = Timeline()
    timeline.put(Turn(id=0, speaker=1, start=0, end=5, final=True))
    timeline.put(Turn(id=3, speaker=2, start=2, end=3, final=True, second_voice=True))
    timeline.put(Turn(id=4, speaker=2, start=6, end=9, final=True))
    timeline.merge_speakers(kept=1, merged=2)
    assert sorted(timeline.turns) == [0, 4]
    assert timeline.talk_seconds(1) == 8
