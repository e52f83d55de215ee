"""Enrolled voices: from some seconds of one person's speech to a voiceprint, and from voiceprints to names.

A voice is enrolled from the same units of speech that tell speakers apart in a conversation, and recognised by the
cosine between its voiceprint and the centroid of all that a speaker has said.

Measured with projections fitted without the voices that are tested (five folds of 252 LibriSpeech readers and 20
RAVDESS actors, all in rooms over noise; of readers the halves of one recording, of actors never the same recording on
both sides), enrolled from up to 10 s and recognised in 5 to 10 s of speech, heard in windows of up to 1.6 s. Share of
strangers taken for the voice, share of its owner not recognised:

    threshold                                         .30            .35            .40            .45
    readers, 6 s against 6 s                     2.6 %, 0 %     1.1 %, 0 %     0.5 %, 0 %     0.1 %, 0 %
    actors, calm speech against six emotions     3.6 %, 14 %    1.8 %, 22 %    0.9 %, 33 %    0.3 %, 43 %

A stranger among several enrolled voices is taken for one of them accordingly more often, and whoever shouts or cries
may go unrecognised. The shipped projection has learnt from these very people and does better with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import SpeakerMemory
from pipeline.diarisation import Diariser, DiariserState, Stretch
from pipeline.matching import best_pairs
from pipeline.session import Voice
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import ENCODER, PROJECTION

LONGEST_SECONDS: Final = 120.0  # of sound that a voice is enrolled from
LEAST_SECONDS: Final = 5.0  # of speech in it
WANTED_SECONDS: Final = 10.0
OTHERS_SHARE: Final = 0.2  # of the speech that may sound like somebody else
SAME_VOICE: Final = 0.4  # cosine above which a speaker is an enrolled voice: 1 % of strangers are taken for it
RECOGNISED_SECONDS: Final = 5.0  # of a speaker's speech, for which that was measured
SILENCE: Final = SAMPLE_RATE // 2  # samples put after the sound, in which whatever is being said ends


class CannotEnrol(ValueError):
    """Why a voice cannot be enrolled from this sound, in one sentence."""


def enrol(audio: NDArray[np.int16], diariser: Diariser) -> tuple[NDArray[np.float32], float]:
    """The voiceprint, float32 (SIZE,) of unit length, of the one person who talks in int16 (n,), mono at 16 kHz.

    Returns with it the seconds of speech that it rests on. Raises `CannotEnrol` for less than `LEAST_SECONDS` of speech
    or where more than one voice is plainly heard.
    """
    padded = np.concatenate([audio[: round(LONGEST_SECONDS * SAMPLE_RATE)], np.zeros(SILENCE, np.int16)])
    (observation,) = diariser.observe([Stretch(padded, 0, DiariserState())])
    units = observation.units
    spoken = sum(unit.end - unit.start for unit in units) / SAMPLE_RATE
    if spoken < LEAST_SECONDS:
        raise CannotEnrol(
            f"Only {spoken:.1f} s of speech were heard; talk for {WANTED_SECONDS:.0f} s "
            f"or more ({LEAST_SECONDS:.0f} s at least)."
        )
    memory = SpeakerMemory()
    memory.learn(units)
    seconds: dict[int, float] = {}
    for turn in memory.turns():
        seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + turn.duration
    if not seconds:
        raise CannotEnrol("All that was heard is too short to tell a voice by; talk in whole sentences.")
    voice = max(seconds, key=lambda speaker: seconds[speaker])
    if sum(seconds.values()) - seconds[voice] > OTHERS_SHARE * sum(seconds.values()):
        raise CannotEnrol("More than one voice is heard; let the one person who is to be enrolled talk alone.")
    own = [heard.unit for heard in memory.heard if heard.speaker == voice and heard.unit.voiceprint is not None]
    total = np.sum([(unit.end - unit.start) * np.asarray(unit.voiceprint, np.float32) for unit in own], axis=0)
    return _unit(total), round(sum(unit.end - unit.start for unit in own) / SAMPLE_RATE, 2)


def recognise(
    centroids: Mapping[int, NDArray[np.floating]], voices: Sequence[Voice], threshold: float = SAME_VOICE
) -> dict[int, str]:
    """The names of those speakers whose voices are enrolled, no voice for two speakers and no speaker with two.

    `centroids`: for each speaker the sum (SIZE,) of the voiceprints of what they said, each times its seconds; of any
    length. A speaker should have talked for `RECOGNISED_SECONDS`, for which the threshold was measured.
    """
    speakers = sorted(centroids)
    if not speakers or not voices:
        return {}
    heard = np.stack([_unit(centroids[speaker]) for speaker in speakers])
    known = np.stack([_unit(voice.voiceprint) for voice in voices])
    alike = heard @ known.T
    # A pair below the threshold is worth nothing, or it could take a voice away from the speaker whose it is.
    pairs = best_pairs(np.where(alike >= threshold, alike, 0.0))
    return {speakers[row]: voices[column].name for row, column in pairs}


@cache
def version() -> str:
    """What a voiceprint was made by: only voiceprints of one version can be compared."""
    return hashlib.sha256(ENCODER.read_bytes() + PROJECTION.read_bytes()).hexdigest()[:16]


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    wide = np.asarray(vector, np.float32)
    return np.asarray(wide / max(float(np.linalg.norm(wide)), 1e-9), np.float32)
