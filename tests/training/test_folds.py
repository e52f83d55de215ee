from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from training.folds import RAVDESS_FOLDS, Folds, clip_folds, read_folds, speaker_folds

FOUR = ("01", "02", "03", "10")


def written(folder: Path, content: object) -> Path:
    path = folder / "folds.json"
    path.write_text(json.dumps(content))
    return path


def sizes(folds: Folds) -> list[int]:
    return [len(fold) for fold in folds]


def test_ravdess_has_each_of_its_first_twenty_actors_once() -> None:
    everyone = [actor for fold in RAVDESS_FOLDS for actor in fold]
    assert sorted(everyone) == [f"{number:02d}" for number in range(1, 21)]


@pytest.mark.parametrize(
    "content",
    [
        [[1, 10], [3, 2]],
        [["01", "10"], ["3", "002"]],
        {"folds": [[1, "10"], ["03", 2]]},
        {"one": [1, 10], "two": [3, 2]},
    ],
)
def test_folds_are_read_in_any_layout_and_spelt_as_in_the_corpus(content: object, tmp_path: Path) -> None:
    assert read_folds(written(tmp_path, content), FOUR) == (("01", "10"), ("03", "02"))


def test_a_speaker_s_own_spelling_comes_before_leading_zeros(tmp_path: Path) -> None:
    assert read_folds(written(tmp_path, [["1"], ["01", "anna"]]), ["01", "1", "anna"]) == (("1",), ("01", "anna"))


def test_speakers_that_the_corpus_lacks_are_named_and_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, [[1, 2, 21], [3, 10, 22]])
    with pytest.warns(UserWarning, match=r"folds\.json: the corpus lacks these speakers, left out: 21, 22$"):
        folds = read_folds(path, FOUR)
    assert folds == (("01", "02"), ("03", "10"))


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        ([[1, 2], [3]], "in no fold, and so never tested: 10$"),
        ([[1, 2], [3, 10, "01"]], "more than once: 01$"),
        ([[1, 2, 1], [3, 10]], "more than once: 01$"),
        ([[1, 2, 3, 10], []], "fold 2 of 2 is empty"),
        ([[1, 2, 3, 10]], "two folds or more, not 1"),
        ({}, "two folds or more, not 0"),
        ([[1, 2.5], [3, 10]], "fold 1 holds 2.5, which is neither"),
        ([[1, True], [3, 10]], "fold 1 holds True, which is neither"),
        ([1, 2, 3, 10], "expected a list of lists"),
        ("01", "expected a list of lists"),
        ({"folds": 2}, "expected a list of lists"),
    ],
)
def test_what_is_wrong_with_folds_is_said(content: object, trouble: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"folds\.json: .*{trouble}"):
        read_folds(written(tmp_path, content), FOUR)


@pytest.mark.filterwarnings("ignore:.*the corpus lacks")
def test_a_fold_of_strangers_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fold 2 of 2 holds no speaker of the corpus"):
        read_folds(written(tmp_path, [[1, 2, 3, 10], [23, 24]]), FOUR)


@pytest.mark.parametrize("content", [b"[[1, 2], [3", b"\xff\xfe\x00"])
def test_what_is_no_json_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "folds.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"folds\.json: not JSON: "):
        read_folds(tmp_path / "folds.json", FOUR)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("women", "men", "others"), [(10, 10, 0), (5, 2, 0), (1, 9, 3), (0, 0, 7), (13, 0, 1)])
@pytest.mark.parametrize("count", [2, 3, 5, 7])
def test_folds_of_speakers_are_even_in_size_and_sex(women: int, men: int, others: int, count: int, seed: int) -> None:
    sexes = ["female"] * women + ["male"] * men + [None] * others
    speakers = {f"{number:02d}": sex for number, sex in enumerate(sexes)}
    folds = speaker_folds(speakers, count, seed)
    assert len(folds) == count
    assert sorted(speaker for fold in folds for speaker in fold) == sorted(speakers)
    assert max(sizes(folds)) - min(sizes(folds)) <= 1
    for sex in ("female", "male", None):
        of_sex = [sum(speakers[speaker] == sex for speaker in fold) for fold in folds]
        assert max(of_sex) - min(of_sex) <= 1


def test_a_seed_and_not_the_order_of_speakers_decides_the_folds() -> None:
    speakers: dict[str, str | None] = {f"{number:02d}": ("female", "male")[number % 2] for number in range(20)}
    backwards = dict(reversed(speakers.items()))
    assert speaker_folds(speakers, 5, seed=3) == speaker_folds(backwards, 5, seed=3)
    assert speaker_folds(speakers, 5, seed=3) != speaker_folds(speakers, 5, seed=4)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_there_are_two_folds_at_least_and_one_for_each_speaker_at_most(count: int) -> None:
    with pytest.raises(ValueError, match=rf"3 speakers can make 2 to 3 folds, not {count}"):
        speaker_folds({"a": None, "b": "male", "c": "female"}, count, seed=1)


@pytest.mark.parametrize("seed", range(3))
def test_folds_of_clips_hold_every_label_alike(seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1, 5], [40, 23, 80]))
    folds = clip_folds(labels, count=10, seed=seed)
    assert sorted(set(folds.tolist())) == list(range(10))
    for label in (0, 1, 5):
        of_label = Counter(folds[labels == label].tolist())
        assert max(of_label.values()) - min(of_label.values()) <= 1
    assert np.array_equal(folds, clip_folds(labels, count=10, seed=seed))
    assert not np.array_equal(folds, clip_folds(labels, count=10, seed=seed + 1))
