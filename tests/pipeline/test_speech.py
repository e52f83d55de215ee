from __future__ import annotations

import numpy as np
import pytest

from pipeline.speech import CONTEXT, TRAIL, Island, SpeechDetector, SpeechState
from pipeline.timeline import SAMPLE_RATE
from tests.talkers import LOW, Line, conversation


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector()


def test_two_utterances_are_two_islands(detector: SpeechDetector) -> None:
    audio, said = conversation((LOW,), [Line(0, 2.0, 0.8), Line(0, 1.5, 0.8)], seed=1)
    islands, _ = detector.hear(audio, 0, SpeechState.fresh())
    closed = [island for island in islands if not island.open]
    assert len(closed) == 2
    for island, utterance in zip(closed, said, strict=True):
        assert island.span.start == pytest.approx(utterance.start, abs=0.1)
        assert island.span.end == pytest.approx(utterance.end, abs=0.25)


@pytest.mark.parametrize("step", [8_000, 1_111])
def test_pieces_are_heard_like_the_whole(detector: SpeechDetector, step: int) -> None:
    audio, _ = conversation((LOW,), [Line(0, 2.0, 0.5), Line(0, 1.0, 0.5)], seed=2)
    whole, _ = detector.hear(audio, 0, SpeechState.fresh())
    state, closed = SpeechState.fresh(), []
    for end in range(step, len(audio) + step, step):
        start = max(0, state.position - CONTEXT)
        islands, state = detector.hear(audio[start:end], start, state)
        closed += [island for island in islands if not island.open]
    assert closed == [island for island in whole if not island.open]


def test_silence_holds_no_speech(detector: SpeechDetector) -> None:
    assert detector.hear(np.zeros(SAMPLE_RATE, np.float32), 0, SpeechState.fresh())[0] == []


def test_an_open_island_waits_for_more(detector: SpeechDetector) -> None:
    audio, said = conversation((LOW,), [Line(0, 3.0, 0.3)], seed=3)
    islands, state = detector.hear(audio[: round((said[0].start + 1) * SAMPLE_RATE)], 0, SpeechState.fresh())
    assert islands == [Island(state.island or 0, state.voiced - TRAIL, True)]
    assert detector.hear(audio[:0], state.position, state) == (islands, state)
