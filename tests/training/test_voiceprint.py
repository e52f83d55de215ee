"""The encoder as it is written: the network's answers, nearly, from a file of a quarter of its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from training.voiceprint import BANDS, SIZE, Encoder, write


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """One that has learnt nothing, but whose normalisation is not idle."""
    torch.manual_seed(1)
    network = Encoder().eval()
    for name, numbers in network.named_buffers():
        if numbers.is_floating_point():
            numbers.copy_(torch.rand_like(numbers) + (0.5 if name.endswith("var") else -0.5))
    return network


@pytest.fixture(scope="module")
def written(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.onnx"
    write(encoder.state_dict(), path)
    return path


@pytest.mark.parametrize("frames", [30, 77, 158, 198])
def test_it_answers_nearly_as_the_network_does(encoder: Encoder, written: Path, frames: int) -> None:
    heard = np.random.default_rng(frames).standard_normal((2, frames, BANDS), np.float32)
    with torch.no_grad():
        theirs = encoder(torch.from_numpy(heard)).numpy()
    ours = onnxruntime.InferenceSession(written).run(["embedding"], {"fbank": heard})[0]
    assert ours.shape == (2, SIZE)
    assert 0 < np.std(ours - theirs) < 0.1 * theirs.std()


def test_it_takes_a_quarter_of_the_room(encoder: Encoder, written: Path) -> None:
    single = sum(4 * numbers.numel() for numbers in encoder.state_dict().values())
    assert written.stat().st_size < 0.32 * single


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        write({"lstm.weight_ih_l0": torch.zeros(4)}, tmp_path / "encoder.onnx")
