from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.baseline import PRIOR_SECONDS, SpeakerBaseline

SIZE = 3


def some(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of a voice that lies and moves as nobody else's, and the seconds of each."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal((2.0, -1.0, 0.0), (0.5, 2.0, 1.0), (count, SIZE)).astype(np.float32)
    return embeddings, rng.uniform(0.1, 0.5, count)


def assert_same(one: SpeakerBaseline, other: SpeakerBaseline) -> None:
    assert one.seconds == pytest.approx(other.seconds, rel=1e-5)
    np.testing.assert_allclose(one.total, other.total, rtol=1e-4)
    np.testing.assert_allclose(one.squares, other.squares, rtol=1e-4)


def test_parts_add_up_to_the_whole_in_any_order() -> None:
    embeddings, seconds = some(30)
    whole = SpeakerBaseline.of(embeddings, seconds)
    first, second, third = (
        SpeakerBaseline.of(embeddings[part], seconds[part]) for part in (slice(4), slice(4, 5), slice(5, None))
    )
    for one, two, three in itertools.permutations([first, second, third]):
        assert_same(one + two + three, whole)
        assert_same(one + (two + three), whole)


def test_an_unknown_speaker_adds_nothing() -> None:
    known = SpeakerBaseline.of(*some(5))
    for total in (known + SpeakerBaseline.unknown(SIZE), SpeakerBaseline.unknown(SIZE) + known):
        assert total.seconds == known.seconds
        np.testing.assert_array_equal(total.total, known.total)
        np.testing.assert_array_equal(total.squares, known.squares)


def test_an_embedding_counts_by_its_seconds() -> None:
    twice = SpeakerBaseline.of(np.array([[2.0], [2.0]], np.float32), np.array([1.0, 1.0]))
    once = SpeakerBaseline.of(np.array([[2.0]], np.float32), np.array([2.0]))
    for baseline in (once, twice):
        assert (baseline.seconds, baseline.total.tolist(), baseline.squares.tolist()) == (2, [4], [8])


def test_against_an_unknown_speaker_an_embedding_stays_as_it_is() -> None:
    (embedding,), _ = some(1)
    np.testing.assert_array_equal(SpeakerBaseline.unknown(SIZE).normalise(embedding), embedding)


def test_trust_grows_from_nothing_over_a_half_to_one() -> None:
    def after(seconds: float) -> float:
        return SpeakerBaseline.of(np.ones((1, SIZE), np.float32), np.array([seconds])).trust

    assert SpeakerBaseline.unknown(SIZE).trust == 0
    assert after(PRIOR_SECONDS) == 0.5
    assert after(1e6) == pytest.approx(1, abs=1e-4)
    grown = [after(seconds) for seconds in (0.5, 1, 5, 20, 60, 600)]
    assert grown == sorted(grown)
    assert 0 < grown[0] < grown[-1] < 1


def test_a_speaker_weighs_by_what_they_have_said_and_everybody_by_the_prior() -> None:
    baseline = SpeakerBaseline.of(np.array([[1.0], [3.0]], np.float32), np.array([2.0, 6.0]))
    assert PRIOR_SECONDS == 8
    mean = (2 * 1 + 6 * 3) / (8 + 8)
    variance = (2 * (1 - mean) ** 2 + 6 * (3 - mean) ** 2 + 8 * 1) / (8 + 8)
    for embedding in (-1.0, mean, 4.0):
        expected = (embedding - mean) / np.sqrt(variance)
        assert baseline.normalise(np.array([embedding], np.float32)) == pytest.approx([expected], abs=1e-6)


def test_with_much_speech_it_is_the_plain_z_score() -> None:
    embeddings, seconds = some(2_000)
    seconds = seconds * 100
    mean = np.average(embeddings, axis=0, weights=seconds)
    deviation = np.sqrt(np.average(np.square(embeddings - mean), axis=0, weights=seconds))
    baseline = SpeakerBaseline.of(embeddings, seconds)
    for embedding in embeddings[:10]:
        np.testing.assert_allclose(baseline.normalise(embedding), (embedding - mean) / deviation, atol=5e-3)


@pytest.mark.parametrize("seconds", [0.5, 60.0, 3_600.0, 1e9])
def test_a_voice_that_never_moves_does_not_blow_up(seconds: float) -> None:
    embedding = np.array([0.0, 3.0, -3.0], np.float32)
    baseline = SpeakerBaseline.of(np.tile(embedding, (10, 1)), np.full(10, seconds / 10))
    assert np.abs(baseline.normalise(embedding)).max() < 4
    assert np.abs(baseline.normalise(embedding + np.float32(0.1))).max() < 12
