"""The trained network as the ONNX graph that the service runs."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.overlap import SIZE
from training.overlap.network import MIDDLE, SPREAD, Hearing
from training.overlap.recipe import CLASSES, LAYERS, Recipe


def graph(network: Hearing, how: Recipe) -> onnx.ModelProto:
    """The ONNX graph: features (batch, frames, SIZE) in, probabilities (batch, frames, CLASSES) out.

    Weights are half precision on disk and single precision in use.
    """
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: NDArray[np.float32]) -> str:
        constants.append(numpy_helper.from_array(value.astype(np.float16), name + "_half"))
        nodes.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
        return name

    def shape(name: str, *sizes: int) -> str:
        constants.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
        return name

    def gates(kind: str, layer: int) -> NDArray[np.float32]:
        """Of both directions, from torch's order of gates, reset-update-new, to ONNX's, update-reset-new."""
        both = [np.split(state[f"around.{kind}_l{layer}{way}"], 3) for way in ("", "_reverse")]
        return np.stack([np.concatenate([update, reset, new]) for reset, update, new in both])

    weights = state["project.weight"].T / SPREAD
    bias = state["project.bias"] - MIDDLE * weights.sum(axis=0)
    nodes += [
        helper.make_node("MatMul", ["features", constant("project", weights)], ["projected"]),
        helper.make_node("Add", ["projected", constant("project_bias", bias)], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["positive"]),
        helper.make_node("Transpose", ["positive"], ["sequence"], perm=[1, 0, 2]),  # frames first
    ]
    sequence = "sequence"
    for layer in range(LAYERS):
        w, r = constant(f"w{layer}", gates("weight_ih", layer)), constant(f"r{layer}", gates("weight_hh", layer))
        b = constant(f"b{layer}", np.concatenate([gates("bias_ih", layer), gates("bias_hh", layer)], axis=1))
        nodes += [
            helper.make_node(
                "GRU",
                [sequence, w, r, b],
                [f"ways{layer}"],
                hidden_size=how.hidden,
                direction="bidirectional",
                linear_before_reset=1,
            ),
            helper.make_node("Transpose", [f"ways{layer}"], [f"frames{layer}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"frames{layer}", shape(f"flat{layer}", 0, 0, -1)], [f"both{layer}"]),
        ]
        sequence = f"both{layer}"
    nodes += [
        helper.make_node("MatMul", [sequence, constant("decide", state["decide.weight"].T)], ["decided"]),
        helper.make_node("Add", ["decided", constant("decide_bias", state["decide.bias"])], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=2),
        helper.make_node("Transpose", ["probabilities"], ["counts"], perm=[1, 0, 2]),
    ]
    made = helper.make_graph(
        nodes,
        "overlap",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frames", SIZE])],
        [helper.make_tensor_value_info("counts", TensorProto.FLOAT, ["batch", "frames", CLASSES])],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model
