from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.baseline import PRIOR_SECONDS, SpeakerBaseline
from pipeline.emotion import EmotionHead
from pipeline.timeline import EMOTIONS
from tests.training.synthetic import TINY, fragments
from training.config import TimNetRecipe, Training
from training.corpora import Clip
from training.crossvalidation import FOLDS, Answers, answer, folds_of, run_folder
from training.folds import RAVDESS_FOLDS
from training.fragments import Fragments

SIZE = 3


@pytest.fixture(scope="module")
def head() -> EmotionHead:
    alone, known = np.random.default_rng(1).standard_normal((2, SIZE + 1, len(EMOTIONS))).astype(np.float32)
    return EmotionHead("test", 0.3, alone, known, (0.7, 1.9))


@pytest.fixture(scope="module")
def heard() -> Fragments:
    """Four fragments of each of two speakers in each of two conditions, in a random order."""
    made = fragments(places=2, cuts=1)
    mixed = np.random.default_rng(2).permutation(len(made))
    return replace(made, conditions=np.where(made.places, "room", "1 s")).take(mixed)


@pytest.fixture(scope="module")
def embeddings(heard: Fragments) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((len(heard), SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def answers(head: EmotionHead, heard: Fragments, embeddings: np.ndarray) -> Answers:
    return answer(head, embeddings, heard, seed=1)


def groups(heard: Fragments) -> list[np.ndarray]:
    """The rows of each speaker in each condition."""
    return [
        np.flatnonzero((heard.conditions == condition) & (heard.speakers == speaker))
        for condition in ("1 s", "room")
        for speaker in ("a", "b")
    ]


def test_answers_keep_the_order_of_the_fragments(heard: Fragments, answers: Answers) -> None:
    for name in ("conditions", "labels", "speakers", "clips"):
        assert getattr(answers, name).tolist() == getattr(heard, name).tolist()


def test_alone_a_fragment_is_what_the_map_for_unknown_voices_says(
    head: EmotionHead, embeddings: np.ndarray, answers: Answers
) -> None:
    np.testing.assert_allclose(answers.alone, embeddings @ head.alone[:-1] + head.alone[-1], rtol=1e-4, atol=1e-5)


def test_in_full_it_is_set_against_all_clips_of_its_speaker_in_its_condition(
    head: EmotionHead, heard: Fragments, embeddings: np.ndarray, answers: Answers
) -> None:
    for rows in groups(heard):
        baseline = SpeakerBaseline.of(embeddings[rows], heard.seconds[rows])
        seconds = heard.seconds[rows].sum()
        for row in rows:
            np.testing.assert_allclose(answers.full[row], head.logits(embeddings[row], baseline)[1], rtol=1e-5)
            assert answers.full_trust[row] == pytest.approx(seconds / (seconds + PRIOR_SECONDS))


def test_causally_it_is_set_against_what_was_said_before_and_trust_rises(
    head: EmotionHead, heard: Fragments, embeddings: np.ndarray, answers: Answers
) -> None:
    for rows in groups(heard):
        in_order = rows[np.argsort(answers.causal_trust[rows])]
        assert answers.causal_trust[in_order[0]] == 0
        assert (np.diff(answers.causal_trust[in_order]) > 0).all()
        for number, row in enumerate(in_order):
            before = in_order[:number]
            baseline = SpeakerBaseline.of(embeddings[before], heard.seconds[before])
            assert answers.causal_trust[row] == pytest.approx(baseline.trust)
            np.testing.assert_allclose(
                answers.causal[row], head.logits(embeddings[row], baseline)[1], rtol=1e-3, atol=1e-4
            )


def test_a_seed_decides_the_order_in_which_clips_are_heard(
    head: EmotionHead, heard: Fragments, embeddings: np.ndarray, answers: Answers
) -> None:
    again, other = (answer(head, embeddings, heard, seed).causal_trust for seed in (1, 2))
    assert again.tolist() == answers.causal_trust.tolist()
    assert other.tolist() != answers.causal_trust.tolist()


def test_answers_of_folds_are_joined(answers: Answers) -> None:
    joined = Answers.joined([answers, answers])
    assert len(joined.labels) == 2 * len(answers.labels)
    np.testing.assert_array_equal(joined.full[len(answers.labels) :], answers.full)


def actors(count: int) -> list[Clip]:
    return [
        Clip(Path(f"{number:02d}-{take}.wav"), f"{number:02d}", "calm", "male" if number % 2 else "female")
        for number in range(1, count + 1)
        for take in range(2)
    ]


def test_ravdess_s_twenty_actors_have_folds_of_their_own() -> None:
    assert folds_of(Training(), actors(20)) == RAVDESS_FOLDS


@pytest.mark.parametrize(
    ("corpus", "count", "folds"), [("ravdess", 12, FOLDS), ("emo-db", 20, FOLDS), ("labelled", 3, 3)]
)
def test_other_folds_are_drawn_by_the_seed(corpus: str, count: int, folds: int) -> None:
    recipe, clips = Training(corpus=corpus), actors(count)
    drawn = folds_of(recipe, clips)
    assert len(drawn) == folds
    assert sorted(speaker for fold in drawn for speaker in fold) == sorted({clip.speaker for clip in clips})
    assert folds_of(recipe, clips[::-1]) == drawn
    if count > folds:
        assert folds_of(recipe.model_copy(update={"seed": 2}), clips) != drawn


def test_more_actors_than_emobox_s_folds_name_are_dealt_to_them() -> None:
    folds = folds_of(Training(), actors(24))
    assert [fold[: len(own)] for fold, own in zip(folds, RAVDESS_FOLDS, strict=True)] == list(RAVDESS_FOLDS)
    assert [len(fold) for fold in folds] == [4, 4, 4, 4, 4, 4]


def test_a_file_of_folds_comes_before_all_others(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps([list(range(1, 20, 2)), list(range(2, 21, 2))]))
    folds = folds_of(Training(folds=path), actors(20))
    assert [len(fold) for fold in folds] == [10, 10]
    assert folds[1][0] == "02"


def recordings(folder: Path) -> list[Clip]:
    """Files that only their names and sizes are asked of."""
    folder.mkdir()
    clips = [replace(clip, path=folder / clip.path) for clip in actors(20)]
    for clip in clips:
        clip.path.write_bytes(b"sound")
    return clips


def test_another_recipe_corpus_or_choice_of_folds_is_kept_elsewhere(tmp_path: Path) -> None:
    recipe, clips = Training(runs=tmp_path), recordings(tmp_path / "here")
    folds = folds_of(recipe, clips)
    place = run_folder(recipe, clips, folds)
    assert place.parent == tmp_path
    assert place.name.startswith("tone-net-ravdess-")
    others = [
        run_folder(recipe.model_copy(update={"tone_net": TINY}), clips, folds),
        run_folder(recipe.model_copy(update={"seed": 2}), clips, folds),
        run_folder(recipe.model_copy(update={"model": "tim-net"}), clips, folds),
        run_folder(recipe, clips[:-1], folds),
        run_folder(recipe, clips, folds[::-1]),
        run_folder(recipe, recordings(tmp_path / "there"), folds),
    ]
    clips[0].path.write_bytes(b"another sound")
    others.append(run_folder(recipe, clips, folds))
    assert len({place, *others}) == 8


def test_where_and_how_fast_a_recipe_runs_is_no_part_of_it(tmp_path: Path) -> None:
    recipe, clips = Training(runs=tmp_path), recordings(tmp_path / "here")
    elsewhere = recipe.model_copy(
        update={"workers": 3, "gpus": 1.0, "asserted": 0.5, "tim_net": TimNetRecipe(epochs=1)}
    )
    assert run_folder(recipe, clips, RAVDESS_FOLDS) == run_folder(elsewhere, clips, RAVDESS_FOLDS)
