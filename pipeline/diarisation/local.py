"""The diariser that runs anywhere: Silero voice activity, a voiceprint for every half second of speech, and overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.diarisation import DiariserState, Observation, Stretch, Unit
from pipeline.overlap import FRAME, OverlapDetector
from pipeline.speech import Island, SpeechDetector
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import LONGEST, SHORTEST, VoiceEncoder

UNIT: Final = SAMPLE_RATE // 2  # samples of new speech that earn a voiceprint
SCRAP: Final = SAMPLE_RATE // 5  # an island's last bit below this belongs to the unit before it
OVERLAPPED: Final = 0.35  # probability from which two talk at once: .5 finds fewer, and errs as often in who they are
OVERLAP_LEAD: Final = SAMPLE_RATE  # samples before the first unit that are heard with it; more changes next to nothing
MOST_SHARED: Final = 2  # units that get one voiceprint where hops are heard together
SHORTEST_OVERLAP: Final = 8  # frames; less is more often one voice
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
        self._overlap.hear(np.zeros(UNIT, np.float32))

    def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        """See `pipeline.diarisation.Diariser`."""
        return [self._observe(stretch) for stretch in stretches]

    def _observe(self, stretch: Stretch) -> Observation:
        audio = stretch.audio.astype(np.float32) / np.float32(32_768)
        islands, speech = self._detector.hear(audio, stretch.start, stretch.state.speech)
        units, cut = _units(islands, stretch.state.cut, stretch.start)
        units = self._with_voiceprints(audio, stretch.start, units, min(stretch.hops, MOST_SHARED))
        return Observation(islands, self._with_overlap(audio, stretch.start, units), DiariserState(speech, cut))

    def _with_voiceprints(self, audio: NDArray[np.float32], start: int, units: Sequence[Unit], most: int) -> list[Unit]:
        """The units with their voiceprints, up to `most` of them with one, but for those that are too short to tell."""
        spoken_for = _spoken_for(units, most)
        heard = [i for i in sorted(set(spoken_for)) if units[i].end - units[i].window >= SHORTEST * SAMPLE_RATE]
        windows = [audio[units[i].window - start : units[i].end - start] for i in heard]
        voiceprints = dict(zip(heard, self._encoder.encode(windows).astype(np.float16), strict=True))
        return [
            replace(unit, voiceprint=voiceprints.get(speaking))
            for unit, speaking in zip(units, spoken_for, strict=True)
        ]

    def _with_overlap(self, audio: NDArray[np.float32], start: int, units: Sequence[Unit]) -> list[Unit]:
        """The units, each with the longest stretch of it in which two talk at once."""
        if not units:
            return []
        first = max(start, units[0].start - OVERLAP_LEAD)
        together = self._overlap.hear(audio[first - start :]) >= OVERLAPPED
        found: list[Unit] = []
        for unit in units:
            begin = (unit.start - first) // FRAME
            runs = _runs(together[begin : -(-(unit.end - first) // FRAME)])
            longest = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
            if longest[1] - longest[0] < SHORTEST_OVERLAP:
                found.append(unit)
                continue
            span = (first + (begin + frame) * FRAME for frame in longest)
            since, until = (min(max(sample, unit.start), unit.end) for sample in span)
            found.append(replace(unit, overlap=(since, until)))
        return found


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
