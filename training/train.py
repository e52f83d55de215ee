"""Train TIM-Net: `fit` one model, `cross_validate` the recipe, `train` the model to ship."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import keras
import numpy as np
from rich.progress import Progress

from pipeline.features import COEFFICIENTS
from pipeline.timeline import EMOTIONS
from training.config import TrainingConfig
from training.evaluate import Evaluation, evaluate_logits
from training.export import export
from training.fragments import Batches, Fragments, test_fragments, training_fragments
from training.models import tim_net


def train(config: TrainingConfig, output: Path, evaluation: Evaluation | None = None) -> Evaluation:
    """Cross-validate the recipe, train it on every speaker, and write model, figures and card to `output`.

    The figures, the temperature and the threshold of "unsure" are those of `evaluation`: of the models that
    had not heard the speakers they were tested on. The shipped model is made by the same recipe and has heard
    them all.
    """
    evaluation = evaluation or cross_validate(config)
    with Progress() as progress:
        fragments = training_fragments(config, progress)
        model = fit(fragments, config, config.seed, _epoch_bar(progress, config, "training on every speaker"))
    export(model, evaluation, config, output)
    return evaluation


def cross_validate(config: TrainingConfig) -> Evaluation:
    """What the recipe reaches on unknown speakers: each fold is answered by a model trained on the others."""
    with Progress() as progress:
        training_fragments(config, progress)
        test = test_fragments(config, progress)
        logits = np.zeros((len(test), len(EMOTIONS)), np.float32)
        answered = np.zeros(len(test), bool)
        for fold, answers in _answers_by_fold(config, progress):
            held_out = _held_out(test, config, fold)
            logits[held_out] = answers
            answered |= held_out
    return evaluate_logits(logits[answered], test.take(answered), config)


def fit(
    fragments: Fragments,
    config: TrainingConfig,
    seed: int,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> keras.Model:
    """TIM-Net trained on `fragments` for `config.epochs` epochs. It answers logits."""
    keras.utils.set_random_seed(seed)
    model = tim_net(
        COEFFICIENTS,
        len(EMOTIONS),
        channels=config.channels,
        scales=config.scales,
        kernel_size=config.kernel_size,
        dropout=config.dropout,
    )
    model.get_layer("standardise").adapt(fragments.features[None])
    batches = Batches(fragments, config, seed)
    steps = config.epochs * len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - steps // 20, warmup_target=config.learning_rate, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # batches differ in length, and XLA would compile anew for each
    )
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch(logs) if on_epoch else None)
    model.fit(batches, epochs=config.epochs, callbacks=[after], verbose=0)
    return model


def logits_of(model: keras.Model, fragments: Fragments, batch: int = 64) -> np.ndarray:
    """The model's logits for every fragment, (n, 8) in the order of EMOTIONS."""
    logits = np.empty((len(fragments), len(EMOTIONS)), np.float32)
    by_length = np.argsort(fragments.frames)
    for start in range(0, len(fragments), batch):
        chosen = by_length[start : start + batch]
        frames, heard = fragments.padded(chosen)
        logits[chosen] = model.predict_on_batch({"frames": frames, "heard": heard})
    return logits


def _answers_by_fold(config: TrainingConfig, progress: Progress) -> Iterator[tuple[int, np.ndarray]]:
    folds = range(len(config.folds))
    if config.workers == 1:
        for fold in folds:
            yield (
                fold,
                _fold_answers(config, fold, _epoch_bar(progress, config, f"fold {fold + 1} of {len(folds)}")),
            )
        return
    task = progress.add_task("folds", total=len(folds))
    spawn = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with ProcessPoolExecutor(config.workers, mp_context=spawn, initializer=_one_thread) as pool:
        fold_of = {pool.submit(_fold_answers, config, fold): fold for fold in folds}
        for done in as_completed(fold_of):
            progress.advance(task)
            yield fold_of[done], done.result()


def _fold_answers(
    config: TrainingConfig, fold: int, on_epoch: Callable[[dict[str, float]], None] | None = None
) -> np.ndarray:
    with Progress(disable=True) as quiet:
        training, test = training_fragments(config, quiet), test_fragments(config, quiet)
    seed = config.seed + 1 + fold
    model = fit(training.take(~_held_out(training, config, fold)), config, seed, on_epoch)
    return logits_of(model, test.take(_held_out(test, config, fold)))


def _held_out(fragments: Fragments, config: TrainingConfig, fold: int) -> np.ndarray:
    return np.isin(fragments.speakers, config.folds[fold])


def _one_thread() -> None:
    os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1")


def _epoch_bar(progress: Progress, config: TrainingConfig, title: str) -> Callable[[dict[str, float]], None]:
    task = progress.add_task(title, total=config.epochs)
    return lambda logs: progress.update(
        task, advance=1, description=f"{title}: loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}"
    )
