"""Turn the published speaker encoder into the ONNX graph that the service runs.

The encoder is Resemblyzer's (Apache-2.0): GE2E, three LSTM layers over 40 power-mel bands, 256 numbers out
(Wan et al. 2018, arXiv 1710.10467). Its package needs torch to run; this writes the same weights as one ONNX
file of 2.9 MB, half precision on disk and single precision in use, so that the service needs no torch. What comes out
is the last layer's sum, before the rectifier that GE2E was trained with: half of what it tells voices apart by is
below zero, and the projection that follows (`training/projection.py`) can use it.

    python -m training.voiceprint PRETRAINED.pt pipeline/models/voiceprint/encoder.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

LAYERS = 3
BANDS = 40
SIZE = 256


def gates_in_onnx_order(weights: np.ndarray) -> np.ndarray:
    """Reorder (4 * SIZE, ...) from torch's gates, input-forget-cell-output, to ONNX's, input-output-forget-cell."""
    i, f, c, o = np.split(weights, 4, axis=0)
    return np.concatenate([i, o, f, c], axis=0)


def build(state: dict[str, torch.Tensor]) -> onnx.ModelProto:
    """The graph: mel (frames, batch, BANDS) and lengths (batch,) in, embeddings (batch, SIZE) out."""
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value.astype(np.float16), name + "_half"))
        nodes.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
        return name

    sequence = "mel"
    for layer in range(LAYERS):
        weights = {
            key: gates_in_onnx_order(state[f"lstm.{key}_l{layer}"].numpy())
            for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        w = constant(f"w{layer}", weights["weight_ih"][None])
        r = constant(f"r{layer}", weights["weight_hh"][None])
        b = constant(f"b{layer}", np.concatenate([weights["bias_ih"], weights["bias_hh"]])[None])
        outputs = [f"all{layer}", f"last{layer}"]
        nodes.append(
            helper.make_node("LSTM", [sequence, w, r, b, "lengths"], outputs, hidden_size=SIZE, name=f"lstm{layer}")
        )
        if layer < LAYERS - 1:
            nodes.append(helper.make_node("Squeeze", [outputs[0], "direction"], [f"sequence{layer}"]))
            sequence = f"sequence{layer}"
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "direction"))
    constants.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    nodes.append(helper.make_node("Squeeze", [f"last{LAYERS - 1}", "first"], ["final"]))
    linear, bias = constant("linear", state["linear.weight"].numpy()), constant("bias", state["linear.bias"].numpy())
    nodes.append(helper.make_node("Gemm", ["final", linear, bias], ["embedding"], transB=1))
    graph = helper.make_graph(
        nodes,
        "voiceprint",
        [
            helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["frames", "batch", BANDS]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", SIZE])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Read the checkpoint, write the graph."""
    parser = argparse.ArgumentParser(description="Write the speaker encoder as ONNX.")
    parser.add_argument("checkpoint", type=Path, help="pretrained.pt of the resemblyzer package")
    parser.add_argument("output", type=Path, help="where the ONNX file goes")
    arguments = parser.parse_args()
    state = torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["model_state"]
    onnx.save(build(state), arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
