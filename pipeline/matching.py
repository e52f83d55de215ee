"""The best one-to-one pairs: which cluster, which tag or which enrolled voice is which speaker's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def best_pairs(worth: NDArray[np.floating]) -> list[tuple[int, int]]:
    """Rows and columns of `worth`, (rows, columns), no one twice, whose pairs are worth the most in all.

    A pair that is worth 0 or less is left out. This is the assignment problem (Kuhn 1955, doi 10.1002/nav.3800020109).
    """
    from scipy.optimize import linear_sum_assignment  # takes 0.3 s and 15 MB, which few processes need

    pairs: Any = zip(*linear_sum_assignment(worth, maximize=True), strict=True)
    return [(int(row), int(column)) for row, column in pairs if worth[row, column] > 0]


def warm_up() -> None:
    """Import now what the first pairs would have to wait for."""
    best_pairs(np.zeros((1, 1)))
