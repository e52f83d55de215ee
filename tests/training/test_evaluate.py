from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.timeline import EMOTIONS
from training.evaluate import calibration_error, fit_temperature, hear, unsure_below


def test_recall_is_counted_per_emotion() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    answers = np.array([0, 0, 0, 1, 1, 0])
    hearing = hear(answers, labels, speakers=np.array(["a", "a", "b", "b", "a", "b"]), seed=0)
    assert hearing.recall == {"angry": 0.75, "calm": 0.5}
    assert hearing.uar.value == pytest.approx(0.625)
    assert hearing.war.value == pytest.approx(4 / 6)
    assert hearing.war.low <= hearing.war.value <= hearing.war.high


def test_one_speaker_leaves_no_interval() -> None:
    hearing = hear(np.array([0, 1]), np.array([0, 0]), np.array(["a", "a"]), seed=0)
    assert (hearing.uar.low, hearing.uar.value, hearing.uar.high) == (0.5, 0.5, 0.5)


def test_the_temperature_that_made_the_labels_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, len(EMOTIONS)))
    chances = softmax(logits, axis=1)
    labels = (chances.cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)
    assert calibration_error(chances, labels) < 0.01
    assert calibration_error(softmax(3 * logits, axis=1), labels) > 0.1


def test_confidence_is_asserted_down_to_the_accuracy_asked_for() -> None:
    probabilities = np.zeros((5, 8))
    probabilities[:, 0] = [0.9, 0.8, 0.7, 0.6, 0.5]
    labels = np.array([0, 0, 1, 0, 1])
    assert unsure_below(probabilities, labels, 0.75) == 0.6
    assert unsure_below(probabilities, labels, 0.99) == 0.8
    assert unsure_below(probabilities, np.ones(5, int), 0.75) == 1.0
