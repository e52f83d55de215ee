"""Smaller files for networks that are in single precision when they run."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WORTH: Final = 4096  # weights that a tensor must have; the few others decide more than they take


def stored_in_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large weights kept as 8 bits and a scale for each row of their first axis.

    ONNX Runtime multiplies them out once, when it loads the model.
    """
    kept, nodes = [], []
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.size < WORTH or weights.ndim < 2:
            kept.append(tensor)
            continue
        scale, steps = _in_steps(weights)
        few, of_each, whole = f"{tensor.name}.steps", f"{tensor.name}.scale", f"{tensor.name}.counted"
        kept += [numpy_helper.from_array(steps, few), numpy_helper.from_array(scale, of_each)]
        nodes.append(helper.make_node("Cast", [few], [whole], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [whole, of_each], [tensor.name]))
    smaller = onnx.ModelProto()
    smaller.CopyFrom(model)
    del smaller.graph.initializer[:], smaller.graph.node[:]
    smaller.graph.initializer.extend(kept)
    smaller.graph.node.extend([*nodes, *model.graph.node])
    onnx.checker.check_model(smaller)
    return smaller


def _in_steps(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """The size of a step for each row, (n, 1, ...), and the weights in such steps, -127 to 127."""
    most = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True)
    scale = np.maximum(most / 127, 1e-12).astype(np.float32)
    return scale, np.round(weights / scale).astype(np.int8)
