"""ToneNet, the network that is served: two ears, one embedding.

One ear is a small convolutional network over mel frames with attentive statistics pooling (Okabe et al. 2018,
arXiv 1803.10963): it learns what to listen for. The other takes the functionals as they are. What both hear is
standardised over everybody, so that `pipeline.baseline.SpeakerBaseline` can set it against one speaker.

Only stock Keras layers and `keras.ops` in what is served, so that the saved file loads wherever Keras is, without this
module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from pipeline.baseline import PRIOR_SECONDS
from pipeline.features import MEL_BANDS
from pipeline.functionals import COUNT
from pipeline.timeline import EMOTIONS
from training.config import ToneNetRecipe

CLIPPED = 5.0  # deviations; a functional further out is a measuring error
MOMENTUM = 0.95  # of batch normalisation: Keras's .99 is still on its way when so short a training ends


def tone_net(recipe: ToneNetRecipe, name: str = "tone_net") -> keras.Model:
    """Fragments in, embeddings out.

    Inputs: `frames` (batch, time, MEL_BANDS); `heard` (batch, time), true where a frame is sound and false where it
    is padding, which is at the end; `functionals` (batch, COUNT). Output: (batch, embedding + projection), each number
    of mean 0 and deviation 1 over the training speakers. Padding never changes the answer.
    """
    frames = keras.Input((None, MEL_BANDS), name="frames")
    heard = keras.Input((None,), dtype="bool", name="heard")
    functionals = keras.Input((COUNT,), name="functionals")
    pooled = _pooled(frames, heard, recipe)
    looked = _standardised(layers.Dense(recipe.embedding, use_bias=False, name="embedding")(pooled), "embedding")
    measured = layers.Normalization(name="functionals_standardised")(functionals)
    measured = ops.clip(measured, -CLIPPED, CLIPPED)
    measured = layers.GaussianNoise(recipe.head_noise)(measured)
    measured = layers.Dropout(recipe.functional_dropout)(measured)
    measured = layers.Dense(recipe.projection, use_bias=False, name="projection")(measured)
    return keras.Model(
        [frames, heard, functionals],
        layers.Concatenate()([looked, _standardised(measured, "projection")]),
        name=name,
    )


def together(members: Sequence[keras.Model]) -> keras.Model:
    """Networks that answer side by side: their embeddings in a row."""
    if len(members) == 1:
        return members[0]
    inputs = [keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name) for tensor in members[0].inputs]
    return keras.Model(inputs, layers.Concatenate()([member(inputs) for member in members]), name="tone_nets")


class AgainstSpeaker(layers.Layer):  # type: ignore[misc]  # Keras is not typed
    """Embeddings against the statistics of their speakers, for training; serving has `SpeakerBaseline` for it.

    A batch is `clips` fragments of each of some speakers, one speaker after another. `history` (batch,) says how many
    seconds of speech each fragment adds to what is known of its speaker: 0 where it is not to be known.
    """

    def __init__(self, clips: int, **options: Any) -> None:
        super().__init__(**options)
        self.clips = clips

    def compute_output_shape(
        self, embeddings_shape: tuple[int | None, ...], history_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """That of the embeddings. Torch would try it out on batches that no speakers fill."""
        return embeddings_shape

    def call(self, embeddings: keras.KerasTensor, history: keras.KerasTensor) -> keras.KerasTensor:
        """(batch, size) and (batch,) -> (batch, size)."""
        of_speaker = ops.reshape(embeddings, (-1, self.clips, embeddings.shape[-1]))
        seconds = ops.reshape(history, (-1, self.clips, 1))
        weight = ops.sum(seconds, axis=1, keepdims=True) + PRIOR_SECONDS
        mean = ops.sum(seconds * of_speaker, axis=1, keepdims=True) / weight
        moved = of_speaker - mean
        variance = (ops.sum(seconds * ops.square(moved), axis=1, keepdims=True) + PRIOR_SECONDS) / weight
        return ops.reshape(moved / ops.sqrt(variance + 1e-4), ops.shape(embeddings))


def with_heads(network: keras.Model, recipe: ToneNetRecipe) -> keras.Model:
    """The network as it is trained: logits for a voice that nobody knows (`alone`) and for a known one (`known`).

    The outputs `alone_frames` and `known_frames` answer from the frames' part of the embedding alone.
    """
    history = keras.Input((), name="history")
    embedding = network.output
    against = AgainstSpeaker(recipe.clips, name="against_speaker")(embedding, history)
    outputs = {}
    for name, heard in (("alone", embedding), ("known", against)):
        heard = layers.Dropout(recipe.functional_dropout)(layers.GaussianNoise(recipe.head_noise)(heard))
        outputs[name] = layers.Dense(len(EMOTIONS), name=name)(heard)
        frames_part = layers.Dense(len(EMOTIONS), name=f"{name}_frames")
        outputs[f"{name}_frames"] = frames_part(heard[:, : recipe.embedding])
    return keras.Model([*network.inputs, history], outputs, name=f"{network.name}_training")


def _pooled(frames: keras.KerasTensor, heard: keras.KerasTensor, recipe: ToneNetRecipe) -> keras.KerasTensor:
    """Mean and deviation over time of what the convolutions hear, weighted by attention: (batch, 2 * temporal)."""
    mask = ops.expand_dims(ops.cast(heard, "float32"), -1)
    first, *others = recipe.channels
    x = _convolved(ops.expand_dims(frames * mask, -1), first, (3, 5), mask, strides=(1, 2))
    for index, channels in enumerate(others):
        halves_time = index < 2
        pool = 2 if halves_time else 1
        x = layers.MaxPooling2D((pool, 2), padding="same")(x)
        mask = layers.MaxPooling1D(pool, padding="same")(mask) if halves_time else mask
        x = layers.SpatialDropout2D(recipe.dropout / 2)(x)
        x = _convolved(x, channels, (3, 3), mask)
    x = layers.Reshape((-1, x.shape[2] * x.shape[3]))(x)
    x = layers.SpatialDropout1D(recipe.dropout)(x)
    x = layers.Conv1D(recipe.temporal, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(x)) * mask
    return layers.Dropout(recipe.dropout)(_attentive_statistics(x, mask))


def _convolved(
    x: keras.KerasTensor,
    channels: int,
    kernel: tuple[int, int],
    mask: keras.KerasTensor,
    strides: tuple[int, int] = (1, 1),
) -> keras.KerasTensor:
    """A convolution over (batch, time, frequency, channels); silence stays where the mask, (batch, time, 1), is 0."""
    x = layers.Conv2D(channels, kernel, strides=strides, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(x))
    return x * ops.expand_dims(mask, -1)


def _attentive_statistics(x: keras.KerasTensor, mask: keras.KerasTensor) -> keras.KerasTensor:
    """Mean and standard deviation over time under learnt weights: (batch, time, n) -> (batch, 2 n)."""
    scores = layers.Dense(x.shape[-1])(layers.Dense(48, activation="tanh")(x))
    weights = ops.softmax(scores - 1e9 * (1 - mask), axis=1)
    mean = ops.sum(weights * x, axis=1, keepdims=True)
    variance = ops.sum(weights * ops.square(x - mean), axis=1)
    return ops.concatenate([ops.squeeze(mean, 1), ops.sqrt(variance + 1e-5)], axis=-1)


def _standardised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=MOMENTUM, center=False, scale=False, name=f"{name}_standardised")(x)
