from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

from pipeline.timeline import EMOTIONS
from tests.training.synthetic import write_clip
from training.cli import app
from training.config import Training
from training.crossvalidation import folds_of, run_folder
from training.evaluate import Rate
from training.folds import clip_folds
from training.fragments import clips_of
from training.reproduction import CLIPS, SPEAKERS, Reproduction, reproduce
from training.tim_net import FOLDS

ACTORS = ("01", "02")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    """Of a corpus of two actors, each of them happy five times and sad five times."""
    root = tmp_path_factory.mktemp("ravdess")
    for actor in ACTORS:
        for repetition in range(5):
            write_clip(root, actor, "happy", repetition, 200 + 5 * repetition, 0.6)
            write_clip(root, actor, "sad", repetition, 120 + 5 * repetition, 0.6)
    yield Training(model="tim-net", corpus_root=root, runs=root / "runs")
    ray.shutdown()


def answered(recipe: Training, protocol: str, fold: int, answers: np.ndarray) -> Path:
    """Leave the answers of a fold where a run would."""
    clips = clips_of(recipe)
    place = run_folder(recipe, clips, folds_of(recipe, clips)) / protocol / f"fold-{fold}"
    place.mkdir(parents=True)
    np.save(place / "answers.npy", answers)
    return place


def reproduced(recipe: Training, protocol: str, only: list[int]) -> Reproduction:
    with Progress(disable=True) as quiet:
        return reproduce(recipe, protocol, only, quiet)


def test_folds_of_speakers_that_are_done_are_counted_and_not_done_again(recipe: Training, tmp_path: Path) -> None:
    """One of two unknown actors is heard right, of the other only the happy clips."""
    here = recipe.model_copy(update={"runs": tmp_path})
    happy = EMOTIONS.index("happy")
    for fold, (speaker,) in enumerate(folds_of(here, clips_of(here)), 1):
        labels = np.array([EMOTIONS.index(clip.emotion) for clip in clips_of(here) if clip.speaker == speaker])
        answered(here, SPEAKERS, fold, labels if speaker == "01" else np.full(10, happy))
    both = reproduced(here, SPEAKERS, [])
    assert (both.folds, both.of, both.clips) == ([1, 2], 2, 20)
    assert (both.uar.value, both.war.value) == (0.75, 0.75)
    assert sorted(both.by_fold) == [(0.5, 0.5), (1, 1)]
    second = reproduced(here, SPEAKERS, [2, 2])
    assert (second.folds, second.of, second.clips) == ([2], 2, 10)
    assert second.by_fold == both.by_fold[1:]


def test_folds_of_clips_are_ten_and_know_every_speaker(recipe: Training, tmp_path: Path) -> None:
    here = recipe.model_copy(update={"runs": tmp_path})
    labels = np.array([EMOTIONS.index(clip.emotion) for clip in clips_of(here)])
    fold_of = clip_folds(labels, FOLDS, here.seed)
    for fold in (3, 9):
        answered(here, CLIPS, fold, labels[fold_of == fold - 1])
    found = reproduced(here, CLIPS, [9, 3])
    assert (found.folds, found.of, found.clips, found.war.value) == ([3, 9], 10, 4, 1)


def test_a_fold_that_does_not_exist_is_an_error(recipe: Training) -> None:
    with pytest.raises(ValueError, match="there is no fold 11: there are 10"):
        reproduced(recipe, CLIPS, [2, 11])


@pytest.mark.parametrize(("protocol", "published"), [(CLIPS, True), (SPEAKERS, False)])
def test_the_published_figures_stand_beside_what_they_can_be_held_against(protocol: str, published: bool) -> None:
    rate = Rate(0.5, 0.4, 0.6)
    found = Reproduction(protocol, 500, [2], 10, 144, rate, rate, [(0.51, 0.52)])
    console = Console(file=io.StringIO(), width=120)
    found.show(console)
    told = console.file.getvalue()
    assert "TIM-Net, 500 epochs, 1 of 10 folds, 144" in told
    assert "0.510" in told
    assert "0.500 (0.400-0.600)" in told
    assert ("published" in told) == ("0.900" in told) == ("0.901" in told) == published
    assert json.loads(json.dumps(found.as_dict()))["uar"] == {"value": 0.5, "low": 0.4, "high": 0.6}


@pytest.mark.long
def test_one_fold_is_trained_once_and_then_known(recipe: Training, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [
        "evaluate", "emotion", "--model", "tim-net", "--protocol", "clips", "--fold", "1", "--epochs", "1",
        "--corpus-root", str(recipe.corpus_root), "--runs", str(tmp_path), "--report", str(report),
    ]  # fmt: skip
    once = CliRunner().invoke(app, command)
    assert once.exit_code == 0, once.output
    assert "published" in once.output
    figures = json.loads(report.read_text())
    assert (figures["epochs"], figures["folds"], figures["of"], figures["clips"]) == (1, [1], 10, 2)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(files) == 1
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == files
    assert json.loads(report.read_text()) == figures
