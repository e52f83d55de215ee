"""The segmentation network as it is written: its answers, nearly, and filters that pass what they were learnt to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from pipeline.overlap import FRAME, REACH
from pipeline.timeline import SAMPLE_RATE
from training.overlap import FILTERS, LOWEST, TAPS, Counting, band_pass_filters, network, write

FILTER = "sincnet.conv1d.0.filterbank."


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights as the published checkpoint names them."""
    torch.manual_seed(1)
    low = torch.linspace(0, 3000, FILTERS // 2)[:, None]
    band = torch.full_like(low, 200)
    learnt = Counting(band_pass_filters(low, band)).state_dict()
    del learnt["sincnet.conv1d.0.weight"]
    unused = dict.fromkeys((f"{FILTER}window_", f"{FILTER}n_"), torch.zeros(1))
    return learnt | {f"{FILTER}low_hz_": low, f"{FILTER}band_hz_": band} | unused


def test_written_it_answers_nearly_as_the_network_does(state: dict[str, Tensor], tmp_path: Path) -> None:
    write(state, tmp_path / "overlap.onnx")
    audio = np.random.default_rng(1).standard_normal((1, 1, 3 * SAMPLE_RATE), np.float32)
    with torch.no_grad():
        theirs = network(state)(torch.from_numpy(audio)).numpy()
    ours = onnxruntime.InferenceSession(tmp_path / "overlap.onnx").run(["counts"], {"audio": audio})[0]
    assert ours.shape == (1, 1 + (audio.shape[-1] - REACH) // FRAME, 3)
    np.testing.assert_allclose(ours.sum(-1), 1, atol=1e-5)
    assert 0 < np.abs(ours - theirs).max() < 0.05


@pytest.mark.parametrize("way", [0, 1], ids=["even", "odd"])
def test_a_filter_passes_its_band_alone(way: int) -> None:
    bank = band_pass_filters(torch.full((FILTERS // 2, 1), 950.0), torch.full((FILTERS // 2, 1), 350.0))
    filters = bank[way * FILTERS // 2, 0].numpy()
    assert filters.shape == (TAPS,)
    passed = np.abs(np.fft.rfft(filters, SAMPLE_RATE))  # by Hz
    lower, upper = 950 + LOWEST, 950 + LOWEST + LOWEST + 350
    middle = passed[round((lower + upper) / 2)]
    assert passed[[round(lower), round(upper)]] == pytest.approx(middle / 2, rel=0.1)
    assert passed[: round(lower) - 200].max() < 0.02 * middle
    assert passed[round(upper) + 200 :].max() < 0.02 * middle


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write({"lstm.weight_ih_l0": torch.zeros(4)}, tmp_path / "overlap.onnx")
