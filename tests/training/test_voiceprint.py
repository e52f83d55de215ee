"""The encoder as it is written: the published network's answers, nearly, and no other in company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from training.voiceprint import BANDS, LAYERS, SIZE, State, build, write

Batch = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def state() -> State:
    """Weights as the published checkpoint names them."""
    torch.manual_seed(1)
    network = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(BANDS, SIZE, LAYERS), "linear": torch.nn.Linear(SIZE, SIZE)})
    return network.state_dict()


@pytest.fixture(scope="module")
def windows() -> Batch:
    """Mel powers (frames, BANDS) of several lengths."""
    rng = np.random.default_rng(2)
    return [rng.exponential(0.3, (frames, BANDS)).astype(np.float32) for frames in (33, 161, 90, 12)]


@pytest.fixture(scope="module")
def quantised(state: State, tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path: Path = tmp_path_factory.mktemp("encoder") / "encoder.onnx"
    write(state, path)
    return onnxruntime.InferenceSession(path)


def answers(network: onnxruntime.InferenceSession, windows: Batch) -> NDArray[np.float32]:
    lengths = np.array([len(window) for window in windows], np.int32)
    batch = np.zeros((lengths.max(), len(windows), BANDS), np.float32)
    for i, window in enumerate(windows):
        batch[: len(window), i] = window
    return np.asarray(network.run(["embedding"], {"mel": batch, "lengths": lengths})[0])


def of_torch(state: State, windows: Batch) -> NDArray[np.float32]:
    lstm, linear = torch.nn.LSTM(BANDS, SIZE, LAYERS), torch.nn.Linear(SIZE, SIZE)
    lstm.load_state_dict({key.removeprefix("lstm."): value for key, value in state.items() if "lstm" in key})
    linear.load_state_dict({key.removeprefix("linear."): value for key, value in state.items() if "linear" in key})
    with torch.no_grad():
        return np.stack([linear(lstm(torch.from_numpy(window))[0][-1]).numpy() for window in windows])


def test_it_answers_as_the_published_network_does(state: State, windows: Batch) -> None:
    network = onnxruntime.InferenceSession(build(state).SerializeToString())
    assert answers(network, windows) == pytest.approx(of_torch(state, windows), abs=1e-5)


def test_quantised_it_nearly_does(state: State, windows: Batch, quantised: onnxruntime.InferenceSession) -> None:
    theirs, ours = of_torch(state, windows), answers(quantised, windows)
    assert np.any(ours != theirs)
    assert np.std(ours - theirs) < 0.02 * theirs.std()


def test_quantised_its_answer_is_the_same_in_any_company(
    windows: Batch, quantised: onnxruntime.InferenceSession
) -> None:
    alone = np.concatenate([answers(quantised, [window]) for window in windows])
    loud = [*windows, 50 * windows[1]]  # whose numbers go further than those of all others
    np.testing.assert_array_equal(answers(quantised, loud)[: len(windows)], alone)
