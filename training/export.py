"""What is shipped of a trained model: its weights, the numbers that serving needs, its card and the card's plots."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any, Final

import keras
import numpy as np

from pipeline.emotion import HEAD, METADATA, WEIGHTS
from pipeline.features import SETTINGS
from pipeline.fragments import LONGEST
from pipeline.timeline import EMOTIONS
from training import plots
from training.config import Training
from training.corpora import CORPORA
from training.crossvalidation import Answers
from training.evaluate import MODES, REFERENCE, Calibration, Evaluation, crossfitted
from training.fragments import LENGTHS, ROBUSTNESS, WHOLE

VERSION: Final = "tone-net-1"  # borne by every reading; raised whenever the shipped weights change
CARD: Final = Path(__file__).parent / "card.md"
TRIED: Final = CARD.with_name("tried.md")


def export(place: Path, evaluation: Evaluation, config: Training, output: Path) -> None:
    """Write a folder that `EmotionModel.load` and `EmotionHead.load` read, with figures and card.

    `place`: where network and head are kept. They have learnt from everybody whom the evaluation is about.
    """
    output.mkdir(parents=True, exist_ok=True)
    for file in (WEIGHTS, HEAD):
        shutil.copyfile(place / file, output / file)
    write_metadata(
        evaluation.calibration, config, evaluation.by_speaker.keys(), output, evaluation=evaluation.as_dict()
    )
    network = keras.saving.load_model(output / WEIGHTS, compile=False)
    (output / "README.md").write_text(card(network, evaluation, config))


def write_metadata(
    calibration: Calibration, config: Training, speakers: Iterable[str], output: Path, **figures: Any
) -> None:
    """Write what stands beside the weights, without which they are not loaded. `speakers`: whom they learnt from."""
    metadata = {
        "version": VERSION,
        "emotions": list(EMOTIONS),
        "features": SETTINGS,
        "calibration": asdict(calibration),
        "corpus": config.corpus,
        "speakers": sorted(speakers),
        "licence": CORPORA[config.corpus].licence,
        "recipe": config.model_dump(mode="json", exclude={"corpus_root", "folds", "runs", "workers", "gpus"}),
        **figures,
    }
    (output / METADATA).write_text(json.dumps(metadata, indent=1) + "\n")


def write_plots(answers: Answers, evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw the card's plots into a folder. Raises `plots.NoBrowser` where there is nothing to draw them with."""
    here = answers.conditions == REFERENCE
    probabilities = crossfitted(answers, evaluation.folds, evaluation.fold_calibrations)[0]["causal"][here]
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == answers.labels[here]
    hearing = evaluation.hearing[REFERENCE]["causal"]
    spans = {
        mode: {
            heard: (rate.value, rate.low, rate.high)
            for heard in (*LENGTHS, WHOLE)
            for rate in (evaluation.hearing[heard][mode].uar,)
        }
        for mode in MODES
    }
    threshold = evaluation.calibration.unsure_below
    figures = {
        "confusion": plots.confusion(np.array(hearing.confusion), "What unknown speakers said, and what was heard"),
        "reliability": plots.reliability(
            confidence, right, hearing.calibration_error, "How often it is right for how sure it is"
        ),
        "by-seconds": plots.by_seconds(spans, "More speech, and knowing the speaker, help"),
        "coverage": plots.coverage(confidence, right, threshold, "The fewer answers it dares, the more are right"),
    }
    return plots.write_svg(figures, folder)


def card(network: keras.Model, evaluation: Evaluation, config: Training) -> str:
    """The model card: `card.md` with this model's figures in it."""
    corpus = CORPORA[config.corpus]
    reference = evaluation.hearing[REFERENCE]
    return Template(CARD.read_text()).substitute(
        version=VERSION,
        corpus=f"{corpus.name} ({corpus.citation})",
        description=corpus.description,
        chance=f"{1 / len(reference['none'].recall):.3f}",
        tried=TRIED.read_text() if config.corpus == "ravdess" else "",
        licence=corpus.licence,
        speakers=evaluation.speakers,
        folds=len(evaluation.folds),
        weights=f"{network.count_params():,}",
        longest=f"{LONGEST:g}",
        temperatures=" and ".join(f"{temperature:.2f}" for temperature in evaluation.calibration.temperatures),
        unsure_below=f"{evaluation.calibration.unsure_below:.2f}",
        asserted=f"{config.asserted:.0%}",
        alone=reference["none"].uar,
        known=reference["causal"].uar,
        hearing=_hearing_table(evaluation, (*LENGTHS, WHOLE)),
        robustness=_hearing_table(evaluation, (REFERENCE, *ROBUSTNESS)),
        recall=_recall_table(evaluation),
        confidence=_confidence_table(evaluation),
        sexes=_table(
            ("speakers", *MODES), [(sex, *map(str, rates.values())) for sex, rates in evaluation.by_sex.items()]
        ),
        worst=_extreme(evaluation, min),
        best=_extreme(evaluation, max),
    )


def _hearing_table(evaluation: Evaluation, conditions: tuple[str, ...]) -> str:
    return _table(
        ("UAR of", *MODES), [(name, *(str(evaluation.hearing[name][m].uar) for m in MODES)) for name in conditions]
    )


def _recall_table(evaluation: Evaluation) -> str:
    by_mode = evaluation.hearing[REFERENCE]
    return _table(("emotion", *MODES), [(e, *(_share(by_mode[m].recall.get(e)) for m in MODES)) for e in EMOTIONS])


def _confidence_table(evaluation: Evaluation) -> str:
    return _table(
        ("heard", "mode", "ECE", "asserted", "right, of those", 'right, of "unsure"', "UAR of the surest 70 %"),
        [
            (
                heard,
                mode,
                f"{h.calibration_error:.3f}",
                *map(_share, (h.asserted, h.asserted_war, h.unsure_war, h.surest_uar)),
            )
            for heard in (*LENGTHS, WHOLE, *ROBUSTNESS)
            for mode in ("none", "causal")
            for h in (evaluation.hearing[heard][mode],)
        ],
    )


def _extreme(evaluation: Evaluation, choose: Callable[[Iterable[float]], float]) -> str:
    uars = {speaker: by_mode["causal"] for speaker, by_mode in evaluation.by_speaker.items()}
    return f"{choose(uars.values()):.2f}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def _share(share: float | None) -> str:
    return "-" if share is None or np.isnan(share) else f"{share:.2f}"
