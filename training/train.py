"""Train one model: ToneNet on the fragments of some speakers, from the first epoch or from where it was left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.emotion import WEIGHTS, EmotionHead
from training.batches import HEADS, SpeakerBatches
from training.config import ToneNetRecipe
from training.fragments import Fragments
from training.tone_net import together, tone_net, with_heads

OnEpoch = Callable[[int, float], None]
"""Told after every epoch, with its number from 1 and its loss."""


@dataclass(frozen=True)
class Trained:
    """A network and the head on its embeddings, whose temperatures are yet to be found."""

    network: keras.Model
    head: EmotionHead

    @classmethod
    def load(cls, folder: Path) -> Trained:
        """A model that was exported, as training has it."""
        return cls(keras.saving.load_model(folder / WEIGHTS, compile=False), EmotionHead.load(folder))

    def embed(self, fragments: Fragments, batch: int = 64) -> NDArray[np.float32]:
        """The embedding of every fragment: (n, size)."""
        embeddings = np.empty((len(fragments), self.head.size), np.float32)
        by_length = np.argsort(fragments.lengths, kind="stable")
        for start in range(0, len(fragments), batch):
            chosen = by_length[start : start + batch]
            embeddings[chosen] = keras.ops.convert_to_numpy(self.network(fragments.padded(chosen), training=False))
        return embeddings


def train(
    fragments: Fragments,
    recipe: ToneNetRecipe,
    seed: int,
    checkpoints: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """`recipe.members` networks trained on the fragments, side by side.

    With a folder for `checkpoints` every epoch is kept there, and training goes on after the last one that is.
    """
    members = []
    for member in range(recipe.members):
        place = checkpoints / f"member-{member}" if checkpoints else None
        told = _shifted(on_epoch, member * recipe.epochs)
        members.append(_train_member(fragments, recipe, 1000 * member + seed, place, told))
    networks, heads = zip(*members, strict=True)
    alone, known = (_side_by_side([head[name] for head in heads]) for name in ("alone", "known"))
    return Trained(together(networks), EmotionHead("", 0.0, alone, known, (1.0, 1.0)))


def _train_member(
    fragments: Fragments, recipe: ToneNetRecipe, seed: int, checkpoints: Path | None, on_epoch: OnEpoch | None
) -> tuple[keras.Model, dict[str, NDArray[np.float32]]]:
    keras.utils.set_random_seed(seed)
    network = tone_net(recipe, name=f"tone_net_{seed}")
    network.get_layer("functionals_standardised").adapt(fragments.functionals)
    model = with_heads(network, recipe)
    batches = SpeakerBatches(fragments, recipe, seed)
    steps = recipe.epochs * len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - steps // 20, warmup_target=recipe.learning_rate, warmup_steps=max(1, steps // 20)
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer,
        {
            name: keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
            for name in HEADS
        },
        loss_weights={name: recipe.auxiliary if name.endswith("frames") else 1.0 for name in HEADS},
        jit_compile=False,  # batches differ in length, and XLA would compile anew for each
    )

    def begin(epoch: int, _: Any) -> None:
        batches.epoch = epoch

    def end(epoch: int, logs: dict[str, float]) -> None:
        if on_epoch:
            on_epoch(epoch + 1, logs["loss"])

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)]
    if checkpoints:  # first: an epoch that is told of is kept
        callbacks.insert(0, keras.callbacks.BackupAndRestore(checkpoints, delete_checkpoint=False))
    model.fit(batches, epochs=recipe.epochs, callbacks=callbacks, shuffle=False, verbose=0)
    return network, {name: _map(model.get_layer(name)) for name in ("alone", "known")}


def _map(dense: keras.layers.Dense) -> NDArray[np.float32]:
    """The weights of a linear layer with its bias as the last row."""
    kernel, bias = dense.get_weights()
    return np.concatenate([kernel, bias[None]])


def _side_by_side(maps: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The map that gives the mean of what several give, each of its own part of the embedding."""
    kernels = np.concatenate([of_member[:-1] for of_member in maps])
    bias = np.sum([of_member[-1] for of_member in maps], axis=0)
    return np.asarray(np.concatenate([kernels, bias[None]]) / len(maps), np.float32)


def _shifted(on_epoch: OnEpoch | None, epochs: int) -> OnEpoch | None:
    return (lambda epoch, loss: on_epoch(epochs + epoch, loss)) if on_epoch else None
