"""TIM-Net, a bidirectional multi-scale network for speech emotion (Ye et al. 2023, arXiv 2211.08233).

Only stock Keras layers and `keras.ops`, so that the file that training saves loads wherever Keras is, without
this module.
"""

from __future__ import annotations

import keras
from keras import layers, ops


def tim_net(
    coefficients: int,
    classes: int,
    *,
    channels: int,
    scales: int,
    kernel_size: int,
    dropout: float,
    name: str = "tim_net",
) -> keras.Model:
    """TIM-Net (section 2.2) over padded fragments.

    Inputs: `frames` (batch, time, coefficients) and `heard` (batch, time), true where a frame is sound and
    false where it is padding; padding is at the end. Output: logits (batch, classes).

    Two chains of temporal-aware blocks read the fragment, one forwards and one backwards, and each block sees
    twice as far as the one before it. What the two chains say at one scale is averaged over time and added,
    and a learnt weight for each scale fuses them ("multi-scale dynamic fusion"). Beside the average stands
    the deviation over time, which the paper has not: how much a voice moves tells more than where it rests.

    Padding never changes the answer: convolutions are causal, the backward chain reads each fragment from its
    own last frame, and averages skip what was not heard.
    """
    frames = keras.Input((None, coefficients), name="frames")
    heard = keras.Input((None,), dtype="bool", name="heard")

    standardised = layers.Normalization(name="standardise")(frames)
    chains = [
        _chain(start, direction, channels=channels, scales=scales, kernel_size=kernel_size, dropout=dropout)
        for direction, start in (("forward", standardised), ("backward", _reversed(standardised, heard)))
    ]
    pooled = [
        _mean_and_deviation(forward, heard) + _mean_and_deviation(backward, heard)
        for forward, backward in zip(*chains, strict=True)
    ]
    by_scale = layers.Permute((2, 1))(ops.stack(pooled, axis=1))
    fused = layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / scales), name="fusion")(
        by_scale
    )
    summary = layers.Dropout(dropout)(layers.Flatten()(fused))
    return keras.Model([frames, heard], layers.Dense(classes, name="logits")(summary), name=name)


def _chain(
    x: keras.KerasTensor, direction: str, *, channels: int, scales: int, kernel_size: int, dropout: float
) -> list[keras.KerasTensor]:
    """The outputs, (batch, time, channels) each, of a chain of temporal-aware blocks of growing dilation."""
    x = layers.Conv1D(channels, 1, name=f"{direction}_in")(x)
    outputs = []
    for scale in range(scales):
        x = _temporal_aware_block(x, f"{direction}_{scale}", 2**scale, kernel_size=kernel_size, dropout=dropout)
        outputs.append(x)
    return outputs


def _temporal_aware_block(
    x: keras.KerasTensor, name: str, dilation: int, *, kernel_size: int, dropout: float
) -> keras.KerasTensor:
    """A temporal-aware block (section 2.2): what two dilated causal convolutions hear gates the input.

    Two changes from the paper. The gate is doubled: it starts at 1 where the paper's starts at 1/2, which
    fades the input 2^-scales times on its way down the chain. And layers are normalised in place of batches,
    so that padding and batch mates play no part in training either.
    """
    gate = x
    for half in ("a", "b"):
        gate = layers.Conv1D(x.shape[-1], kernel_size, dilation_rate=dilation, padding="causal", name=f"{name}_{half}")(
            gate
        )
        gate = layers.LayerNormalization(name=f"{name}_{half}_norm")(gate)
        gate = layers.SpatialDropout1D(dropout)(layers.ReLU()(gate))
    return x * (2 * ops.sigmoid(gate))


def _reversed(frames: keras.KerasTensor, heard: keras.KerasTensor) -> keras.KerasTensor:
    """Each fragment from its last heard frame to its first, padding still at the end."""
    length = ops.sum(ops.cast(heard, "int32"), axis=1, keepdims=True)
    position = ops.cumsum(ops.ones_like(heard, dtype="int32"), axis=1) - 1
    order = ops.where(heard, length - 1 - position, position)
    return ops.take_along_axis(frames, ops.expand_dims(order, -1), axis=1)


def _mean_and_deviation(x: keras.KerasTensor, heard: keras.KerasTensor) -> keras.KerasTensor:
    """Mean and standard deviation over the heard frames: (batch, time, channels) -> (batch, 2 * channels)."""
    weight = ops.expand_dims(ops.cast(heard, x.dtype), -1)
    weight = weight / ops.sum(weight, axis=1, keepdims=True)
    mean = ops.sum(weight * x, axis=1, keepdims=True)
    variance = ops.sum(weight * ops.square(x - mean), axis=1)
    return ops.concatenate([ops.squeeze(mean, 1), ops.sqrt(variance + 1e-6)], axis=-1)
