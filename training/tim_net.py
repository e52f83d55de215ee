"""TIM-Net as its authors made it (Ye et al. 2023, arXiv 2211.08233), for reproducing their figures on RAVDESS.

The network that ToneTrack ships is another. Where the paper and the authors' repository
(github.com/Jiaxin-Ye/TIM-Net_SER) differ, this follows the repository, for that is where the figures come from.

The protocol: random folds of clips, so that the same actors are in training and in test; one network for each fold,
tested once, after the last epoch. The paper's own figures (RAVDESS: WAR 92.08) are of the epoch that did best on the
test fold. When that was noticed the authors published these (issue 16 and the README, August 2023).
"""

from __future__ import annotations

from pathlib import Path

import keras
import librosa
import numpy as np
import soundfile
from keras import layers, ops

# What the network hears: extract_feature.py, and the README for RAVDESS's length. The paper speaks of Hamming windows
# of 50 ms every 12.5 ms, but the code leaves librosa its defaults: Hann windows of 93 ms every 23 ms.
RATE = 22_050  # Hz, what librosa resamples to unless told otherwise
SAMPLES = 110_000  # 5 s, nearly as long as RAVDESS's longest clip
WINDOW = 2048  # samples
HOP = 512  # samples
COEFFICIENTS = 39
FRAMES = 1 + SAMPLES // HOP

# The network: main.py, and section 6.1 of the README. The deepest of 8 scales sees 511 frames, more than there are.
SCALES = 8
KERNEL_SIZE = 2
DROPOUT = 0.1
CLASSES = 8

# How it is trained: main.py and Model.py. The rate stays as it is to the end. Epochs and batch are in the recipe.
LEARNING_RATE = 0.001
BETA_1, BETA_2, EPSILON = 0.93, 0.98, 1e-8  # Adam's; Keras has 0.9, 0.999, 1e-7
LABEL_SMOOTHING = 0.1

# How it is tested: folds of clips, and the authors' results on RAVDESS's 1440 clips, after the last epoch (README).
# Their folds are random, seed 46, and those of `training.folds.clip_folds` have every emotion spread evenly, too.
FOLDS = 10
PUBLISHED_UAR = 0.9004
PUBLISHED_WAR = 0.9007


def mfcc(path: Path) -> np.ndarray:
    """MFCCs of the 5 s about the middle of an audio file, of any rate: float32 (FRAMES, COEFFICIENTS).

    A shorter file gets silence on both sides. Nothing is normalised, neither the sound nor the coefficients.
    """
    recorded, rate = soundfile.read(path, dtype="float32", always_2d=True)
    sound = librosa.resample(recorded.mean(axis=1), orig_sr=rate, target_sr=RATE)
    # The authors' librosa, 0.8.1, mirrors the sound at its ends; later ones put silence there.
    coefficients = librosa.feature.mfcc(
        y=_middle(sound), sr=RATE, n_mfcc=COEFFICIENTS, n_fft=WINDOW, hop_length=HOP, pad_mode="reflect"
    )
    return np.ascontiguousarray(coefficients.T, np.float32)


def tim_net(
    frames: int = FRAMES,
    coefficients: int = COEFFICIENTS,
    classes: int = CLASSES,
    *,
    scales: int = SCALES,
    kernel_size: int = KERNEL_SIZE,
    dropout: float = DROPOUT,
) -> keras.Model:
    """TIM-Net (section 2.2; TIMNET.py and Model.py): MFCCs (batch, frames, coefficients) to logits (batch, classes).

    Two chains of temporal-aware blocks read the sound, one forwards and one backwards. At each scale their outputs are
    added and averaged over time, and a learnt weight for each scale fuses the averages. There are as many channels
    throughout as there are coefficients. Only stock layers, so that a saved network loads without this module.

    Raises ValueError unless there are more frames than the longest convolution reaches back:
    (kernel_size - 1) * 2 ** (scales - 1).
    """
    if frames <= (reach := (kernel_size - 1) * 2 ** (scales - 1)):
        raise ValueError(f"{frames} frames are too few for {scales} scales; there must be more than {reach}")
    heard = keras.Input((frames, coefficients), name="mfcc")
    chains = [
        _chain(start, direction, scales=scales, kernel_size=kernel_size, dropout=dropout)
        for direction, start in (("forward", heard), ("backward", ops.flip(heard, axis=1)))
    ]
    averages = [layers.GlobalAveragePooling1D()(layers.add(pair)) for pair in zip(*chains, strict=True)]
    by_scale = layers.Permute((2, 1))(ops.stack(averages, axis=1))
    # The authors' "uniform" of Keras. A scale may start with a weight below zero.
    uniform = keras.initializers.RandomUniform(-0.05, 0.05)
    fused = layers.Dense(1, use_bias=False, kernel_initializer=uniform, name="fusion")(by_scale)
    return keras.Model(heard, layers.Dense(classes, name="logits")(layers.Flatten()(fused)), name="tim_net")


def compile_as_published(model: keras.Model) -> None:
    """Give a network that answers logits the authors' loss and optimiser (Model.py). Labels are one-hot."""
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE, beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING),
        metrics=["accuracy"],
        jit_compile=True,
    )


def causal_convolution(x: keras.KerasTensor, dilation: int, kernel_size: int, name: str) -> keras.KerasTensor:
    """A dilated causal convolution with as many filters as there are channels: (batch, time, channels), and so out.

    What `Conv1D` answers, and quicker on a CPU: a `Dense` layer for each tap, `{name}_0` for the oldest, whose kernel
    is that tap's of Conv1D's; what it makes of the frames is moved to where the tap hears them, and added up.
    """
    # Glorot's bounds count a kernel's inputs and outputs once for each tap. So they do in Conv1D, but not in Dense.
    glorot = keras.initializers.VarianceScaling(1 / kernel_size, "fan_avg", "uniform")
    taps = []
    for tap in range(kernel_size):
        ago = dilation * (kernel_size - 1 - tap)
        dense = layers.Dense(x.shape[-1], use_bias=ago == 0, kernel_initializer=glorot.clone(), name=f"{name}_{tap}")
        taps.append(layers.ZeroPadding1D((ago, 0))(dense(layers.Cropping1D((0, ago))(x))) if ago else dense(x))
    return layers.add(taps)


def _chain(
    x: keras.KerasTensor, direction: str, *, scales: int, kernel_size: int, dropout: float
) -> list[keras.KerasTensor]:
    """The outputs, (batch, time, channels) each, of a chain of temporal-aware blocks of dilations 1, 2, 4, ..."""
    x = layers.Conv1D(x.shape[-1], 1, name=f"{direction}_in")(x)
    outputs = []
    for scale in range(scales):
        x = _temporal_aware_block(x, f"{direction}_{scale}", 2**scale, kernel_size=kernel_size, dropout=dropout)
        outputs.append(x)
    return outputs


def _temporal_aware_block(
    x: keras.KerasTensor, name: str, dilation: int, *, kernel_size: int, dropout: float
) -> keras.KerasTensor:
    """A temporal-aware block (section 2.2): what two dilated causal convolutions hear gates the block's input."""
    gate = x
    for half in ("a", "b"):
        gate = causal_convolution(gate, dilation, kernel_size, f"{name}_{half}")
        gate = layers.BatchNormalization(name=f"{name}_{half}_norm")(gate)
        gate = layers.SpatialDropout1D(dropout)(layers.ReLU()(gate))
    return layers.multiply([x, ops.sigmoid(gate)])


def _middle(sound: np.ndarray) -> np.ndarray:
    """SAMPLES samples about the middle of (n,), with as much silence before as after where there are fewer."""
    spare = SAMPLES - len(sound)
    if spare >= 0:
        return np.pad(sound, (spare // 2, spare - spare // 2))
    start = -spare // 2
    return sound[start : start + SAMPLES]
