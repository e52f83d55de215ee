"""Voiceprints: 128 numbers that say whose voice a stretch of speech is.

The encoder is the CAM++ network (Wang et al. 2023, arXiv 2303.00332) as 3D-Speaker's authors trained it, run in ONNX
Runtime (see `training/voiceprint.py`). A projection then turns down what rooms, words and emotions change in a
voice (linear discriminants; see `training/projection.py`). Two voiceprints are compared by their cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.mel import kaldi_fbank

ENCODER: Final = Path(__file__).parent / "models" / "voiceprint" / "encoder.onnx"
PROJECTION: Final = ENCODER.with_name("projection.npz")
EMBEDDING_SIZE: Final = 192  # numbers that the encoder gives
SIZE: Final = 128  # numbers of a voiceprint; 64 tell fewer voices apart, all 192 bring the emotions back in
LONGEST: Final = 1.2  # s; 1 s tells actors apart less well, and 1.6 s nobody better: it holds two speakers more often
SHORTEST: Final = 0.32  # s; less says more about the sound spoken than about the speaker
BANDS: Final = 80  # mel bands that the encoder hears


class VoiceEncoder:
    """The network, loaded once a process and shared by all conversations."""

    def __init__(self, encoder: Path = ENCODER, projection: Path = PROJECTION) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._network = onnxruntime.InferenceSession(encoder, options, providers=["CPUExecutionProvider"])
        with np.load(projection) as arrays:
            self._mean = arrays["mean"].astype(np.float32)
            self._axes = arrays["axes"].astype(np.float32)

    def encode(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Voiceprints (n, SIZE) of unit length, one a window of float32 samples; none depends on the others."""
        prints = [self._project(embedding) for embedding in self.embed(windows)]
        return np.stack(prints) if prints else np.zeros((0, SIZE), np.float32)

    def embed(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """What the encoder alone makes of the windows, of SHORTEST to 2 s each: (n, EMBEDDING_SIZE).

        One by one: many at once take as long, and how many there are could change how a sum is rounded.
        """
        embeddings = [self._embed(window) for window in windows]
        return np.stack(embeddings) if embeddings else np.zeros((0, EMBEDDING_SIZE), np.float32)

    def _embed(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = kaldi_fbank(window, BANDS)
        heard -= heard.mean(axis=0)  # what a level and a microphone add is the same in all frames
        (embeddings,) = self._network.run(["embedding"], {"fbank": heard[None]})
        return np.asarray(embeddings[0], np.float32)

    def _project(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """The voiceprint of one embedding: alone, as a product of many could round by how many there are."""
        voiceprint = (embedding - self._mean) @ self._axes
        return np.asarray(voiceprint / max(float(np.linalg.norm(voiceprint)), 1e-9), np.float32)
