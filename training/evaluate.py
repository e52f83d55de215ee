"""How well a recipe hears unknown speakers: parts first, then a scalar, then how uncertain that scalar is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.optimize
from scipy.special import log_softmax, softmax

from pipeline.timeline import EMOTIONS
from training.config import TrainingConfig
from training.fragments import CONDITIONS, Fragments

BOOTSTRAPS = 2000
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Rate:
    """A share and the 95 % interval that resampling whole speakers gives it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Hearing:
    """How well fragments cut one way were heard."""

    fragments: int
    recall: dict[str, float]  # of each emotion
    uar: Rate  # unweighted average recall: the mean of `recall`
    war: Rate  # weighted: the share of fragments heard right


@dataclass(frozen=True)
class Confidence:
    """What the probabilities are worth, each fold's made with the temperature and threshold of the others."""

    calibration_error: float  # ECE of the top label in ten bins
    uncalibrated_error: float  # the same at temperature 1
    asserted: float  # share of fragments that are not answered with "unsure"
    asserted_accuracy: float
    unsure_accuracy: float  # of the top labels that "unsure" held back


@dataclass(frozen=True)
class Evaluation:
    """Everything that cross-validation tells of a recipe, and the two numbers that serving takes from it."""

    temperature: float
    unsure_below: float
    speakers: int
    hearing: dict[str, Hearing]  # by condition, in the order of CONDITIONS
    confidence: dict[str, Confidence]

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dicts of numbers, for JSON."""
        return asdict(self)


def evaluate_logits(logits: np.ndarray, fragments: Fragments, config: TrainingConfig) -> Evaluation:
    """Out-of-fold logits (n, 8) of `fragments` -> what they are worth."""
    labels, speakers = fragments.labels, fragments.speakers
    temperature = fit_temperature(logits, labels)
    crossfit = np.empty_like(logits)
    asserted = np.empty(len(labels), bool)
    for fold in config.folds:
        here = np.isin(speakers, fold)
        others_temperature = fit_temperature(logits[~here], labels[~here])
        crossfit[here] = softmax(logits[here] / others_temperature, axis=1)
        others = softmax(logits[~here] / others_temperature, axis=1)
        threshold = unsure_below(others, labels[~here], config.asserted_accuracy)
        asserted[here] = crossfit[here].max(axis=1) >= threshold

    hearing, confidence = {}, {}
    for condition in CONDITIONS:
        chosen = fragments.conditions == condition
        hearing[condition] = hear(logits[chosen].argmax(axis=1), labels[chosen], speakers[chosen], config.seed)
        confidence[condition] = _confidence(logits[chosen], crossfit[chosen], asserted[chosen], labels[chosen])
    return Evaluation(
        temperature,
        unsure_below(softmax(logits / temperature, axis=1), labels, config.asserted_accuracy),
        len(np.unique(speakers)),
        hearing,
        confidence,
    )


def hear(answers: np.ndarray, labels: np.ndarray, speakers: np.ndarray, seed: int) -> Hearing:
    """Recall of each emotion, their mean, and the share heard right; all three arrays are (n,)."""
    confusion_of = [
        _confusion(answers[speakers == speaker], labels[speakers == speaker]) for speaker in np.unique(speakers)
    ]
    by_speaker = np.array(confusion_of)
    recall = _recall(by_speaker.sum(axis=0))
    return Hearing(
        len(labels),
        {emotion: float(share) for emotion, share in zip(EMOTIONS, recall, strict=True) if not np.isnan(share)},
        _with_interval(by_speaker, lambda confusion: float(np.nanmean(_recall(confusion))), seed),
        _with_interval(by_speaker, lambda confusion: float(np.trace(confusion) / confusion.sum()), seed),
    )


def _confusion(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (labels, answers), 1)
    return counts


def _recall(confusion: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # an emotion that nobody spoke has no recall
        recall: np.ndarray = np.diag(confusion) / confusion.sum(axis=1)
    return recall


def _with_interval(by_speaker: np.ndarray, measure: Callable[[np.ndarray], float], seed: int) -> Rate:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(by_speaker), size=(BOOTSTRAPS, len(by_speaker)))
    low, high = np.percentile([measure(by_speaker[speakers].sum(axis=0)) for speakers in drawn], (2.5, 97.5))
    return Rate(measure(by_speaker.sum(axis=0)), float(low), float(high))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What to divide logits by so that they are likeliest (Guo et al. 2017, arXiv 1706.04599)."""

    def loss(log_temperature: float) -> float:
        likelihood = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(likelihood[np.arange(len(labels)), labels].mean())

    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def unsure_below(probabilities: np.ndarray, labels: np.ndarray, asserted_accuracy: float) -> float:
    """The lowest top probability down to which `asserted_accuracy` of answers are right, or 1 if none is."""
    confidence = probabilities.max(axis=1)
    surest_first = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[surest_first]
    accuracy = np.cumsum(right) / np.arange(1, len(right) + 1)
    enough = np.flatnonzero(accuracy >= asserted_accuracy)
    return float(confidence[surest_first[enough[-1]]]) if len(enough) else 1.0


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of the top label, ten bins of equal width (arXiv 1706.04599, equation 3)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [abs(float((right[bins == b] - confidence[bins == b]).sum())) for b in range(CALIBRATION_BINS)]
    return sum(gaps) / len(labels)


def _confidence(logits: np.ndarray, probabilities: np.ndarray, asserted: np.ndarray, labels: np.ndarray) -> Confidence:
    right = probabilities.argmax(axis=1) == labels
    return Confidence(
        calibration_error(probabilities, labels),
        calibration_error(softmax(logits, axis=1), labels),
        float(asserted.mean()),
        float(right[asserted].mean()) if asserted.any() else float("nan"),
        float(right[~asserted].mean()) if not asserted.all() else float("nan"),
    )
