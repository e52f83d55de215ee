"""Voice activity: which 32 ms frames of a conversation hold speech, heard as it arrives.

Silero VAD 6 (MIT), through the ONNX graph for whole blocks of frames that its package carries: 2 ms of CPU per
second of audio. The network's memory travels with the conversation, so that any worker can go on with it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.timeline import SAMPLE_RATE, Span

FRAME = 512  # samples a frame: 32 ms
CONTEXT = 64  # samples before a frame that the network sees with it
ON, OFF = 0.2, 0.15  # speech begins above, ends below; measured best for the error of who spoke when
PAUSE = 3  # frames below OFF that end an island; shorter gaps are the closures of ordinary consonants
LEAD = 2 * FRAME  # samples before the first frame that is surely speech: the network is late by 50 to 70 ms, the
# median over readers and actors, and by more far from the microphone
TRAIL = FRAME // 2  # samples of the last voiced frame that are echo, more often than not


@dataclass(frozen=True, slots=True)
class SpeechState:
    """What voice activity remembers between hops.

    `hidden` and `cell`: float32 (1, 1, 128), the network's memory. `position`: samples heard so far. `island`: first
    sample of the island of speech that is open, if one is. `voiced`: end, in samples, of its last voiced frame, of
    which the island itself leaves TRAIL out.
    """

    hidden: NDArray[np.float32]
    cell: NDArray[np.float32]
    position: int = 0
    island: int | None = None
    voiced: int = 0

    @classmethod
    def fresh(cls) -> SpeechState:
        """The state before the first sample."""
        zeros = np.zeros((1, 1, 128), np.float32)
        return cls(zeros, zeros)


@dataclass(frozen=True, slots=True)
class Island:
    """A stretch of speech without a pause, in samples of the conversation. An open one may go on in the next hop."""

    start: int
    end: int
    open: bool

    @property
    def span(self) -> Span:
        """The same in seconds."""
        return Span(start=self.start / SAMPLE_RATE, end=self.end / SAMPLE_RATE)


class SpeechDetector:
    """The network, loaded once a process and shared by all conversations."""

    def __init__(self) -> None:
        package = importlib.util.find_spec("silero_vad")  # found, not imported: importing it wants torch
        if package is None or not package.submodule_search_locations:
            raise ModuleNotFoundError("the silero-vad package is missing; `make setup` installs it")
        graph = Path(package.submodule_search_locations[0]) / "data" / "silero_vad_16k_sequence.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._network = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def hear(self, audio: NDArray[np.float32], start: int, state: SpeechState) -> tuple[list[Island], SpeechState]:
        """Go on from `state` through all whole frames of `audio`.

        audio: float32 (n,), whose first sample is the conversation's sample `start`; it reaches back at least
        `CONTEXT` samples before `state.position`, or to the beginning. Returns the islands that were open or begun
        in these frames, in order, and the state to go on from.
        """
        frames = self._frames(audio, start, state.position)
        if not len(frames):
            return ([_island(state, state.island, True)] if state.island is not None else []), state
        inputs = {"input": frames, "h": state.hidden, "c": state.cell}
        probabilities, hidden, cell = self._network.run(["speech_probs", "hn", "cn"], inputs)
        state = replace(state, hidden=hidden, cell=cell)
        islands: list[Island] = []
        for probability in probabilities.reshape(-1):
            begin, end = state.position, state.position + FRAME
            state = replace(state, position=end)
            if probability >= (ON if state.island is None else OFF):
                state = replace(
                    state, voiced=end, island=max(0, begin - LEAD) if state.island is None else state.island
                )
            elif state.island is not None and end - state.voiced >= PAUSE * FRAME:
                islands.append(_island(state, state.island, False))
                state = replace(state, island=None)
        if state.island is not None:
            islands.append(_island(state, state.island, True))
        return islands, state

    @staticmethod
    def _frames(audio: NDArray[np.float32], start: int, position: int) -> NDArray[np.float32]:
        """Rows of CONTEXT + FRAME samples from `position` on; silence stands before the conversation's start."""
        count = (start + len(audio) - position) // FRAME
        lead = np.zeros(max(0, start - (position - CONTEXT)), np.float32)
        stretch = np.concatenate([lead, audio[max(0, position - CONTEXT - start) :]])
        windows: Any = np.lib.stride_tricks.sliding_window_view(stretch, CONTEXT + FRAME)[::FRAME] if count > 0 else []
        return np.ascontiguousarray(windows[: max(count, 0)], np.float32)


def _island(state: SpeechState, start: int, is_open: bool) -> Island:
    """The island that began at sample `start`, as far as it is voiced."""
    return Island(start, state.voiced - TRAIL, is_open)
