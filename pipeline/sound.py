"""A recording's sound, decoded once, out of memory, and there to be heard again wherever one likes.

An hour is 115 MB a track; a working memory that grew with it would bound how long a recording may be. So the samples
lie in a temporary file that has no name: nobody else can open it, and it is gone with the process, even a killed one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.timeline import SAMPLE_RATE

Pcm = NDArray[np.int16]
_WIDTH: Final = np.dtype(np.int16).itemsize


class Sound:
    """Blocks of int16 (tracks, n) or, for a single track, (n,), mono each and at 16 kHz, taken in as they are needed.

    Raises what the blocks raise, from whichever method first needs them. Not for several threads at once.
    """

    def __init__(self, blocks: Iterable[Pcm]) -> None:
        self._blocks = iter(blocks)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed with the sound)
        self._end = 0
        self._ended = False
        self._tracks = 0

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the samples go."""
        self._file.close()

    @property
    def tracks(self) -> int:
        """How many tracks there are: 1 for silence of no length."""
        self.reach(1)
        return max(1, self._tracks)

    @property
    def samples(self) -> int:
        """The length of each track, for which everything is decoded."""
        while not self._ended:
            self.reach(self._end + SAMPLE_RATE)
        return self._end

    @property
    def seconds(self) -> float:
        """The same in seconds."""
        return self.samples / SAMPLE_RATE

    def reach(self, sample: int) -> bool:
        """Decode up to a sample, if the recording is that long; returns whether it is."""
        while not self._ended and self._end < sample:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
            elif block.shape[-1]:
                self._append(np.atleast_2d(block))
        return self._end >= sample

    def read(self, track: int, start: int, stop: int) -> Pcm:
        """Samples [start, stop) of a track, (n,); fewer where the recording is not that long."""
        self.reach(stop)
        start, stop = max(0, start), min(stop, self._end)
        if start >= stop:
            return np.zeros(0, np.int16)
        frame = self._tracks * _WIDTH
        self._file.seek(start * frame)
        frames = np.frombuffer(self._file.read((stop - start) * frame), np.int16).reshape(-1, self._tracks)
        return np.ascontiguousarray(frames[:, track])

    def _append(self, block: Pcm) -> None:
        if self._tracks and len(block) != self._tracks:
            raise ValueError(f"a block has {len(block)} tracks where those before it had {self._tracks}")
        self._tracks = len(block)
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(block.T, np.int16).tobytes())
        self._end += block.shape[1]
