"""Snapshots: a conversation's state as bytes, in msgpack with numpy arrays, which cannot carry code as pickle can."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np


def pack(state: dict[str, Any]) -> bytes:
    """Bytes of a nest of dicts, lists, numbers, strings and arrays."""
    packed: bytes = msgpack.packb(state, default=_pack_array)
    return packed


def unpack(data: bytes) -> dict[str, Any]:
    """What `pack` was given. Raises `ValueError` for bytes that it did not make."""
    try:
        state = msgpack.unpackb(data, object_hook=_unpack_array, strict_map_key=False)
    except (msgpack.UnpackException, ValueError) as error:
        raise ValueError("the snapshot is damaged") from error
    if not isinstance(state, dict):
        raise ValueError("the snapshot is damaged")
    return state


def _pack_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"__array__": value.dtype.str, "shape": value.shape, "data": value.tobytes()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a snapshot cannot hold {type(value).__name__}")


def _unpack_array(value: dict[Any, Any]) -> Any:
    if "__array__" in value:
        return np.frombuffer(value["data"], value["__array__"]).reshape(value["shape"])
    return value
