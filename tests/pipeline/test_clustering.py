from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.linalg import LinAlgError
from scipy.sparse.linalg import ArpackError
from threadpoolctl import threadpool_limits

from pipeline import clustering
from pipeline.clustering import unit_length, voices
from pipeline.session import Expected
from pipeline.voiceprint import SIZE

ANYBODY = Expected()


def talk(*speakers: int, spread: float = 0.6, seed: int = 1) -> np.ndarray:
    """A voiceprint (SIZE,) for each half second, of these speakers; the larger `spread`, the less alike one's own."""
    rng = np.random.default_rng(seed)
    centres = unit_length(np.random.default_rng(0).standard_normal((8, SIZE)).astype(np.float32))
    own = unit_length(rng.standard_normal((len(speakers), SIZE)).astype(np.float32))
    return unit_length(centres[list(speakers)] + spread * own)


def halves(prints: np.ndarray) -> np.ndarray:
    return np.full(len(prints), 0.5)


def same(clusters: np.ndarray, speakers: list[int]) -> bool:
    """Whether two partitions are one, whatever their labels."""
    return len({*zip(clusters.tolist(), speakers, strict=True)}) == len({*clusters.tolist()}) == len({*speakers})


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8])
def test_there_are_as_many_voices_as_speak(number: int) -> None:
    speakers = [speaker for turn in range(4) for speaker in range(number) for _ in range(5 + turn)]
    prints = talk(*speakers)
    assert same(voices(prints, halves(prints), 0, ANYBODY), speakers)


def test_the_same_voiceprints_give_the_same_voices() -> None:
    prints = talk(*[0] * 20, *[1] * 20, *[2] * 9, spread=1.5)
    first, again = (voices(prints.copy(), halves(prints), 0, ANYBODY) for _ in range(2))
    assert first.tolist() == again.tolist()


def test_strange_sounds_are_nobody() -> None:
    speakers = [0] * 15 + [1] * 15
    prints = np.concatenate([talk(*speakers), talk(5, 6, 7)])  # each a voice that is never heard again
    clusters = voices(prints, halves(prints), 0, ANYBODY)
    assert same(clusters[:30], speakers)
    assert {*clusters[30:].tolist()} <= {*clusters[:30].tolist()}


def test_who_was_known_before_has_a_place() -> None:
    said = talk(*[0] * 12, *[1] * 12)
    known = talk(1, 0, 2, spread=0.1)
    clusters = voices(np.concatenate([said, known]), np.append(halves(said), np.zeros(3)), 3, ANYBODY).tolist()
    assert (clusters[24], clusters[25]) == (clusters[12], clusters[0])
    assert clusters[26] not in {clusters[0], clusters[12]}, "who does not talk now is nobody else"


@pytest.mark.parametrize(("expected", "number"), [(Expected(1, 2), 2), (Expected(1, 1), 1), (Expected(4, 4), 4)])
def test_as_many_as_are_expected(expected: Expected, number: int) -> None:
    prints = talk(*[0] * 20, *[1] * 20, *[2] * 20)
    assert len({*voices(prints, halves(prints), 0, expected).tolist()}) == number


@pytest.mark.parametrize("limit", ["DENSE", "MOST"])
def test_long_recordings_are_heard_like_short_ones(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    speakers = [0, 1, 2, 3] * 60
    monkeypatch.setattr(clustering, limit, 100)
    prints = talk(*speakers)
    assert same(voices(prints, halves(prints), 0, ANYBODY), speakers)


@pytest.mark.parametrize(("limit", "error"), [(500, LinAlgError("Internal Error.")), (10, ArpackError(-9999))])
def test_where_the_quick_way_to_the_spectrum_fails_there_is_another(
    limit: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LAPACK's quickest gives up on one thread where voiceprints are equal, and a conversation could not go on."""
    whole = scipy.linalg.eigh

    def quick(*given: Any, **asked: Any) -> Any:
        if "driver" in asked:
            return whole(*given, **asked)
        raise error

    speakers = [0] * 20 + [1] * 9 + [2] * 12
    prints = talk(*speakers, spread=0.0)
    monkeypatch.setattr(clustering, "DENSE", limit)
    monkeypatch.setattr(scipy.linalg, "eigh", quick)
    monkeypatch.setattr(clustering, "eigsh", quick)
    assert same(voices(prints, halves(prints), 0, ANYBODY), speakers)


def test_equal_voiceprints_are_one_voice() -> None:
    for speakers in ([0] * first + [1] * second for first in range(4, 60, 7) for second in range(4, 60, 7)):
        prints = talk(*speakers, spread=0.0)
        with threadpool_limits(1):
            assert same(voices(prints, halves(prints), 0, ANYBODY), speakers)
