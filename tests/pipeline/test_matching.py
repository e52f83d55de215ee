"""Pairs that are worth the most in all, against every way to pair."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from pipeline.matching import best_pairs


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 5), (4, 4)])
def test_no_other_pairs_are_worth_more(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    rows, columns = shape
    for _ in range(20):
        worth = rng.uniform(0.01, 1, shape)
        best = max(worth[range(rows), way].sum() for way in permutations(range(columns), rows))
        for matrix in (worth, worth.T):
            pairs = best_pairs(matrix)
            assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == rows
            assert sum(matrix[pair] for pair in pairs) == pytest.approx(best)


def test_what_is_worth_nothing_is_no_pair() -> None:
    assert best_pairs(np.array([[0.0, 2.0], [0.0, 1.0], [-1.0, 0.0]])) == [(0, 1)]
    assert best_pairs(np.zeros((0, 3))) == []
