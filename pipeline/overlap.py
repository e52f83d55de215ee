"""Overlapped speech: the probability, for each 17 ms frame, that two people speak at once.

The network is pyannote's segmentation-3.0 (Plaquet and Bredin 2023, arXiv 2310.13025; see `training/overlap.py`). It
reads a window of sound both ways and answers for all its frames: what was said around a frame is most of what it goes
by. It keeps no memory between windows, so that any worker can answer for any window, and the same window always gets
the same answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

MODEL: Final = Path(__file__).parent / "models" / "overlap" / "overlap.onnx"
FRAME: Final = 270  # samples from one answer to the next
REACH: Final = 991  # samples that one answer is made from, were it not for what was said around them
QUIET: Final = 1e-4  # RMS: a window below -80 dBFS is not brought up to the level of others


class OverlapDetector:
    """The network, loaded once a process and shared by all conversations."""

    def __init__(self, model: Path = MODEL) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._network = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def hear(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of overlap in every whole frame of a window: (frames,) of 0 to 1 each.

        window: float32 (n,), 16 kHz mono, of any level, of some 2 to 10 s; it answers for less, but not as well. The
        last frames know least of what comes after them; those a quarter of a second before the end are more certain.
        """
        return self.count(window)[:, 2]

    def count(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities that nobody, one, and two speak: (frames, 3), rows sum to 1."""
        frames = len(window) // FRAME
        if len(window) < REACH:
            return np.tile(np.array([[1, 0, 0]], np.float32), (frames, 1))
        level = max(float(np.sqrt(np.mean(np.square(window)))), QUIET)
        (counts,) = self._network.run(["counts"], {"audio": window[None, None] / np.float32(level)})
        # An answer is about the middle of what it is made from, which lies in the frame after that in which it begins.
        edge = (REACH // 2) // FRAME
        return np.asarray(np.pad(counts[0], ((edge, frames), (0, 0)), "edge")[:frames], np.float32)
