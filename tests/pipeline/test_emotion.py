from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.emotion import CIRCUMPLEX, METADATA, SHIPPED, EmotionModel, ModelMismatch, affect, label_of
from pipeline.timeline import EMOTIONS, SAMPLE_RATE, UNSURE


@pytest.fixture(scope="module")
def model() -> EmotionModel:
    return EmotionModel.load()


def voice(seconds: float, pitch: float = 150.0) -> np.ndarray:
    """A buzz with vibrato over a little noise: float32, 16 kHz."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * pitch * time + 3 * np.sin(2 * np.pi * 4 * time)
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * buzz * (1.2 + np.sin(7 * time)) + 0.002 * noise).astype(np.float32)


def certain(emotion: str) -> np.ndarray:
    return np.eye(len(EMOTIONS))[EMOTIONS.index(emotion)]


def test_a_row_of_probabilities_for_every_fragment(model: EmotionModel) -> None:
    probabilities = model.probabilities([voice(0.5), voice(4.0), voice(1.7)])
    assert probabilities.shape == (3, 8)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert model.probabilities([]).shape == (0, 8)


@pytest.mark.parametrize("mates", [1, 2, 7, 20])
def test_batch_mates_make_no_difference(model: EmotionModel, mates: int) -> None:
    fragment = voice(1.3)
    alone = model.probabilities([fragment])[0]
    among = model.probabilities([fragment, *(voice(4.0, pitch=100.0 + 10 * mate) for mate in range(mates))])[0]
    np.testing.assert_allclose(among, alone, atol=1e-4)


def test_level_makes_no_difference(model: EmotionModel) -> None:
    fragment = voice(2.0)
    loud, quiet = model.probabilities([fragment, np.float32(0.1) * fragment])
    np.testing.assert_allclose(quiet, loud, atol=1e-4)


def test_of_a_long_fragment_the_end_is_heard(model: EmotionModel) -> None:
    fragment = voice(6.0)
    whole, end = model.probabilities([fragment, fragment[-4 * SAMPLE_RATE :]])
    np.testing.assert_allclose(whole, end, atol=1e-4)


def test_silence_has_probabilities_too(model: EmotionModel) -> None:
    assert np.isfinite(model.probabilities([np.zeros(SAMPLE_RATE, np.float32)])).all()


def test_weights_for_other_features_are_refused(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    metadata = json.loads((tmp_path / METADATA).read_text())
    metadata["features"]["hop"] = 512
    (tmp_path / METADATA).write_text(json.dumps(metadata))
    with pytest.raises(ModelMismatch, match="'hop': 512"):
        EmotionModel.load(tmp_path)


def test_the_shipped_model_tells_its_version_and_threshold(model: EmotionModel) -> None:
    assert model.version == "tim-net-1"
    assert 1 / 8 < model.unsure_below < 1


def test_the_label_is_the_likeliest_emotion_or_unsure() -> None:
    probabilities = np.full(8, 0.05)
    probabilities[EMOTIONS.index("happy")] = 0.65
    assert label_of(probabilities, unsure_below=0.6) == "happy"
    assert label_of(probabilities, unsure_below=0.65) == "happy"
    assert label_of(probabilities, unsure_below=0.7) == UNSURE


def test_affect_is_the_mean_over_the_circumplex() -> None:
    assert affect(certain("angry")) == CIRCUMPLEX["angry"]
    assert affect(certain("neutral")) == (0, 0)
    valence, arousal = affect((certain("happy") + certain("sad")) / 2)
    assert (valence, arousal) == pytest.approx((0.1, 0.1))


def test_labels_and_affect_need_no_tensorflow() -> None:
    code = "import sys, pipeline.emotion; sys.exit(bool({'tensorflow', 'keras'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
