"""The service built otherwise, for the benchmarks alone: nothing of this is in the product.

    BENCHMARK_VARIANT=unbatched python -m tests.benchmarks.variants up

is `tonetrack up`, but every worker of its Ray first replaces what the variant is about.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.cli import main
from deployments.own_ray import alone
from pipeline import emotion, features, functionals
from pipeline.emotion import BATCHES, EmotionModel
from pipeline.fragments import LONGEST
from pipeline.timeline import SAMPLE_RATE

VARIANT, ONNX_FILE = "BENCHMARK_VARIANT", "BENCHMARK_ONNX"
AT_ONCE = 64  # calls under way where nothing is batched: as many as a replica takes

Array = NDArray[np.float32]


def unbatched() -> None:
    """One hop a call and one fragment a call, all the way: no gathering in the actors, no `serve.batch`."""
    from deployments import gather, pool, sessions
    from deployments.emotion import EmotionRecogniser

    async def embed(self: Any, fragments: Sequence[NDArray[np.int16]]) -> list[Array]:
        return [self._model.embed([fragment])[0] for fragment in fragments]

    for module in (pool, sessions):
        vars(module)["Gatherer"] = partial(gather.Gatherer, size=1, in_flight=AT_ONCE)
    EmotionRecogniser.embed = embed  # type: ignore[method-assign]


def onnx() -> None:
    """The emotion model in ONNX Runtime, from the file that BENCHMARK_ONNX names."""
    vars(emotion)["EmotionModel"] = OnnxEmotionModel
    EmotionModel.load = OnnxEmotionModel.load  # type: ignore[method-assign]


VARIANTS: dict[str, Callable[[], None]] = {"unbatched": unbatched, "onnx": onnx}


@dataclass(frozen=True)
class Output:
    """What ONNX Runtime answers, as TensorFlow would hand it over."""

    array: Array

    def numpy(self) -> Array:
        """The array itself."""
        return self.array


class OnnxEmotionModel(EmotionModel):
    """The emotion model with ONNX Runtime in place of TensorFlow; features, batches and embeddings are the same."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]

        def answer(*inputs: NDArray[Any]) -> Output:
            return Output(session.run(None, dict(zip(names, inputs, strict=True)))[0])

        self._frames = features.frames_in(round(LONGEST * SAMPLE_RATE))
        self._embed = dict.fromkeys(BATCHES, answer)

    @classmethod
    def load(cls, directory: object = None) -> EmotionModel:
        """The model that was exported for this run."""
        return cls(os.environ[ONNX_FILE])


def export(path: str) -> dict[str, Any]:
    """Write the shipped emotion model as ONNX; the largest difference of an embedding's number from Keras's own.

    Keras 3 runs the same weights in PyTorch, whose exporter by tracing makes the graph; the newer one (dynamo) makes
    one that ONNX Runtime 1.31 refuses ("Type parameter (T) of Optype (Sub) bound to different types"). Needs the `onnx`
    package. To be called in a process that has not imported Keras.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import onnxruntime
    import torch

    network = keras.saving.load_model(emotion.SHIPPED / emotion.WEIGHTS, compile=False)
    network.eval()

    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network  # so that the weights are the module's own parameters

        def forward(self, *inputs: Any) -> Any:
            return self.network(list(inputs), training=False)

    frames = features.frames_in(round(LONGEST * SAMPLE_RATE))
    generator = torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(4, frames, features.MEL_BANDS, generator=generator),
        torch.ones(4, frames, dtype=torch.bool),
        torch.randn(4, functionals.COUNT, generator=generator),
    )
    names = ["frames", "heard", "functionals"]
    axes = {name: {0: "batch"} for name in (*names, "embedding")}
    torch.onnx.export(
        Traced(), inputs, path, dynamo=False, input_names=names, output_names=["embedding"], dynamic_axes=axes
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {name: given.numpy() for name, given in zip(names, inputs, strict=True)})
    with torch.no_grad():
        difference = np.abs(Traced()(*inputs).cpu().numpy() - exported).max()
    return {"difference": float(difference)}


def set_up() -> None:
    """Called by Ray in every worker, before anything else."""
    VARIANTS[os.environ[VARIANT]]()


def _with_set_up() -> None:
    """Have the Ray that `tonetrack up` starts call `set_up` in its workers."""
    os.environ.update(alone())  # before Ray is imported, which looks at it then

    import ray

    plain = ray.init
    hook = {"worker_process_setup_hook": f"{__spec__.name}.set_up"}
    vars(ray)["init"] = lambda *args, **kwargs: plain(*args, runtime_env=hook, **kwargs)


if __name__ == "__main__":
    _with_set_up()
    main()
