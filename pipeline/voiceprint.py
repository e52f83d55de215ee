"""Voiceprints: 64 numbers that say whose voice a stretch of speech is.

The encoder is Resemblyzer's GE2E network (Wan et al. 2018, arXiv 1710.10467), most of it quantised to 8 bits, run in
ONNX Runtime (see `training/voiceprint.py`). A projection then turns down what rooms, words and emotions change in a
voice (linear discriminants; see `training/projection.py`). Two voiceprints are compared by their cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.mel import mel_bank, power_spectra
from pipeline.timeline import SAMPLE_RATE

ENCODER = Path(__file__).parent / "models" / "voiceprint" / "encoder.onnx"
PROJECTION = ENCODER.with_name("projection.npz")
EMBEDDING_SIZE = 256  # numbers that the encoder gives
SIZE = 64  # numbers of a voiceprint; 32 tell fewer voices apart, 128 bring the emotions back in
LONGEST = 1.6  # s; what the encoder was trained on
SHORTEST = 0.32  # s; less says more about the sound spoken than about the speaker
MEAN_POWER = 0.03  # mean mel power that every window is scaled to: the encoder takes power, not its logarithm
BATCH = 16  # windows in one call: one alone takes nearly twice as long as in company


FRAME = SAMPLE_RATE // 40  # samples: 25 ms
STEP = SAMPLE_RATE // 100  # samples: 10 ms

_TAPER = np.hanning(FRAME + 1)[:-1].astype(np.float32)
_BANDS = mel_bank(FRAME, 40)


def _mel(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power mel (frames, 40) of one window: a FRAME every STEP, scaled to MEAN_POWER.

    What `librosa.feature.melspectrogram` gives, whose filters are made anew with every call.
    """
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, FRAME // 2), FRAME)[::STEP]
    mel = power_spectra(frames, _TAPER) @ _BANDS
    scale = MEAN_POWER / max(float(mel.mean()), 1e-10)
    return np.asarray(mel * np.float32(scale), np.float32)


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
        """What the encoder alone makes of the windows: (n, EMBEDDING_SIZE)."""
        embeddings = np.zeros((len(windows), EMBEDDING_SIZE), np.float32)
        by_length = sorted(range(len(windows)), key=lambda i: len(windows[i]))  # short ones wait for the longest
        for batch in np.array_split(by_length, -(-len(windows) // BATCH)) if windows else []:
            embeddings[batch] = self._embed([windows[i] for i in batch])
        return embeddings

    def _embed(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        mels = [_mel(window) for window in windows]
        lengths = np.array([len(mel) for mel in mels], np.int32)
        batch = np.zeros((lengths.max(), len(mels), mels[0].shape[1]), np.float32)
        for i, mel in enumerate(mels):
            batch[: len(mel), i] = mel
        (embeddings,) = self._network.run(["embedding"], {"mel": batch, "lengths": lengths})
        return np.asarray(embeddings, np.float32)

    def _project(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """The voiceprint of one embedding: alone, as a product of many could round by how many there are."""
        voiceprint = (embedding - self._mean) @ self._axes
        return np.asarray(voiceprint / max(float(np.linalg.norm(voiceprint)), 1e-9), np.float32)
