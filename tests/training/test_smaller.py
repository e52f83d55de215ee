"""Weights in bytes: as many values as a byte has, whatever the size of a row, and few weights stay as they are."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from training.smaller import WORTH, stored_in_bytes


def product(weights: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """A graph that gives weights @ x + bias."""
    nodes = [helper.make_node("MatMul", ["w", "x"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    put = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [weights.shape[1], 1])]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [weights.shape[0], 1])]
    constants = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(nodes, "product", put, out, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_each_row_has_a_scale_of_its_own() -> None:
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((64, WORTH // 64), np.float32) * np.logspace(-6, 6, 64, dtype=np.float32)[:, None]
    bias = np.zeros((64, 1), np.float32)
    heard = rng.standard_normal((weights.shape[1], 1), np.float32)
    smaller = stored_in_bytes(product(weights, bias))
    (answer,) = onnxruntime.InferenceSession(smaller.SerializeToString()).run(["y"], {"x": heard})
    off = np.abs(answer - weights @ heard)
    assert off.max() > 0
    assert np.all(off <= np.abs(weights).max(axis=1, keepdims=True) / 127 / 2 * np.abs(heard).sum() * 1.001)
    assert smaller.ByteSize() < product(weights, bias).ByteSize() / 3


def test_nothing_is_divided_by_a_row_of_zeros() -> None:
    weights = np.zeros((64, WORTH // 64), np.float32)
    smaller = stored_in_bytes(product(weights, np.ones((64, 1), np.float32)))
    (answer,) = onnxruntime.InferenceSession(smaller.SerializeToString()).run(
        ["y"], {"x": np.ones((64, 1), np.float32)}
    )
    np.testing.assert_array_equal(answer, np.ones((64, 1), np.float32))


def test_few_weights_stay_as_they_are() -> None:
    weights = np.random.default_rng(2).standard_normal((8, 8), np.float32)
    kept = stored_in_bytes(product(weights, np.zeros((8, 1), np.float32))).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(kept[0]), weights)
