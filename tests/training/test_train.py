from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.progress import Progress
from typer.testing import CliRunner

from pipeline.emotion import EmotionModel
from pipeline.timeline import EMOTIONS, SAMPLE_RATE
from training.cli import app, recipe_of
from training.config import TrainingConfig
from training.corpora import Ravdess
from training.fragments import Batches, training_fragments

RATE = 24_000  # Hz, as RAVDESS is shared
ACTORS = ("01", "02")


def pitch_of(emotion: str) -> float:
    """Hz; a third between one emotion and the next."""
    return 150 * 1.25 ** EMOTIONS.index(emotion)


def tone(pitch: float, seconds: float, rate: int) -> np.ndarray:
    """A tone with harmonics: float32 (seconds * rate,)."""
    time = np.arange(round(seconds * rate)) / rate
    return sum(0.1 * np.sin(2 * np.pi * pitch * h * time) / h for h in range(1, 8)).astype(np.float32)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two actors with a pitch for each emotion, between silences, laid out like RAVDESS: the data folder."""
    silence = np.zeros(RATE // 4, np.float32)
    for actor in ACTORS:
        folder = tmp_path / "data" / "ravdess" / f"Actor_{actor}"
        folder.mkdir(parents=True)
        for code, emotion in Ravdess.emotion_of_code.items():
            clip = np.concatenate([silence, tone(pitch_of(emotion) + int(actor), 0.8, RATE), silence])
            soundfile.write(folder / f"03-01-{code}-01-01-01-{actor}.flac", clip, RATE)
    return tmp_path / "data"


@pytest.fixture
def recipe(tmp_path: Path, corpus: Path) -> Path:
    """A TOML file of a recipe that is over in seconds."""
    file = tmp_path / "tiny.toml"
    file.write_text(
        f"""
        data = "{corpus}"
        cache = "{tmp_path / "cache"}"
        folds = [["01"], ["02"]]
        variants = 1
        speeds = [1.0]
        room_share = 0.0
        noise_share = 0.0
        channels = 16
        scales = 1
        dropout = 0.0
        batch = 8
        epochs = 40
        learning_rate = 0.05
        """
    )
    return file


def test_from_clips_to_a_model_that_the_service_loads(tmp_path: Path, recipe: Path) -> None:
    output = tmp_path / "model"
    result = CliRunner().invoke(app, ["train", "--config", str(recipe), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert "2 speakers" in result.output

    metadata = json.loads((output / "model.json").read_text())
    heard_whole = metadata["evaluation"]["hearing"]["whole"]
    assert heard_whole["fragments"] == len(ACTORS) * len(EMOTIONS)
    assert heard_whole["uar"]["value"] > 0.25  # twice what guessing reaches
    assert "CC BY-NC-SA 4.0" in (output / "README.md").read_text()

    model = EmotionModel.load(output)
    fragments = [tone(pitch_of(emotion), 0.8, SAMPLE_RATE) for emotion in EMOTIONS]
    answers = model.probabilities(fragments).argmax(axis=1)
    assert (answers == np.arange(len(EMOTIONS))).sum() >= 4


def test_the_same_seed_gives_the_same_fragments_and_batches(recipe: Path, tmp_path: Path) -> None:
    config = TrainingConfig.read(recipe).model_copy(update={"room_share": 1.0, "noise_share": 1.0})
    runs = []
    for run in ("first", "second"):
        with Progress(disable=True) as quiet:
            fragments = training_fragments(config.model_copy(update={"cache": tmp_path / run}), quiet)
        runs.append(Batches(fragments, config, seed=3)[0])
    (first, first_labels), (second, second_labels) = runs
    np.testing.assert_array_equal(first["frames"], second["frames"])
    np.testing.assert_array_equal(first_labels, second_labels)


def test_options_go_over_the_file(recipe: Path) -> None:
    assert recipe_of(recipe, epochs=2, workers=None).epochs == 2
    assert recipe_of(recipe, epochs=None).epochs == 40
    assert recipe_of(None, data=None) == TrainingConfig()
