from __future__ import annotations

import numpy as np
import pytest

from pipeline import snapshot


def test_what_is_packed_comes_back() -> None:
    state = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": {"c": [None, 1.5, "x"]}, 7: np.float32(2)}
    back = snapshot.unpack(snapshot.pack(state))
    assert back["a"].dtype == np.int16
    assert np.array_equal(back["a"], state["a"])
    assert (back["b"], back[7]) == ({"c": [None, 1.5, "x"]}, 2.0)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x01"])
def test_damage_is_noticed(data: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        snapshot.unpack(data)
