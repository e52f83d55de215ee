from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import ray
from rich.progress import Progress

from pipeline.features import MEL_BANDS, features_of
from pipeline.timeline import EMOTIONS, SAMPLE_RATE
from tests.training.synthetic import fragments, write_clip
from training.config import Augmentation, Training
from training.config import Fragments as Cutting
from training.corpora import Clip
from training.crossvalidation import connect
from training.fragments import (
    CONDITIONS,
    LENGTHS,
    TRAINING,
    WHOLE,
    Fragments,
    clips_of,
    test_fragments,
    training_fragments,
)
from training.sound import speech

pytestmark = pytest.mark.long  # it takes a Ray to cut them

ALL_OF_IT = Cutting(shortest=9, longest=9, places=3, cuts=1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    """Of a corpus of two actors who make the same sounds: happy twice, the same way, and sad in another."""
    root = tmp_path_factory.mktemp("ravdess")
    for actor in ("01", "02"):
        write_clip(root, actor, "happy", 1, 200, 2.4)
        write_clip(root, actor, "happy", 2, 200, 2.4)
        write_clip(root, actor, "sad", 1, 120, 1.3)
    place = Augmentation(speeds=(1.0,), room=1, noise=1, equaliser=1, band=1)
    config = Training(corpus_root=root, runs=root / "runs", augmentation=place, fragments=ALL_OF_IT)
    connect(config)
    yield config
    ray.shutdown()


@pytest.fixture(scope="module")
def clips(recipe: Training) -> list[Clip]:
    return clips_of(recipe)


def of_training(recipe: Training, clips: list[Clip]) -> Fragments:
    with Progress(disable=True) as quiet:
        return training_fragments(recipe, clips, quiet)


def of_test(recipe: Training, clips: list[Clip]) -> Fragments:
    with Progress(disable=True) as quiet:
        return test_fragments(recipe, clips, quiet)


def frames_of(heard: Fragments, **wanted: object) -> list[np.ndarray]:
    """The frames of each fragment with these values."""
    chosen = np.logical_and.reduce([getattr(heard, name) == value for name, value in wanted.items()])
    return [heard.take(np.array([row])).frames for row in np.flatnonzero(chosen)]


def test_every_clip_is_tested_in_every_condition_and_in_its_middle(recipe: Training, clips: list[Clip]) -> None:
    heard = of_test(recipe, clips)
    assert len(heard) == len(clips) * len(CONDITIONS)
    for number, clip in enumerate(clips):
        of_clip = heard.take(heard.clips == number)
        assert of_clip.conditions.tolist() == list(CONDITIONS)
        assert set(of_clip.speakers) == {clip.speaker}
        assert {EMOTIONS[label] for label in of_clip.labels} == {clip.emotion}
        sound = speech(clip.path, recipe.fragments.margin)
        for condition, seconds in LENGTHS.items():
            samples = min(len(sound), round(seconds * SAMPLE_RATE))
            start = (len(sound) - samples) // 2
            expected = features_of(sound[start : start + samples])
            (row,) = np.flatnonzero(of_clip.conditions == condition)
            assert of_clip.seconds[row] == pytest.approx(samples / SAMPLE_RATE)
            np.testing.assert_allclose(of_clip.functionals[row], expected.functionals, rtol=1e-3, atol=1e-4)
            (frames,) = frames_of(of_clip, conditions=condition)
            np.testing.assert_allclose(frames, expected.frames, atol=2e-3)
        (whole,) = np.flatnonzero(of_clip.conditions == WHOLE)
        assert of_clip.seconds[whole] == pytest.approx(len(sound) / SAMPLE_RATE)


def test_a_speaker_is_in_one_place_at_a_time_and_everybody_in_another(recipe: Training, clips: list[Clip]) -> None:
    heard = of_training(recipe, clips)
    assert len(heard) == len(clips) * 3
    assert set(heard.conditions) == {TRAINING}
    happy = EMOTIONS.index("happy")
    in_places = []
    for speaker in ("01", "02"):
        for place in range(3):
            once, again = frames_of(heard, speakers=speaker, places=place, labels=happy)
            np.testing.assert_array_equal(once, again)
            in_places.append(once)
    as_recorded = features_of(speech(clips[0].path, recipe.fragments.margin)).frames
    np.testing.assert_allclose(in_places[0], as_recorded, atol=2e-3)
    np.testing.assert_allclose(in_places[3], as_recorded, atol=2e-3)
    for here, there in combinations([in_places[number] for number in (0, 1, 2, 4, 5)], 2):
        assert np.abs(here - there).mean() > 0.05


def test_cuts_are_of_random_length_and_place(recipe: Training, clips: list[Clip]) -> None:
    cutting = Cutting(shortest=0.6, longest=1.0, places=1, cuts=5)
    heard = of_training(recipe.model_copy(update={"fragments": cutting}), clips)
    assert heard.clips.tolist() == [number for number in range(len(clips)) for _ in range(5)]
    assert ((heard.seconds >= 0.6 - 1e-4) & (heard.seconds <= 1.0 + 1e-4)).all()
    assert len(set(heard.seconds.tolist())) == len(heard)
    assert (heard.places == 0).all()


def test_fragments_are_made_once_for_each_recipe(recipe: Training, clips: list[Clip]) -> None:
    folder = recipe.runs / "features"
    once = of_training(recipe, clips)
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = of_training(recipe.model_copy(update={"workers": 2, "asserted": 0.5}), clips)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == files
    for name in Fragments.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(once, name), getattr(again, name))
    fewer = recipe.model_copy(update={"fragments": Cutting(places=1, cuts=1)})
    assert len(of_training(fewer, clips)) == len(clips)
    assert len(list(folder.iterdir())) == len(files) + 1


@pytest.mark.parametrize("chosen", [np.array([3, 1, 1]), np.arange(16) % 3 == 0, np.zeros(16, bool)])
def test_some_fragments_can_be_taken_in_any_order(chosen: np.ndarray) -> None:
    everything = fragments(places=1)
    some = everything.take(chosen)
    numbers = np.arange(16)[chosen]
    assert len(some) == len(numbers)
    assert some.functionals[:, 0].tolist() == numbers.tolist()
    np.testing.assert_array_equal(some.frames[:, 0], np.repeat(numbers + 1, everything.lengths[numbers]))
    assert some.speakers.tolist() == everything.speakers[numbers].tolist()


def test_fragments_are_padded_to_the_longest_of_those_chosen() -> None:
    everything = fragments(places=1)
    chosen = np.array([5, 2, 9])
    inputs = everything.padded(chosen)
    lengths = everything.lengths[chosen]
    assert inputs["frames"].shape == (3, lengths.max(), MEL_BANDS)
    assert inputs["heard"].sum(axis=1).tolist() == lengths.tolist()
    assert inputs["functionals"][:, 0].tolist() == [5, 2, 9]
    for row, (number, length) in enumerate(zip(chosen, lengths, strict=True)):
        assert inputs["heard"][row, :length].all()
        assert (inputs["frames"][row, :length] == number + 1).all()
        assert not inputs["frames"][row, length:].any()


def test_a_corpus_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        clips_of(Training(corpus_root=tmp_path / "nowhere"))
