from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead
from pipeline.fragments import LONGEST
from pipeline.timeline import EMOTIONS, SAMPLE_RATE, Turn
from tests.service import Pcm, silence
from tests.talkers import HIGH, LOW, Said, write_wav
from training.conversations import (
    FIRST_WORD,
    LAST_WORD,
    LATENCY,
    OFFLINE,
    VIEWS,
    Heard,
    Listener,
    evaluate_conversations,
    evaluation_of,
    hear_live,
    listen,
    read_live,
)
from training.corpora import default_data
from training.scoring import LOSSES, MEASURES, Shown
from training.simulate import Recording

SIZE = 4


class Ear:
    """A stand-in for the model whose answer depends on what it hears."""

    def embed(self, fragments: Sequence[Pcm]) -> list[np.ndarray]:
        return [np.array([np.log1p(np.abs(f[k::SIZE].astype(float)).mean()) for k in range(SIZE)]) for f in fragments]


@pytest.fixture(scope="module")
def listener() -> Listener:
    alone, known = np.random.default_rng(1).standard_normal((2, SIZE + 1, len(EMOTIONS))).astype(np.float32)
    return Listener(LocalDiariser(), Ear(), EmotionHead("test", 0.3, alone, known, (1.0, 1.0)))


@pytest.fixture(scope="module")
def heard(listener: Listener, tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """A conversation of two synthetic talkers of 25 s, heard in every way."""
    folder = tmp_path_factory.mktemp("recordings")
    voices = {
        talker.name: [
            Recording(write_wav(folder / f"{talker.name}{n}.wav", talker.say(2.5, n)), talker.name, EMOTIONS[n])
            for n in range(6)
        ]
        for talker in (LOW, HIGH)
    }
    return listen(voices, 25.0, 3, listener, {})


def turn(number: int, speaker: int, start: float, end: float) -> Turn:
    return Turn(id=number, speaker=speaker, start=start, end=end)


def test_told_live_readings_know_only_what_came_before(listener: Listener) -> None:
    pcm = np.random.default_rng(0).integers(-9_000, 9_000, 12 * SAMPLE_RATE, np.int16)
    turns = [turn(0, 1, 0, 1.8), turn(1, 2, 2, 2.4), turn(2, 2, 3, 4), turn(3, 1, 5, 9.5)]
    readings = read_live(pcm, turns, listener)
    assert [(one.start, one.end, one.heard) for one in readings if one.turn == 0] == [
        (0, 0.5, 0.5),
        (0.5, 1, 1),
        (1, 1.5, 1.5),
        (1.5, 1.8, 1.8),
    ]
    assert {(one.turn, one.mode, one.baseline) for one in readings} == {
        (0, "none", 0),
        (2, "none", 0),
        (3, "causal", 1.8),
    }
    assert max(one.heard for one in readings) == LONGEST


def test_the_first_word_owes_nothing_to_what_comes_later(
    small_conversation: tuple[Pcm, list[Said]], listener: Listener
) -> None:
    pcm, cut = small_conversation[0], 15.0
    _, first = hear_live(pcm, listener)
    _, of_the_beginning = hear_live(pcm[: round(cut * SAMPLE_RATE)], listener)
    known = round((cut - LATENCY) * 100)
    np.testing.assert_array_equal(first.speakers[:known], of_the_beginning.speakers[:known])
    np.testing.assert_array_equal(first.emotions[:known], of_the_beginning.emotions[:known])
    assert first.speakers.any()


def test_the_first_word_stays_what_it_was(heard: Heard) -> None:
    last = Shown.of(heard.live, heard.seconds)
    assert len(last.speakers) == len(heard.first.speakers)
    assert (last.speakers > 0).sum() >= (heard.first.speakers > 0).sum() > 0


def test_nothing_is_heard_in_silence(listener: Listener) -> None:
    for seconds in (0.0, 0.3, 7.2):
        page, first = hear_live(silence(seconds), listener)
        assert (page.turns, page.readings, page.ended) == ({}, [], True)
        assert not first.speakers.any()
        assert (first.emotions == -1).all()


def test_talkers_that_differ_get_the_right_speaker_in_every_way(heard: Heard) -> None:
    for name, counts in heard.tallies().items():
        apart = [getattr(counts, part) for part in LOSSES.values()]
        assert sum(apart) + counts.right == counts.spoken
        assert counts.right_speaker > 0.8 * counts.spoken, name
        assert counts.right_speaker == counts.spoken - counts.missed - counts.wrong_speaker
    assert {reading.mode for reading in heard.told_live} == {"none", "causal"}
    assert {reading.mode for reading in heard.told_offline} == {"full"}


def test_every_reading_is_there_to_look_into(heard: Heard) -> None:
    for readings in (heard.live.readings, heard.offline.readings, heard.told_live, heard.told_offline):
        assert len(readings) > 10
        assert all(sum(reading.probabilities) == pytest.approx(1, abs=1e-3) for reading in readings)


def test_an_evaluation_is_told_as_json_and_as_tables(heard: Heard) -> None:
    evaluation = evaluation_of([heard], "a test", "shipped", {"live": 1.23}, seed=1)
    figures = json.loads(json.dumps(evaluation.as_dict()))
    assert list(figures["views"]) == list(VIEWS) == [LAST_WORD, FIRST_WORD, OFFLINE]
    assert figures["speakers"] == 2
    assert set(figures["views"][OFFLINE]["measures"]) == set(MEASURES)
    assert "heard" not in figures
    console = Console(file=io.StringIO(), width=160)
    evaluation.show(console)
    told = console.file.getvalue()
    for words in (*MEASURES, *LOSSES, *VIEWS, "largest loss", "a test", "live took 1 s"):
        assert words in told


@pytest.mark.skipif(not (default_data() / "ravdess").is_dir(), reason="RAVDESS is not on this machine (TONETRACK_DATA)")
def test_the_shipped_model_is_heard_out(tmp_path: Path) -> None:
    told: list[float] = []
    evaluation = evaluate_conversations(
        [(None, ("01", "02", "03"))],
        default_data() / "ravdess",
        None,
        conversations=1,
        seconds=20.0,
        speakers=2,
        on_progress=lambda step, share: told.append(share),
        cache=tmp_path,
    )
    assert evaluation.projection == "as shipped"
    assert evaluation.conversations == 1
    assert evaluation.speakers == 2
    assert evaluation.views[LAST_WORD].measures["right speaker"].value > 0.3
    assert told == sorted(told)
    assert told[-1] == 1
    assert not list(tmp_path.iterdir()), "nothing is fitted"
