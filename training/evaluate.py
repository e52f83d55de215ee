"""How well a recipe hears unknown speakers: parts first, then a scalar, then how uncertain that scalar is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy.special import log_softmax

from pipeline.emotion import mixed
from pipeline.timeline import EMOTIONS
from training.crossvalidation import Answers
from training.folds import Folds
from training.fragments import CONDITIONS, LENGTHS, WHOLE

Probabilities = NDArray[np.float32]

MODES: Final = ("none", "causal", "full")  # what is known of the speaker; see `pipeline.timeline.Mode`
REFERENCE: Final = "2 s"  # the length at which one figure is asked for
COVERAGE: Final = 0.7  # share of the surest answers that are judged apart
BOOTSTRAPS: Final = 2000
CALIBRATION_BINS: Final = 10


@dataclass(frozen=True)
class Rate:
    """A share and the 95 % interval that resampling whole speakers gives it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True)
class Hearing:
    """How well fragments of one condition were heard in one mode."""

    fragments: int
    confusion: list[list[int]]  # rows: spoken as, columns: heard as, in the order of EMOTIONS
    recall: dict[str, float]  # of each emotion that was spoken
    uar: Rate  # unweighted average recall: the mean of `recall`
    war: Rate  # weighted: the share of fragments heard right
    calibration_error: float  # ECE of the top label in ten bins
    asserted: float  # share of fragments that are not answered with "unsure"
    asserted_war: float  # of those, heard right
    unsure_war: float  # of what "unsure" held back
    surest_uar: float  # UAR of the surest share COVERAGE


@dataclass(frozen=True)
class Calibration:
    """The numbers that serving takes from an evaluation."""

    temperature_alone: float
    temperature_known: float
    unsure_below: float

    @property
    def temperatures(self) -> tuple[float, float]:
        """Of the map for an unknown voice and of that for a known one."""
        return self.temperature_alone, self.temperature_known


@dataclass(frozen=True)
class Evaluation:
    """Everything that cross-validation tells of a recipe."""

    calibration: Calibration
    hearing: dict[str, dict[str, Hearing]]  # by condition, then by mode
    by_speaker: dict[str, dict[str, float]]  # UAR of whole clips, by mode
    by_sex: dict[str, dict[str, Rate]]  # the same
    folds: Folds
    fold_calibrations: list[Calibration]  # what all other folds ask of each
    title: str

    @property
    def speakers(self) -> int:
        """How many were answered for."""
        return len(self.by_speaker)

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dicts of numbers, for JSON."""
        return asdict(self)

    def show(self, console: Console) -> None:
        """Print the tables."""
        columns = ("heard", "mode", "UAR", "95 %", "WAR", "ECE", "sure", "right", "top")
        rows = [
            (
                condition if mode == MODES[0] else "",
                mode,
                _short(h.uar.value),
                f"{_short(h.uar.low)}-{_short(h.uar.high)}",
                *map(_short, (h.war.value, h.calibration_error, h.asserted, h.asserted_war, h.surest_uar)),
            )
            for condition, by_mode in self.hearing.items()
            for mode, h in by_mode.items()
        ]
        console.print(_table(f"{self.speakers} {self.title}", columns, rows))
        console.print('95 %: over speakers. sure: not "unsure"; right: of those. top: UAR of the surest 70 %.\n')
        reference = self.hearing[REFERENCE]
        rows = [(e, *(f"{h.recall.get(e, float('nan')):.2f}" for h in reference.values())) for e in EMOTIONS]
        console.print(_table(f"Recall of each emotion, {REFERENCE}", ("emotion", *reference), rows))
        for mode, h in reference.items():
            rows = [(e, *map(str, counts)) for e, counts in zip(EMOTIONS, h.confusion, strict=True)]
            console.print(_table(f"Spoken (rows) and heard (columns), {REFERENCE}, mode {mode}", ("", *EMOTIONS), rows))
        rows = [(sex, *map(str, rates.values())) for sex, rates in self.by_sex.items()]
        rows += [(speaker, *(f"{uar:.3f}" for uar in uars.values())) for speaker, uars in self.by_speaker.items()]
        console.print(_table("UAR of whole clips by speaker", ("speaker", *reference), rows))


def evaluate(answers: Answers, folds: Folds, sexes: Mapping[str, str | None], seed: int, asserted: float) -> Evaluation:
    """What out-of-fold answers are worth. `asserted`: the share of readings that shall not be "unsure".

    Every fold is judged with the temperatures and the threshold that the other folds' answers ask for, so that nobody
    judges their own calibration; `calibration` is what all of them ask for together.
    """
    calibrations = [calibrate(answers, ~np.isin(answers.speakers, fold), asserted) for fold in folds]
    everybody = calibrate(answers, np.ones(len(answers.labels), bool), asserted)
    title = "speakers, each answered for by a model that never heard them"
    return _judge(answers, everybody, folds, calibrations, sexes, seed, title)


def evaluate_as_is(
    answers: Answers, calibration: Calibration, sexes: Mapping[str, str | None], seed: int
) -> Evaluation:
    """What a finished model's answers are worth with the calibration that it has."""
    everybody = (tuple(sorted(set(answers.speakers.tolist()))),)
    return _judge(answers, calibration, everybody, [calibration], sexes, seed, "speakers, heard by a finished model")


def crossfitted(
    answers: Answers, folds: Folds, calibrations: Sequence[Calibration]
) -> tuple[dict[str, Probabilities], dict[str, NDArray[np.bool_]]]:
    """By mode, the probabilities of each fold's answers with the fold's own calibration, and which are asserted."""
    probabilities = {mode: np.empty_like(answers.alone) for mode in MODES}
    sure = {mode: np.empty(len(answers.labels), bool) for mode in MODES}
    for fold, calibration in zip(folds, calibrations, strict=True):
        here = np.isin(answers.speakers, fold)
        for mode, calibrated in by_mode(answers, calibration).items():
            probabilities[mode][here] = calibrated[here]
            sure[mode][here] = calibrated[here].max(axis=1) >= calibration.unsure_below
    return probabilities, sure


def within(answers: Answers, emotions: Collection[str]) -> Answers:
    """The answers as they would be, were these the only emotions: for a corpus that has fewer of them."""
    foreign = ~np.isin(EMOTIONS, list(emotions))
    logits = {name: np.where(foreign, -1e9, getattr(answers, name)) for name in ("alone", "causal", "full")}
    return replace(answers, **logits)


def _judge(
    answers: Answers,
    calibration: Calibration,
    folds: Folds,
    fold_calibrations: Sequence[Calibration],
    sexes: Mapping[str, str | None],
    seed: int,
    title: str,
) -> Evaluation:
    probabilities, sure = crossfitted(answers, folds, fold_calibrations)

    def heard(mode: str, where: NDArray[np.bool_]) -> Hearing:
        return hear(probabilities[mode][where], sure[mode][where], answers.labels[where], answers.speakers[where], seed)

    hearing = {
        condition: {mode: heard(mode, answers.conditions == condition) for mode in MODES} for condition in CONDITIONS
    }
    whole = answers.conditions == WHOLE
    speakers = sorted(set(answers.speakers.tolist()))
    of_sex = {sex: np.array([sexes.get(str(s)) == sex for s in answers.speakers]) for sex in ("female", "male")}
    return Evaluation(
        calibration,
        hearing,
        {s: {m: heard(m, whole & (answers.speakers == s)).uar.value for m in MODES} for s in speakers},
        {sex: {m: heard(m, whole & where).uar for m in MODES} for sex, where in of_sex.items() if where.any()},
        folds,
        list(fold_calibrations),
        title,
    )


def by_mode(answers: Answers, calibration: Calibration) -> dict[str, Probabilities]:
    """Calibrated probabilities, (n, 8), as `EmotionHead.probabilities` gives them in each mode."""
    nothing = np.zeros(len(answers.labels), np.float32)
    known = {
        "none": (answers.full, nothing),
        "causal": (answers.causal, answers.causal_trust),
        "full": (answers.full, answers.full_trust),
    }
    return {mode: mixed(answers.alone, *known[mode], calibration.temperatures) for mode in MODES}


def calibrate(answers: Answers, where: NDArray[np.bool_], asserted: float) -> Calibration:
    """Temperatures that make the answers of clean speech likeliest, and the threshold that so large a share passes."""
    chosen = where & np.isin(answers.conditions, (*LENGTHS, WHOLE))
    alone, known = (fit_temperature(logits[chosen], answers.labels[chosen]) for logits in (answers.alone, answers.full))
    live = mixed(answers.alone, answers.causal, answers.causal_trust, (alone, known))[chosen].max(axis=1)
    return Calibration(alone, known, float(np.quantile(live, 1 - asserted)))


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """What to divide logits by so that they are likeliest (Guo et al. 2017, arXiv 1706.04599)."""

    def loss(log_temperature: float) -> float:
        likelihood = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(likelihood[np.arange(len(labels)), labels].mean())

    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def hear(
    probabilities: Probabilities,
    sure: NDArray[np.bool_],
    labels: NDArray[np.int64],
    speakers: NDArray[np.str_],
    seed: int,
) -> Hearing:
    """Count: all four arrays have n rows, and `sure` is false where the answer is "unsure"."""
    answers = probabilities.argmax(axis=1)
    right = answers == labels
    confidence = probabilities.max(axis=1)
    confusion = _confusion(answers, labels)
    recall = _recall(confusion)
    surest = confidence >= np.quantile(confidence, 1 - COVERAGE)
    return Hearing(
        len(labels),
        confusion.astype(int).tolist(),
        {emotion: float(share) for emotion, share in zip(EMOTIONS, recall, strict=True) if not np.isnan(share)},
        *rates(answers, labels, speakers, seed),
        calibration_error(confidence, right),
        float(sure.mean()),
        float(right[sure].mean()) if sure.any() else float("nan"),
        float(right[~sure].mean()) if not sure.all() else float("nan"),
        float(np.nanmean(_recall(_confusion(answers[surest], labels[surest])))),
    )


def rates(
    answers: NDArray[np.int64], labels: NDArray[np.int64], speakers: NDArray[np.str_], seed: int
) -> tuple[Rate, Rate]:
    """UAR and WAR of answers, (n,), with intervals from resampling speakers."""
    by_speaker = np.array([_confusion(answers[speakers == s], labels[speakers == s]) for s in np.unique(speakers)])
    uar = _with_interval(by_speaker, lambda counts: np.nanmean(_recall(counts), axis=-1), seed)
    right = _with_interval(by_speaker, lambda counts: np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1)), seed)
    return uar, right


def calibration_error(confidence: NDArray[Any], right: NDArray[np.bool_]) -> float:
    """Expected calibration error of the top label, ten bins of equal width (arXiv 1706.04599, equation 3)."""
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = (abs(float((right[bins == b] - confidence[bins == b]).sum())) for b in range(CALIBRATION_BINS))
    return sum(gaps) / len(right)


def _confusion(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (labels, answers), 1)
    return counts


def _recall(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 8, 8) -> (..., 8), not a number where an emotion was never spoken."""
    with np.errstate(invalid="ignore"):
        recall: NDArray[np.float64] = np.diagonal(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=-1)
    return recall


def _with_interval(
    by_speaker: NDArray[np.float64], measure: Callable[[NDArray[np.float64]], NDArray[np.float64]], seed: int
) -> Rate:
    """What `measure` makes of confusions (..., 8, 8), with the interval of drawing as many speakers again and again."""
    drawn = np.random.default_rng(seed).integers(len(by_speaker), size=(BOOTSTRAPS, len(by_speaker)))
    times = np.stack([np.bincount(speakers, minlength=len(by_speaker)) for speakers in drawn])
    low, high = np.percentile(measure(np.tensordot(times, by_speaker, 1)), (2.5, 97.5))
    return Rate(float(measure(by_speaker.sum(axis=0))), float(low), float(high))


def _short(share: float) -> str:
    """Three digits without the nought before them, so that all columns fit on an old terminal."""
    return f"{share:.3f}".lstrip("0")


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # a speaker is called what a file calls them
    return table
