"""Which voiceprints are one voice: average linkage, and the doubts that a cluster must dispel to be a speaker.

Voiceprints are unit vectors, float32 (n, SIZE), and distances are 1 - cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from pipeline.diarisation import Unit
from pipeline.session import Expected
from pipeline.timeline import SAMPLE_RATE

APART: Final = 0.66  # mean cosine distance at which two groups of voiceprints are two voices: .63 splits acted
# emotions off their speaker, .69 takes readers together; measured on simulated conversations of both, unheard voices
NEWCOMER_SECONDS: Final = 1.5  # speech that a new voice must have before it becomes a speaker
NEWCOMER_SHARE: Final = 0.15  # of all active speech, too: the longer one talks, the more one sounds unlike oneself
DISTINCT: Final = 0.4  # cosine to everyone else below which a new voice is believed ...
DISTINCT_SECONDS: Final = 0.9  # ... after this much speech already
TRIES: Final = 150  # finer cuts that are tried where fewer voices are found than are expected


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (..., SIZE) at length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float32)


def weighed(unit: Unit) -> NDArray[np.float32]:
    """A unit's voiceprint times its seconds, (SIZE,); the unit must have one."""
    return np.asarray(unit.voiceprint, np.float32) * np.float32((unit.end - unit.start) / SAMPLE_RATE)


def smoothed(units: Sequence[Unit]) -> NDArray[np.float32]:
    """Each unit's voiceprint together with the next ones whose windows hold it too: speech on both sides of it."""
    start, end, window = np.array([(unit.start, unit.end, unit.window) for unit in units]).T
    prints = np.array([unit.voiceprint for unit in units], np.float32) * (end - window)[:, None].astype(np.float32)
    total = prints.copy()
    for later in (1, 2):
        holds = window[later:] <= ((start + end) // 2)[:-later]
        total[:-later] += prints[later:] * holds[:, None]
    return unit_length(total)


def voices(
    prints: NDArray[np.float32], seconds: NDArray[np.float64], known: int, expected: Expected
) -> NDArray[np.int64]:
    """A cluster number (n,) for each voiceprint, of `seconds` (n,) of speech; the last `known` stand for speakers.

    Groups are two voices where they are APART on average. Where that gives fewer than expected, they are cut as much
    finer as gives no more than that: it may stay fewer. Few seconds of a new
    voice are most often an old one in another mood: such clusters join the nearest of the others.
    """
    if len(prints) == 1:
        return np.zeros(1, np.int64)
    tree = linkage(prints, "average", "cosine")
    enough = max(NEWCOMER_SECONDS, NEWCOMER_SHARE * float(seconds[: len(seconds) - known].sum()))
    weights = np.append(seconds[: len(seconds) - known], np.full(known, enough))  # who is known need not prove it again
    clusters = _absorb(fcluster(tree, APART, "distance"), prints, weights, enough, expected.most)
    found = len(set(clusters.tolist()))
    for height in tree[tree[:, 2] < APART, 2][: -1 - TRIES : -1] if found < expected.least else ():
        finer = _absorb(fcluster(tree, height - 1e-6, "distance"), prints, weights, enough, expected.most)
        if found < (number := len(set(finer.tolist()))) <= expected.least:
            clusters, found = finer, number
    return clusters


def _absorb(
    clusters: NDArray[np.int64],
    prints: NDArray[np.float32],
    seconds: NDArray[np.float64],
    enough: float,
    most: int | None,
) -> NDArray[np.int64]:
    """Keep clusters with `enough` seconds of speech, and distinct ones; give the rest to the nearest of those."""
    labels, members = np.unique(clusters, return_inverse=True)
    speech = np.bincount(members, weights=seconds)
    centres = unit_length(np.stack([prints[members == member].sum(0) for member in range(len(labels))]))
    alike = centres @ centres.T
    strong = speech >= min(enough, speech.max())
    for member in np.argsort(-speech, kind="stable"):
        if speech[member] >= DISTINCT_SECONDS and alike[member, strong].max() < DISTINCT:
            strong[member] = True
    if most is not None and strong.sum() > most:
        strong[np.argsort(np.where(strong, -speech, np.inf), kind="stable")[most:]] = False
    heirs = np.flatnonzero(strong)[np.argmax(alike[:, strong], axis=1)]
    return np.asarray(labels[np.where(strong, np.arange(len(labels)), heirs)[members]], np.int64)
