"""How a fragment of speech sounds: eight calibrated probabilities, a label or "unsure", valence and arousal.

A reading says how someone sounds to a listener, never how they feel. TensorFlow is imported when a model is
loaded; `label_of` and `affect` are plain arithmetic.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import features
from pipeline.fragments import Impression
from pipeline.timeline import EMOTIONS, SAMPLE_RATE, UNSURE

SHIPPED = Path(__file__).parent / "models" / "emotion"
WEIGHTS = "model.keras"
METADATA = "model.json"

LONGEST = 4.0  # s; of a longer fragment its last so many seconds are heard: the question is how someone sounds now
BATCHES = (1, 4, 16)  # one traced function each: a batch is padded to the next size, a larger one is cut up

# Where each emotion lies on the circumplex of affect, (valence, arousal), after figure 4 of Russell 1980
# (doi 10.1037/h0077714), to one decimal. His 28 words lack two of ours: disgust is put beside "annoyed" and
# "frustrated", and neutral is the origin.
CIRCUMPLEX = {
    "angry": (-0.5, 0.6),
    "calm": (0.6, -0.3),
    "disgust": (-0.6, 0.4),
    "fear": (-0.3, 0.6),
    "happy": (0.8, 0.5),
    "neutral": (0.0, 0.0),
    "sad": (-0.6, -0.3),
    "surprise": (0.2, 0.9),
}
_CIRCUMPLEX = np.array([CIRCUMPLEX[emotion] for emotion in EMOTIONS])


class ModelMismatch(ValueError):
    """Weights that this code cannot serve: trained on other features, or for other emotions."""


def label_of(probabilities: np.ndarray, unsure_below: float) -> str:
    """The likeliest emotion of `probabilities`, (8,), or `UNSURE` where even that is below `unsure_below`."""
    top = int(np.argmax(probabilities))
    return EMOTIONS[top] if probabilities[top] >= unsure_below else UNSURE


def affect(probabilities: np.ndarray) -> tuple[float, float]:
    """Valence and arousal, each in [-1, 1]: the mean of `CIRCUMPLEX` under `probabilities`, (8,)."""
    valence, arousal = probabilities @ _CIRCUMPLEX
    return float(valence), float(arousal)


class EmotionModel:
    """TIM-Net and its calibration. An answer depends neither on a fragment's level nor on batch mates."""

    def __init__(self, network: Any, metadata: dict[str, Any]) -> None:
        import tensorflow as tf

        self.version: str = metadata["version"]
        self.unsure_below: float = metadata["unsure_below"]
        self._temperature: float = metadata["temperature"]
        self._frames = features.frames_in(round(LONGEST * SAMPLE_RATE))
        # Keras's own call costs 126 ms and `predict` 54 ms a fragment; a traced function with fixed shapes
        # costs 3 ms.
        traced = tf.function(lambda frames, heard: network([frames, heard], training=False))
        self._logits = {
            batch: traced.get_concrete_function(
                tf.TensorSpec((batch, self._frames, features.COEFFICIENTS), tf.float32),
                tf.TensorSpec((batch, self._frames), tf.bool),
            )
            for batch in BATCHES
        }

    @classmethod
    def load(cls, directory: Path = SHIPPED) -> EmotionModel:
        """The model in `directory`; `ModelMismatch` if its features or emotions are not this code's."""
        metadata = json.loads((directory / METADATA).read_text())
        for what, theirs, ours in (
            ("emotions", metadata["emotions"], list(EMOTIONS)),
            ("features", metadata["features"], features.SETTINGS),
        ):
            if theirs != ours:
                raise ModelMismatch(f"{directory} was trained with {what} {theirs}, but this code has {ours}")
        import keras

        return cls(keras.saving.load_model(directory / WEIGHTS, compile=False), metadata)

    def warm_up(self) -> None:
        """Answer once for every batch size, so that no caller waits for what is only done the first time."""
        noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
        for batch in BATCHES:
            self.probabilities([noise] * batch)

    def probabilities(self, fragments: Sequence[np.ndarray]) -> np.ndarray:
        """Calibrated probabilities in the order of EMOTIONS: float32 (len(fragments), 8), rows summing to 1.

        `fragments`: float32 (samples,) each, mono at 16 kHz, 0.5 to 4 s of one speaker. Of a longer one the
        last 4 s are heard. The network learnt from 1 to 3 s: of shorter ones it makes what it can.
        """
        heard = [features.mfcc(fragment[-round(LONGEST * SAMPLE_RATE) :]) for fragment in fragments]
        logits = [self._batch_logits(heard[start : start + BATCHES[-1]]) for start in range(0, len(heard), BATCHES[-1])]
        return _softmax(np.concatenate([np.empty((0, len(EMOTIONS)), np.float32), *logits]) / self._temperature)

    def read(self, fragments: Sequence[np.ndarray]) -> list[Impression]:
        """What each fragment sounds like. `fragments`: int16 (samples,) each, else as for `probabilities`."""
        rows = self.probabilities([fragment.astype(np.float32) / 32_768 for fragment in fragments])
        return [
            Impression(tuple(row.tolist()), label_of(row, self.unsure_below), *affect(row), self.version)
            for row in rows
        ]

    def _batch_logits(self, heard: list[np.ndarray]) -> np.ndarray:
        batch = next(size for size in BATCHES if size >= len(heard))
        frames = np.zeros((batch, self._frames, features.COEFFICIENTS), np.float32)
        mask = np.zeros((batch, self._frames), bool)
        mask[:, 0] = True  # a padding row must hear something, or its mean over nothing is not a number
        for row, coefficients in enumerate(heard):
            frames[row, : len(coefficients)] = coefficients
            mask[row, : len(coefficients)] = True
        logits: np.ndarray = self._logits[batch](frames, mask).numpy()
        return logits[: len(heard)]


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)
