"""Overlapped speech: the probability, for each 32 ms frame, that two or more people speak at once.

A small recurrent network (see `training/overlap`) reads a window of sound both ways and answers for all its
frames: what was said around a frame is most of what it goes by. It keeps no memory between windows, so that any worker
can answer for any window, and the same window always gets the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.mel import mel_bank, power_spectra

MODEL: Final = Path(__file__).parent / "models" / "overlap" / "overlap.onnx"
FRAME: Final = 512  # samples a frame: 32 ms, as in `pipeline.speech`
WINDOW: Final = 88  # frames that the network was trained on: 2.8 s; it answers for fewer, but not as well

LONG: Final = 1024  # samples: 64 ms tell the harmonics of one voice from those of another
SHORT: Final = 400  # samples: 25 ms follow the syllables
PARTIALS: Final = slice(4, 128)  # bins of the long spectrum: 63 to 1984 Hz, where voices have their strongest harmonics
BANDS: Final = 48  # mel bands of the short spectra, of which there are two a frame
SIZE: Final = PARTIALS.stop - PARTIALS.start + 2 * BANDS  # numbers a frame
FLOOR: Final = -10.0  # in ln of power: 43 dB below a window's mean there is nothing but noise
QUIET: Final = 1e-9  # power: a window below -90 dBFS is not brought up to the level of others

_FLOOR: Final = np.float32(np.exp(FLOOR))  # of double precision it would make all that it is compared with double
_LONG_TAPER: Final = np.hanning(LONG + 1)[:-1].astype(np.float32)
_SHORT_TAPER: Final = np.hanning(SHORT + 1)[:-1].astype(np.float32)
_MEL: Final = csr_array(mel_bank(SHORT, BANDS, lowest=60.0).T)  # nearly all are 0


def features(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network hears of a window: (frames, SIZE), ln of power above the window's mean, FLOOR or more.

    audio: float32 (n,), 16 kHz mono; whole frames are counted from its first sample. A row holds the PARTIALS of
    a spectrum around the frame's middle and the mel bands of its two halves.
    """
    frames = len(audio) // FRAME
    if not frames:
        return np.zeros((0, SIZE), np.float32)
    padded = np.pad(audio[: frames * FRAME], (LONG - FRAME) // 2)
    slices = np.lib.stride_tricks.sliding_window_view(padded, LONG)[::FRAME]
    partials = power_spectra(slices, _LONG_TAPER)[:, PARTIALS]
    first = (LONG - FRAME) // 2 + (FRAME // 2 - SHORT) // 2  # of the spectrum around the first half frame's middle
    slices = np.lib.stride_tricks.sliding_window_view(padded[first:], SHORT)[:: FRAME // 2][: 2 * frames]
    mel = (_MEL @ power_spectra(slices, _SHORT_TAPER).T).T.reshape(frames, 2 * BANDS)
    mean = float(mel.mean()) + QUIET
    power = np.concatenate([partials / (mean * LONG), mel / mean], axis=1)
    return np.asarray(np.log(np.maximum(power, _FLOOR)))


class OverlapDetector:
    """The network, loaded once a process and shared by all conversations."""

    def __init__(self, model: Path = MODEL) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._network = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def hear(self, windows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The probability of overlap in every whole frame of each window: (frames,) of 0 to 1 each.

        windows: float32 (n,), 16 kHz mono, of any level and best of WINDOW frames. The last frames know least of
        what comes after them; those a quarter of a second before the end are more certain.
        """
        return [counts[:, 2] for counts in self.count(windows)]

    def count(self, windows: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The probabilities that nobody, one, and two or more speak: (frames, 3) for each window, rows sum to 1."""
        # One by one: a product of many windows could round by how many there are.
        return [self._count(features(window)) for window in windows]

    def _count(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(heard):
            return np.zeros((0, 3), np.float32)
        (counts,) = self._network.run(["counts"], {"features": heard[None]})
        return np.asarray(counts[0], np.float32)
