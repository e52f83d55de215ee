"""What is shipped of a trained model: its weights, the numbers that serving needs, and its card."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

import keras

from pipeline.emotion import LONGEST, METADATA, WEIGHTS
from pipeline.features import SETTINGS
from pipeline.timeline import EMOTIONS
from training.config import TrainingConfig
from training.corpora import CORPORA
from training.evaluate import Evaluation, Rate
from training.fragments import LENGTHS

VERSION = "tim-net-1"  # borne by every reading; raise it whenever the shipped weights change
CARD = Path(__file__).parent / "card.md"


def export(model: keras.Model, evaluation: Evaluation, config: TrainingConfig, output: Path) -> None:
    """Write a folder that `EmotionModel.load` reads."""
    output.mkdir(parents=True, exist_ok=True)
    bare = keras.Model.from_config(
        model.get_config()
    )  # without the optimiser's state, which is twice as large as the weights
    bare.set_weights(model.get_weights())
    bare.save(output / WEIGHTS)
    metadata = {
        "version": VERSION,
        "emotions": list(EMOTIONS),
        "features": SETTINGS,
        "temperature": evaluation.temperature,
        "unsure_below": evaluation.unsure_below,
        "corpus": config.corpus,
        "licence": CORPORA[config.corpus].licence,
        "recipe": config.model_dump(mode="json", exclude={"data", "cache", "workers"}),
        "evaluation": evaluation.as_dict(),
    }
    (output / METADATA).write_text(json.dumps(metadata, indent=1) + "\n")
    (output / "README.md").write_text(card(model, evaluation, config))


def card(model: keras.Model, evaluation: Evaluation, config: TrainingConfig) -> str:
    """The model card: `card.md` with this model's figures in it."""
    corpus = CORPORA[config.corpus]
    return Template(CARD.read_text()).substitute(
        version=VERSION,
        corpus=corpus.name,
        licence=corpus.licence,
        speakers=evaluation.speakers,
        folds=len(config.folds),
        weights=f"{model.count_params():,}",
        longest=f"{LONGEST:g}",
        temperature=f"{evaluation.temperature:.2f}",
        unsure_below=f"{evaluation.unsure_below:.2f}",
        asserted_accuracy=f"{config.asserted_accuracy:.0%}",
        hearing=_hearing_table(evaluation),
        recall=_recall_table(evaluation),
        confidence=_confidence_table(evaluation),
        summary=_rate(evaluation.hearing["2 s"].uar),
    )


def _hearing_table(evaluation: Evaluation) -> str:
    return _table(
        ("heard", "fragments", "UAR", "WAR"),
        [(name, str(h.fragments), _rate(h.uar), _rate(h.war)) for name, h in evaluation.hearing.items()],
    )


def _recall_table(evaluation: Evaluation) -> str:
    return _table(
        ("emotion", *LENGTHS),
        [(e, *(_share(evaluation.hearing[length].recall.get(e)) for length in LENGTHS)) for e in EMOTIONS],
    )


def _confidence_table(evaluation: Evaluation) -> str:
    return _table(
        (
            "heard",
            "ECE",
            "ECE at temperature 1",
            "asserted",
            "right, of those",
            'right, had "unsure" been asserted',
        ),
        [
            (
                name,
                f"{c.calibration_error:.3f}",
                f"{c.uncalibrated_error:.3f}",
                _share(c.asserted),
                _share(c.asserted_accuracy),
                _share(c.unsure_accuracy),
            )
            for name, c in evaluation.confidence.items()
        ],
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def _rate(rate: Rate) -> str:
    return f"{rate.value:.3f} ({rate.low:.3f}-{rate.high:.3f})"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"
