"""Which voiceprints are one voice: spectral clustering, and the doubts that a cluster must dispel to be a speaker.

Voiceprints are unit vectors, float32 (n, SIZE), and alike as far as their cosine says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import scipy.linalg
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, eigsh

from pipeline.diarisation import Unit
from pipeline.session import MOST_SPEAKERS, Expected
from pipeline.timeline import SAMPLE_RATE

NEIGHBOURS: Final = (8, 0.1)  # the nearest voiceprints that each is compared with, and the share of all others besides
STRANGE: Final = 0.1  # cosine below which two voiceprints have nothing in common; between readers it is 0 on average
PARTED: Final = 0.08  # normalised cut below which two groups are two voices. Between readers most cuts are below that,
# through one of them above .2; moods of one actor are parted by .04 to .25. Measured on voices never heard
ALIKE: Final = 0.55  # cosine above which two groups are one voice, whatever the graph says
NEWCOMER_SECONDS: Final = 1.5  # speech that a new voice must have before it becomes a speaker
NEWCOMER_SHARE: Final = 0.1  # of all active speech, too: the longer one talks, the more one sounds unlike oneself
NEWCOMER_MOST: Final = 60.0  # ... but no more than that: who talks for a minute within an hour is somebody
DISTINCT: Final = 0.25  # cosine to everyone else below which a new voice is believed ...
DISTINCT_SECONDS: Final = 0.9  # ... after this much speech already
MOST: Final = 2_500  # voiceprints in one graph, which takes their square in memory: some 20 minutes of speech
DENSE: Final = 500  # voiceprints in a graph whose spectrum is worked out at once; that of larger ones is iterated for


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

    Spectral clustering: each voiceprint is tied to its nearest ones, and there are as many voices as the graph falls
    into pieces that hardly hang together. So two moods of one voice may be far apart, where others lie between them.
    `expected` may know better how many there are. Few seconds of a new voice are most often an old one in another mood:
    such clusters join the nearest of the others.
    """
    if len(prints) == 1:
        return np.zeros(1, np.int64)
    if len(prints) - known > MOST:
        return _voices_of_many(prints, seconds, known, expected)
    cuts, vectors = _spectrum(_graph(prints, known))
    share = min(NEWCOMER_MOST, NEWCOMER_SHARE * float(seconds[: len(seconds) - known].sum()))
    enough = max(NEWCOMER_SECONDS, share)
    weights = np.append(seconds[: len(seconds) - known], np.full(known, enough))  # who is known need not prove it again
    parted = max(1, int(np.sum(cuts < PARTED)))
    most = expected.most or MOST_SPEAKERS
    first, last, wanted = (most, parted, most) if parted > most else (parted, len(cuts), expected.least)
    clusters, found = np.zeros(len(prints), np.int64), 0
    for count in range(min(max(first, expected.least), len(cuts)), last + 1):  # some pieces are no voices
        pieces = _united(_pieces(vectors[:, :count]), prints, expected.least)
        finer = _absorb(pieces, prints, weights, enough, expected.most)
        if (number := len(set(finer.tolist()))) > found:
            clusters, found = finer, number
        if found >= wanted:
            break
    return clusters


def _graph(prints: NDArray[np.float32], known: int) -> NDArray[np.float32]:
    """How much each voiceprint is tied to each other one, (n, n), symmetric; the last `known` stand for speakers."""
    n = len(prints)
    neighbours = min(n, round(NEIGHBOURS[0] + NEIGHBOURS[1] * n))
    alike = np.maximum(prints @ prints.T - STRANGE, 0) / (1 - STRANGE)
    np.fill_diagonal(alike, 0)
    least = np.partition(alike, n - neighbours, axis=1)[:, n - neighbours, None]
    ties = np.where(alike >= least, alike, 0) ** 2
    ties = (ties + ties.T) / 2
    np.fill_diagonal(ties, 1)  # to itself: so a new voice is parted from the others while it has said little
    if 0 < known < n:  # a speaker is as much as a group of voiceprints, and holds together like one
        strength = ties[: n - known].sum(axis=1)
        np.fill_diagonal(ties[n - known :, n - known :], np.median(strength))
    return np.asarray(ties, np.float32)


def _spectrum(graph: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The smallest eigenvalues of a graph's normalised Laplacian, ascending, MOST_SPEAKERS at most, and the vectors.

    The k-th is about what it costs to part the graph into k (von Luxburg 2007, "A tutorial on spectral clustering").
    """
    n = len(graph)
    scale = 1 / np.sqrt(graph.sum(axis=1) + 1e-6)
    normal = graph * scale[:, None] * scale
    least = max(0, n - MOST_SPEAKERS)
    try:
        if n <= DENSE:
            found, vectors = scipy.linalg.eigh(normal, subset_by_index=[least, n - 1])
        else:
            found, vectors = eigsh(normal, MOST_SPEAKERS, which="LA", v0=np.ones(n, np.float32), tol=1e-4)
    except (LinAlgError, ArpackError):  # both may fail where eigenvalues coincide, as those of equal voiceprints do
        found, vectors = scipy.linalg.eigh(normal, driver="evd")
        found, vectors = found[least:], vectors[:, least:]
    return 1 - found[::-1], vectors[:, ::-1]


def _pieces(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which of k pieces each row of eigenvectors (n, k) belongs to.

    Rows of one piece point one way. Pivoted QR finds k rows that point in different ways, and the rotation nearest to
    those turns every piece onto an axis of its own (Damle, Minden and Ying 2019, "Simple, direct and efficient
    multi-way spectral clustering"); nothing is left to chance.
    """
    ways = unit_length(vectors)
    _, _, pivots = scipy.linalg.qr(ways.T, mode="economic", pivoting=True)
    left, _, right = scipy.linalg.svd(ways[pivots[: ways.shape[1]]].T)
    return np.asarray(np.abs(ways @ (left @ right)).argmax(axis=1), np.int64)


def _united(pieces: NDArray[np.int64], prints: NDArray[np.float32], fewest: int) -> NDArray[np.int64]:
    """The pieces with those joined that are ALIKE, until `fewest` are left: few near ones may have kept them apart."""
    while len(labels := np.unique(pieces)) > fewest:
        centres = unit_length(np.stack([prints[pieces == label].sum(0) for label in labels]))
        alike = np.triu(centres @ centres.T, 1)
        one, other = np.unravel_index(alike.argmax(), alike.shape)
        if alike[one, other] < ALIKE:
            break
        pieces = np.where(pieces == labels[other], labels[one], pieces)
    return pieces


def _voices_of_many(
    prints: NDArray[np.float32], seconds: NDArray[np.float64], known: int, expected: Expected
) -> NDArray[np.int64]:
    """As `voices`: MOST of them, evenly taken, tell which voices there are, and all others join the nearest."""
    heard = len(prints) - known
    chosen = np.append(np.linspace(0, heard - 1, MOST).round().astype(np.int64), np.arange(heard, len(prints)))
    standing_for = float(seconds[:heard].sum()) / max(float(seconds[chosen].sum()), 1e-9)  # each for its neighbours
    clusters = voices(prints[chosen], seconds[chosen] * standing_for, known, expected)
    labels = np.unique(clusters)
    centres = unit_length(np.stack([prints[chosen[clusters == label]].sum(0) for label in labels]))
    joined = labels[np.argmax(prints @ centres.T, axis=1)]
    joined[chosen] = clusters
    return np.asarray(joined, np.int64)


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
