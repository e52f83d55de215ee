from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.features import MEL_BANDS
from pipeline.functionals import COUNT
from pipeline.timeline import EMOTIONS
from tests.training.synthetic import TINY, fragments
from training.batches import HEADS, SpeakerBatches
from training.config import ToneNetRecipe
from training.fragments import Fragments

FRAMES_A_SECOND = 40


@pytest.fixture(scope="module")
def heard() -> Fragments:
    """Four speakers, six clips each, in three places."""
    return fragments(("a", "b", "c", "d"), places=3, clips=6)


def rows_of(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Which fragments a batch holds: (batch,)."""
    return inputs["functionals"][:, 0].astype(int)


def some(heard: Fragments, epochs: int = 10, **choices: object) -> list[dict[str, np.ndarray]]:
    """The first batch of each of some epochs."""
    batches = SpeakerBatches(heard, TINY.model_copy(update=choices), seed=1)
    made = []
    for batches.epoch in range(epochs):
        made.append(batches[0][0])
    return made


def test_a_batch_has_every_input_and_every_answer(heard: Fragments) -> None:
    batches = SpeakerBatches(heard, TINY.model_copy(update={"speakers": 3, "clips": 5, "lengths": (0.8,)}), seed=1)
    inputs, labels = batches[0]
    assert {name: part.shape for name, part in inputs.items()} == {
        "frames": (15, 0.8 * FRAMES_A_SECOND, MEL_BANDS),
        "heard": (15, 0.8 * FRAMES_A_SECOND),
        "functionals": (15, COUNT),
        "history": (15,),
    }
    assert inputs["heard"].all()
    expected = np.eye(len(EMOTIONS))[heard.labels[rows_of(inputs)]]
    assert set(labels) == set(HEADS)
    for of_head in labels.values():
        np.testing.assert_array_equal(of_head, expected)


def test_an_epoch_hears_about_every_clip_once(heard: Fragments) -> None:
    assert len(SpeakerBatches(heard, TINY, seed=1)) == 24 // (2 * 4)
    assert len(SpeakerBatches(heard, TINY.model_copy(update={"clips": 50}), seed=1)) == 1


def test_speakers_come_one_after_another_each_in_one_place_and_with_other_clips(heard: Fragments) -> None:
    places = set()
    for inputs in some(heard):
        of_speaker = rows_of(inputs).reshape(TINY.speakers, TINY.clips)
        speakers = [set(heard.speakers[rows]) for rows in of_speaker]
        assert [len(names) for names in speakers] == [1, 1]
        assert speakers[0] != speakers[1]
        for rows in of_speaker:
            assert len(set(heard.places[rows])) == 1
            assert len(set(heard.clips[rows])) == TINY.clips
            places |= set(heard.places[rows].tolist())
    assert places == {0, 1, 2}


@pytest.mark.parametrize(("share", "places"), [(1.0, {0}), (0.0, {1, 2})])
def test_speakers_are_heard_elsewhere_as_often_as_the_recipe_says(
    share: float, places: set[int], heard: Fragments
) -> None:
    rows = np.concatenate([rows_of(inputs) for inputs in some(heard, as_recorded=share)])
    assert set(heard.places[rows].tolist()) == places


def test_of_each_speaker_some_fragments_are_known_and_at_least_one(heard: Fragments) -> None:
    numbers = set()
    for inputs in some(heard, 30):
        history = inputs["history"].reshape(TINY.speakers, TINY.clips)
        seconds = heard.seconds[rows_of(inputs)].reshape(history.shape)
        assert ((history == 0) | (history == seconds)).all()
        known = (history > 0).sum(axis=1)
        assert known.min() >= 1
        numbers |= set(known.tolist())
    assert numbers == {1, 2, 3, 4}


def test_a_seed_and_an_epoch_give_one_set_of_batches(heard: Fragments) -> None:
    recipe = TINY.model_copy(update={"masks": 2, "lengths": (0.5, 1.0)})
    batches, as_well = SpeakerBatches(heard, recipe, seed=3), SpeakerBatches(heard, recipe, seed=3)
    as_well[2]
    for name, part in batches[1][0].items():
        np.testing.assert_array_equal(part, as_well[1][0][name])
    first = rows_of(batches[1][0])
    assert not np.array_equal(first, rows_of(batches[0][0]))
    assert not np.array_equal(first, rows_of(SpeakerBatches(heard, recipe, seed=4)[1][0]))
    batches.epoch = 1
    assert not np.array_equal(first, rows_of(batches[1][0]))


def counting(heard: Fragments) -> Fragments:
    """The same, but the frames of each fragment are numbered from 0."""
    numbers = np.concatenate([np.arange(length) for length in heard.lengths])
    return replace(heard, frames=numbers[:, None].repeat(MEL_BANDS, axis=1).astype(np.float16))


def test_a_short_fragment_is_said_again_until_it_fills_and_a_long_one_is_cut(heard: Fragments) -> None:
    cut = repeated = 0
    for inputs in some(counting(heard), lengths=(1.0,)):
        for row, frames in zip(rows_of(inputs), inputs["frames"][:, :, 0].astype(int), strict=True):
            length = heard.lengths[row]
            assert frames.tolist() == [(frames[0] + step) % length for step in range(FRAMES_A_SECOND)]
            assert frames[0] <= max(0, length - FRAMES_A_SECOND)
            cut, repeated = cut + (length > FRAMES_A_SECOND), repeated + (length < FRAMES_A_SECOND)
    assert cut
    assert repeated


def test_the_cut_that_is_about_as_long_as_wanted_is_taken(heard: Fragments) -> None:
    for inputs in some(heard, lengths=(0.01,)):
        for row in rows_of(inputs):
            others = (heard.clips == heard.clips[row]) & (heard.places == heard.places[row])
            assert heard.seconds[row] == heard.seconds[others].min()


def test_masks_are_stretches_of_zeros_in_time_and_frequency(heard: Fragments) -> None:
    widest = {"time": 0, "frequency": 0}
    for inputs in some(heard, lengths=(1.0,), masks=1, longest_mask=0.25):
        for row, frames in zip(rows_of(inputs), inputs["frames"], strict=True):
            assert set(np.unique(frames)) <= {0, row + 1}
            for name, dark, longest in (
                ("time", np.flatnonzero(~frames.any(axis=1)), 10),
                ("frequency", np.flatnonzero(~frames.any(axis=0)), 16),
            ):
                assert len(dark) <= longest
                assert len(dark) == 0 or dark[-1] - dark[0] == len(dark) - 1
                widest[name] = max(widest[name], len(dark))
    assert widest["time"] > 5
    assert widest["frequency"] > 8


def test_few_speakers_and_few_clips_come_more_than_once() -> None:
    recipe: ToneNetRecipe = TINY.model_copy(update={"speakers": 3, "clips": 8})
    inputs, _ = SpeakerBatches(fragments(("a",), places=1, clips=2), recipe, seed=1)[0]
    assert len(inputs["history"]) == 24
