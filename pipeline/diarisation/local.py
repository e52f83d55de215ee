"""The diariser that runs anywhere: Silero voice activity, and a voiceprint for every half second of speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pipeline.diarisation import DiariserState, Observation, Stretch, Unit
from pipeline.speech import SpeechDetector
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import LONGEST, SHORTEST, VoiceEncoder

UNIT: Final = SAMPLE_RATE // 2  # samples of new speech that earn a voiceprint
SCRAP: Final = SAMPLE_RATE // 5  # an island's last bit below this belongs to the unit before it
REACH_SECONDS: Final = (
    LONGEST + 0.5 + 0.2
)  # how far back a stretch must go: window, hop, and what a pause takes to show


class LocalDiariser:
    """Voice activity and voiceprints, both in ONNX Runtime on one thread."""

    def __init__(self, encoder: VoiceEncoder | None = None) -> None:
        self._detector = SpeechDetector()
        self._encoder = encoder or VoiceEncoder()

    def warm_up(self) -> None:
        """Spend the first call's seconds (library imports, filter banks) before anyone waits."""
        self._encoder.encode([np.zeros(UNIT, np.float32)])

    def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        """See `pipeline.diarisation.Diariser`."""
        observations: list[Observation] = []
        windows, owners = [], []
        for stretch in stretches:
            audio = stretch.audio.astype(np.float32) / np.float32(32_768)
            islands, speech = self._detector.hear(audio, stretch.start, stretch.state.speech)
            units: list[Unit] = []
            cut = stretch.state.cut
            for island in islands:
                cut = max(cut, island.start)
                while (rest := island.end - cut) >= UNIT or (not island.open and rest > 0):
                    end = island.end if not island.open and rest < UNIT + SCRAP else cut + UNIT
                    window = max(island.start, end - round(LONGEST * SAMPLE_RATE), stretch.start)
                    if end - window >= SHORTEST * SAMPLE_RATE:
                        windows.append(audio[window - stretch.start : end - stretch.start])
                        owners.append((len(observations), len(units)))
                    units.append(Unit(cut, end, window, None))
                    cut = end
            observations.append(Observation(islands, units, DiariserState(speech, cut)))
        for (observation, unit), voiceprint in zip(owners, self._encoder.encode(windows), strict=True):
            bare = observations[observation].units[unit]
            observations[observation].units[unit] = replace(bare, voiceprint=voiceprint.astype(np.float16))
        return observations
