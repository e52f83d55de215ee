"""How a fragment of speech sounds: eight calibrated probabilities, a label or "unsure", valence and arousal.

Two steps. `EmotionModel` turns sound into an embedding (TensorFlow; many sessions share it). `EmotionHead` sets the
embedding against what the session knows of the speaker and says how it sounds (plain arithmetic; it lives with the
session). A reading says how someone sounds to a listener, never how they feel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from pipeline import features, functionals
from pipeline.baseline import SpeakerBaseline
from pipeline.features import Features, features_of
from pipeline.fragments import LONGEST
from pipeline.timeline import EMOTIONS, SAMPLE_RATE, UNSURE, EmotionReading, Mode

Array = NDArray[np.float32]

SHIPPED: Final = Path(__file__).parent / "models" / "emotion"
WEIGHTS: Final = "model.keras"
HEAD: Final = "head.npz"
METADATA: Final = "model.json"

BATCHES = (1, 4, 16)  # one traced function each: four take twice as long as one, sixteen five times

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


def mixed(alone: Array, known: Array, trust: float | Array, temperatures: tuple[float, float]) -> Array:
    """Probabilities from the logits of both maps, (..., 8), as far as each is to be trusted, 0 to 1: (..., 8)."""
    share = np.asarray(trust, np.float32)[..., None]
    unknown, against = (log_softmax(x / t, axis=-1) for x, t in zip((alone, known), temperatures, strict=True))
    probabilities: Array = softmax((1 - share) * unknown + share * against, axis=-1)
    return probabilities


@dataclass(frozen=True)
class EmotionHead:
    """From an embedding to probabilities: one linear map for a voice that nobody knows, one for a known speaker.

    As a speaker is heard, what the first map says gives way to what the second says of the embedding set against the
    speaker's baseline; `SpeakerBaseline.trust` is how far. Both divide their logits by a temperature of their own.
    """

    version: str
    unsure_below: float
    alone: Array  # (embedding size + 1, 8); the last row is the bias
    known: Array  # (embedding size + 1, 8)
    temperatures: tuple[float, float]

    @classmethod
    def load(cls, directory: Path = SHIPPED) -> EmotionHead:
        """The head of the model in `directory`; `ModelMismatch` if its emotions are not this code's."""
        metadata = _metadata(directory)
        with np.load(directory / HEAD) as maps:
            alone, known = maps["alone"], maps["known"]
        calibration = metadata["calibration"]
        temperatures = (calibration["temperature_alone"], calibration["temperature_known"])
        return cls(metadata["version"], calibration["unsure_below"], alone, known, temperatures)

    @property
    def size(self) -> int:
        """The length of an embedding."""
        return len(self.alone) - 1

    def probabilities(self, embedding: Array, baseline: SpeakerBaseline) -> Array:
        """How an embedding, (size,), of this speaker sounds: float32 (8,) in the order of EMOTIONS, sum 1."""
        alone, known = self.logits(embedding, baseline)
        return mixed(alone, known, baseline.trust, self.temperatures)

    def logits(self, embedding: Array, baseline: SpeakerBaseline) -> tuple[Array, Array]:
        """What each map says of an embedding, (size,), before its temperature: (8,) both."""
        against = baseline.normalise(embedding)
        return embedding @ self.alone[:-1] + self.alone[-1], against @ self.known[:-1] + self.known[-1]

    def reading(
        self,
        turn: int,
        span: tuple[float, float],
        heard: float,
        embedding: Array,
        baseline: SpeakerBaseline,
        mode: Mode,
    ) -> EmotionReading:
        """How the stretch `span` of a turn sounds, of which and before which `heard` seconds were listened to.

        `mode` says which speech of the speaker the baseline knows; with an empty one the reading says "none".
        """
        probabilities = self.probabilities(embedding, baseline)
        valence, arousal = affect(probabilities)
        return EmotionReading(
            turn=turn,
            start=span[0],
            end=span[1],
            probabilities=tuple(round(float(p), 4) for p in probabilities),
            label=label_of(probabilities, self.unsure_below),
            valence=round(valence, 3),
            arousal=round(arousal, 3),
            heard=round(heard, 3),
            mode=mode if baseline.seconds else "none",
            baseline=round(baseline.seconds, 3),
            model=self.version,
        )

    def unmixed(self, reading: EmotionReading) -> EmotionReading:
        """The same where one talks alone after all: what the model made of it."""
        label = label_of(np.array(reading.probabilities), self.unsure_below)
        return reading.model_copy(update={"mixed": False, "label": label})


class EmotionModel:
    """Sound in, embeddings out. An answer depends neither on a fragment's level nor on batch mates."""

    def __init__(self, network: Any) -> None:
        import tensorflow as tf

        self._frames = features.frames_in(round(LONGEST * SAMPLE_RATE))
        # Keras's own call costs 126 ms and `predict` 54 ms a fragment; a traced function with fixed shapes costs 3.
        traced = tf.function(lambda *inputs: network(list(inputs), training=False))
        self._embed = {
            batch: traced.get_concrete_function(
                tf.TensorSpec((batch, self._frames, features.MEL_BANDS), tf.float32),
                tf.TensorSpec((batch, self._frames), tf.bool),
                tf.TensorSpec((batch, functionals.COUNT), tf.float32),
            )
            for batch in BATCHES
        }

    @classmethod
    def load(cls, directory: Path = SHIPPED) -> EmotionModel:
        """The model in `directory`; `ModelMismatch` if its features or emotions are not this code's."""
        _metadata(directory)
        import keras

        return cls(keras.saving.load_model(directory / WEIGHTS, compile=False))

    def warm_up(self) -> None:
        """Answer once for every batch size, so that no caller waits for what is only done the first time."""
        noise = np.random.default_rng(0).integers(-9_000, 9_000, SAMPLE_RATE, np.int16)
        for batch in BATCHES:
            self.embed([noise] * batch)

    def embed(self, fragments: Sequence[NDArray[np.int16]]) -> list[Array]:
        """An embedding, float32 (size,), of each fragment: int16 (n,), mono at 16 kHz, 0.5 to 2 s of one speaker.

        Of a longer one the last 2 s are heard. The network learnt from 0.8 to 3 s: of shorter ones it makes what it
        can.
        """
        heard = iter([features_of(_waveform(fragment)) for fragment in fragments])
        batches = [(size, list(islice(heard, size))) for size in sizes(len(fragments))]
        return [embedding for size, batch in batches for embedding in self._embeddings(batch, size)]

    def _embeddings(self, heard: Sequence[Features], batch: int) -> Array:
        frames = np.zeros((batch, self._frames, features.MEL_BANDS), np.float32)
        mask = np.zeros((batch, self._frames), bool)
        mask[:, 0] = True  # a padding row must hear something, or its mean over nothing is not a number
        measured = np.zeros((batch, functionals.COUNT), np.float32)
        for row, fragment in enumerate(heard):
            frames[row, : len(fragment.frames)] = fragment.frames
            mask[row, : len(fragment.frames)] = True
            measured[row] = fragment.functionals
        embeddings: Array = self._embed[batch](frames, mask, measured).numpy()
        return embeddings[: len(heard)]


def sizes(count: int) -> Iterator[int]:
    """Batches for so many fragments, in order: each the next size up if that is then more than half full."""
    while count > 0:
        above = next((size for size in BATCHES if size >= count), BATCHES[-1])
        size = above if 2 * count > above else max(size for size in BATCHES if size <= count)
        yield size
        count -= size


def _waveform(fragment: NDArray[np.int16]) -> Array:
    return fragment[-round(LONGEST * SAMPLE_RATE) :].astype(np.float32) / np.float32(32_768)


def _metadata(directory: Path) -> dict[str, Any]:
    """What stands beside the weights; `ModelMismatch` where it is not what this code can serve."""
    metadata: dict[str, Any] = json.loads((directory / METADATA).read_text())
    for what, ours in (("emotions", list(EMOTIONS)), ("features", features.SETTINGS)):
        if metadata[what] != ours:
            raise ModelMismatch(f"{directory} was trained with {what} {metadata[what]}, but this code has {ours}")
    return metadata
