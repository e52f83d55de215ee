"""Turn the published speaker encoder into the ONNX graph that the service runs.

The encoder is Resemblyzer's (Apache-2.0): GE2E, three LSTM layers over 40 power-mel bands, 256 numbers out
(Wan et al. 2018, arXiv 1710.10467). Its package needs torch to run; this writes its weights as one ONNX file of 2.6 MB,
so that the service needs no torch. What comes out is the last layer's sum, before the rectifier that GE2E was trained
with: half of what it tells voices apart by is below zero, and the projection that follows (`training/projection.py`)
can use it.

The second and third layers, three quarters of the work, are quantised to 8 bits, which halves the time. ONNX Runtime
chooses the scale of what a layer takes by the least and greatest number in the whole batch, so an answer would depend
on its company. Therefore each layer has two more cells, the RAILS: they always say 1 and -1, nobody listens to them,
and no other cell says more, so that the scale is always the same. The first layer takes powers, of which a few
great ones would leave the others no bits: it stays in single precision.

    python -m training.voiceprint PRETRAINED.pt pipeline/models/voiceprint/encoder.onnx
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

LAYERS: Final = 3
QUANTISED: Final = ["lstm1", "lstm2"]
BANDS: Final = 40
SIZE: Final = 256
RAILS: Final = (1.0, -1.0)  # what the cells that are added to a layer always say
CELLS: Final = SIZE + len(RAILS)
OPEN: Final = 100.0  # a gate is wide open, and shut at the negative: its sigmoid is 1, or 0
FULL: Final = 20.0  # a cell's state of which the tanh is 1

Array = NDArray[np.float32]
State = Mapping[str, torch.Tensor]


def gates_in_onnx_order(weights: Array) -> Array:
    """Reorder (4 * SIZE, ...) from torch's gates, input-forget-cell-output, to ONNX's, input-output-forget-cell."""
    i, f, c, o = np.split(weights, 4, axis=0)
    return np.concatenate([i, o, f, c], axis=0)


def with_rails(gates: Array, input_gate: float = 0, output_gate: float = 0, forget_gate: float = 0) -> Array:
    """(4 * SIZE, ...) with rows for the RAILS, whose gates hold these numbers: (4 * CELLS, ...)."""
    parts = [
        np.concatenate([gate, np.full((len(RAILS), *gate.shape[1:]), number, np.float32)])
        for gate, number in zip(np.split(gates, 4), (input_gate, output_gate, forget_gate, 0), strict=True)
    ]
    return np.concatenate(parts)


def deaf_to_rails(weights: Array) -> Array:
    """(..., SIZE) with zeros for what the RAILS say: (..., CELLS)."""
    return np.concatenate([weights, np.zeros((*weights.shape[:-1], len(RAILS)), np.float32)], axis=-1)


def layer(state: State, number: int) -> dict[str, Array]:
    """The weights of a layer and its RAILS as ONNX's LSTM takes them, by their names there."""
    taken, said, bias, other_bias = (
        gates_in_onnx_order(state[f"lstm.{name}_l{number}"].numpy())
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    bias = with_rails(bias + other_bias, input_gate=-OPEN, output_gate=OPEN, forget_gate=OPEN)
    return {
        "W": with_rails(taken if number == 0 else deaf_to_rails(taken))[None],
        "R": with_rails(deaf_to_rails(said))[None],
        "B": np.append(bias, np.zeros_like(bias))[None],
    }


def build(state: State) -> onnx.ModelProto:
    """The graph, not quantised: mel (frames, batch, BANDS) and lengths (batch,) in, embeddings (batch, SIZE) out."""
    arrays = {
        "cells": np.append(np.zeros(SIZE), np.multiply(RAILS, FULL)).astype(np.float32),
        "width": np.array([CELLS]),
        "direction": np.array([1]),
        "first": np.array([0]),
        "linear": deaf_to_rails(state["linear.weight"].numpy()),
        "bias": state["linear.bias"].numpy(),
    }
    nodes = [
        helper.make_node("Shape", ["lengths"], ["batch"]),
        helper.make_node("Concat", ["direction", "batch", "width"], ["of_all"], axis=0),
        helper.make_node("Expand", ["cells", "of_all"], ["begun"]),
    ]
    heard = "mel"
    for number in range(LAYERS):
        weights = {f"{name}{number}": array for name, array in layer(state, number).items()}
        arrays |= weights
        said, last = f"said{number}", f"last{number}"
        inputs = [heard, *weights, "lengths", "", "begun"]
        nodes.append(helper.make_node("LSTM", inputs, [said, last], f"lstm{number}", hidden_size=CELLS))
        if number < LAYERS - 1:
            heard = f"heard{number}"
            nodes.append(helper.make_node("Squeeze", [said, "direction"], [heard]))
    nodes += [
        helper.make_node("Squeeze", [last, "first"], ["final"]),
        helper.make_node("Gemm", ["final", "linear", "bias"], ["embedding"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "voiceprint",
        [
            helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["frames", "batch", BANDS]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", SIZE])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write(state: State, path: Path) -> None:
    """Write the graph to a file, quantised.

    Both factors are unsigned: signed weights overflow on processors that have no instructions for such products.
    """
    with TemporaryDirectory() as folder:
        single = Path(folder) / "single.onnx"
        onnx.save(build(state), single)
        quantize_dynamic(
            single, path, ["LSTM"], per_channel=True, weight_type=QuantType.QUInt8, nodes_to_quantize=QUANTISED
        )


def main() -> None:
    """Read the checkpoint, write the graph."""
    parser = argparse.ArgumentParser(description="Write the speaker encoder as ONNX.")
    parser.add_argument("checkpoint", type=Path, help="pretrained.pt of the resemblyzer package")
    parser.add_argument("output", type=Path, help="where the ONNX file goes")
    arguments = parser.parse_args()
    write(torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["model_state"], arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
