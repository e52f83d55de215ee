"""Ray tasks that take long and say how far they are: on one machine as many as it has workers, on a cluster as fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import ray
from ray.exceptions import RayTaskError
from ray.util.queue import Empty, Queue
from rich.progress import Progress

from training.config import Training

Result = TypeVar("Result")

OBJECT_STORE: Final = 2 * 2**30  # bytes; the fragments of RAVDESS take a quarter of it
EVERYBODY: Final = 0  # in place of a fold's number: nobody is held out


def connect(config: Training) -> None:
    """Join the Ray cluster that RAY_ADDRESS names, or start one of `config.workers` CPUs on this machine."""
    if ray.is_initialized():
        return
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    if backend := os.environ.get("KERAS_BACKEND"):
        variables["KERAS_BACKEND"] = backend
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "runtime_env": {"env_vars": variables}}
    if not os.environ.get("RAY_ADDRESS"):
        local = {"address": "local", "num_cpus": config.workers, "num_gpus": -(-config.gpus * config.workers // 1)}
        options |= local | {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    ray.init(**options)


def run(
    task: Callable[..., Result], calls: Mapping[int, tuple[Any, ...]], epochs: int, gpus: float, progress: Progress
) -> Iterator[tuple[int, Result]]:
    """Call a task for every fold, by number, and yield the results as they come; a bar for each shows its epochs.

    After its own arguments a task is given its number and the queue for `tell`.
    """
    news = Queue()
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=2)(task)
    bars = {number: progress.add_task(f"{_name(number)}: waiting", total=epochs) for number in calls}
    under_way = {remote.remote(*arguments, number, news): number for number, arguments in calls.items()}
    while under_way:
        done, _ = ray.wait(list(under_way), timeout=0.5)
        _show(news, bars, progress)
        for reference in done:
            number = under_way.pop(reference)
            result: Result = result_of(reference)
            progress.update(bars[number], completed=epochs)
            progress.console.print(f"{_name(number)} is done")
            yield number, result
    news.shutdown()


def tell(news: Queue, number: int, epoch: int, loss: float) -> None:
    """Say how far a task is, and do not wait: Ray would give the CPU of a task that waits to the next one."""
    news.actor.put_nowait.remote((number, epoch, loss))  # type: ignore[attr-defined]


def result_of(reference: Any) -> Any:
    """What a task came to; if it failed, what it raised, without the traceback of another process."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error


def _show(news: Queue, bars: Mapping[int, Any], progress: Progress) -> None:
    try:
        while True:
            number, epoch, loss = news.get_nowait()
            progress.update(bars[number], completed=epoch, description=f"{_name(number)}: loss {loss:.2f}")
    except Empty:
        return


def _name(number: int) -> str:
    return "everybody" if number == EVERYBODY else f"fold {number}"
