"""The diariser that runs anywhere: Silero voice activity, a voiceprint for every half second of speech, and overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.diarisation import DiariserState, Observation, Stretch, Unit
from pipeline.overlap import FRAME, WINDOW, OverlapDetector
from pipeline.speech import Island, SpeechDetector
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import LONGEST, SHORTEST, VoiceEncoder

UNIT: Final = SAMPLE_RATE // 2  # samples of new speech that earn a voiceprint
SCRAP: Final = SAMPLE_RATE // 5  # an island's last bit below this belongs to the unit before it
OVERLAPPED: Final = 0.7  # probability from which two talk at once: whoever is named beneath another is not always
# right, so that only sure overlaps lower the error
LIVE_FRAMES: Final = WINDOW - 8  # as many as one window may answer for alone, which are those of a hop or a few:
# the error is the same, and hearing them takes half as long
OVERLAP_STEP: Final = 16  # frames from one window's end to the next, where there are more than that
MOST_SHARED: Final = 2  # units that get one voiceprint where hops are heard together
SHORTEST_OVERLAP: Final = 4  # frames; less is more often one voice
REACH_SECONDS: Final = (
    LONGEST + 0.5 + 0.2
)  # how far back a stretch must go: window, hop, and what a pause takes to show


class LocalDiariser:
    """Voice activity and voiceprints, both in ONNX Runtime on one thread."""

    def __init__(self, encoder: VoiceEncoder | None = None) -> None:
        self._detector = SpeechDetector()
        self._encoder = encoder or VoiceEncoder()
        self._overlap = OverlapDetector()

    def warm_up(self) -> None:
        """Spend the first call's seconds (library imports, filter banks) before anyone waits."""
        self._encoder.encode([np.zeros(UNIT, np.float32)])
        self._overlap.hear([np.zeros(WINDOW * FRAME, np.float32)])

    def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        """See `pipeline.diarisation.Diariser`."""
        observations: list[Observation] = []
        windows: list[NDArray[np.float32]] = []
        owners: list[tuple[int, int, int]] = []  # an observation, one of its units, and the window that it is heard in
        for stretch in stretches:
            audio = stretch.audio.astype(np.float32) / np.float32(32_768)
            islands, speech = self._detector.hear(audio, stretch.start, stretch.state.speech)
            units, cut = _units(islands, stretch.state.cut, stretch.start)
            spoken_for = _spoken_for(units, min(stretch.hops, MOST_SHARED))
            for speaking in sorted(set(spoken_for)):
                unit = units[speaking]
                if unit.end - unit.window >= SHORTEST * SAMPLE_RATE:
                    shared = (number for number, other in enumerate(spoken_for) if other == speaking)
                    owners += [(len(observations), number, len(windows)) for number in shared]
                    windows.append(audio[unit.window - stretch.start : unit.end - stretch.start])
            observations.append(
                Observation(islands, self._with_overlap(audio, stretch.start, units), DiariserState(speech, cut))
            )
        voiceprints = self._encoder.encode(windows).astype(np.float16)
        for observation, number, window in owners:
            units = observations[observation].units
            units[number] = replace(units[number], voiceprint=voiceprints[window])
        return observations

    def _with_overlap(self, audio: NDArray[np.float32], start: int, units: Sequence[Unit]) -> list[Unit]:
        """The units, each with the longest stretch of it in which two talk at once."""
        if not units:
            return []
        first = max(0, units[0].start - start)
        together = self._together(audio, first)
        found: list[Unit] = []
        for unit in units:
            begin = (unit.start - start - first) // FRAME
            runs = _runs(together[begin : -(-(unit.end - start - first) // FRAME)])
            longest = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
            if longest[1] - longest[0] < SHORTEST_OVERLAP:
                found.append(unit)
                continue
            span = (start + first + (begin + frame) * FRAME for frame in longest)
            since, until = (min(max(sample, unit.start), unit.end) for sample in span)
            found.append(replace(unit, overlap=(since, until)))
        return found

    def _together(self, audio: NDArray[np.float32], first: int) -> NDArray[np.bool_]:
        """Whether two talk at once in each frame (frames,) of audio (n,) from its sample `first` on.

        A window answers for its last frames, and best for those that it has heard beyond; so where several are needed,
        each leaves the newest half of its step to the next.
        """
        frames = (len(audio) - first) // FRAME
        if not frames:
            return np.zeros(1, bool)
        together = np.zeros(frames + 1, bool)
        untils = [frames] if frames <= LIVE_FRAMES else list(range(frames, 0, -OVERLAP_STEP))[::-1]
        ends = [first + until * FRAME for until in untils]
        windows = [audio[max(0, end - WINDOW * FRAME) : end] for end in ends]
        for until, probabilities in zip(untils, self._overlap.hear(windows), strict=True):
            asked = until if until == untils[0] else OVERLAP_STEP * 3 // 2
            answers = probabilities[-min(asked, until) :] >= OVERLAPPED
            together[until - len(answers) : until] = answers
        return together


def _units(islands: Sequence[Island], cut: int, start: int) -> tuple[list[Unit], int]:
    """The units of islands from the sample `cut` on, without voiceprints, and up to where they go.

    `start`: the first sample that can be heard.
    """
    units: list[Unit] = []
    for island in islands:
        cut = max(cut, island.start)
        while (rest := island.end - cut) >= UNIT or (not island.open and rest > 0):
            end = island.end if not island.open and rest < UNIT + SCRAP else cut + UNIT
            units.append(Unit(cut, end, max(island.start, end - round(LONGEST * SAMPLE_RATE), start), None))
            cut = end
    return units, cut


def _spoken_for(units: Sequence[Unit], most: int) -> list[int]:
    """For each unit the one in whose window it is heard: itself or, of up to `most` without a pause, the last."""
    speaking = list(range(len(units)))
    for number in reversed(speaking[:-1]):
        last = speaking[number + 1]
        if units[number].end == units[number + 1].start and last - number < most:
            speaking[number] = last
    return speaking


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last + 1 of each run of truth in flags (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
