"""Many recordings heard by Ray Data, on the cluster that RAY_ADDRESS names or on all cores of this machine.

Every worker holds the models and hears one recording after another, each of which is a block of its own: what goes
wrong with one concerns no other. A worker writes what it has heard itself, so whatever ends, nothing that is written is
heard again.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final, cast

from deployments.analysis import Asked, Models, Outcome, attempt, quieten
from deployments.analysis.files import CannotAnalyse, Outputs, Task
from deployments.own_ray import OBJECT_STORE
from pipeline.hearing import ignore

ROUNDS: Final = 2  # in which a recording is tried that takes its worker with it
WORKER_MEMORY: Final = 1.2e9  # bytes, of a worker with its models and a recording


class Listener:
    """A worker of Ray Data: the models, loaded once, and a recording for each row. Rows are JSON: Arrow, which carries
    them, takes no name that is not Unicode."""

    def __init__(self, asked: Asked, output: str) -> None:
        self._asked = asked
        self._outputs = Outputs(output)
        self._models = Models.load()

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """Hear a task; returns its outcome."""
        task = Task(**json.loads(row["task"]))
        try:
            outcome = attempt(task, self._models, self._asked, self._outputs, ignore)
        except SystemExit as error:  # which would end the worker for good
            outcome = Outcome(task.source, problem=f"{task.label} could not be heard: {error!r}")
        return {"outcome": json.dumps(asdict(outcome))}


@contextmanager
def connected() -> Iterator[int]:
    """Ray: the cluster of RAY_ADDRESS, or one of our own, lean, that ends with the block. Yields how many workers fit.

    Raises `CannotAnalyse`.
    """
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    address = os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    variables: dict[str, str] = {}
    quieten(variables, own_ray=False)
    try:
        try:
            if address:
                ray.init(runtime_env={"env_vars": variables}, **quiet)
            else:
                ray.init(
                    address="local",
                    num_cpus=max(1, os.cpu_count() or 1),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE,
                    **quiet,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = f"No Ray cluster answers at RAY_ADDRESS={address}" if address else "Ray does not start here"
            raise CannotAnalyse(
                f"{where}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            ) from error
        there = ray.cluster_resources()
        yield max(1, int(min(there.get("CPU", 1), there.get("memory", 0) / WORKER_MEMORY)))
    finally:
        ray.shutdown()


def hear_all(
    tasks: Sequence[Task], asked: Asked, output: str, workers: int, listener: type[Listener] = Listener
) -> Iterator[Outcome]:
    """Hear recordings with so many workers, on the Ray that is `connected`; what became of each, as it comes.

    Raises `CannotAnalyse`.
    """
    waiting = {task.source: task for task in tasks}
    for _ in range(ROUNDS):
        for outcome in _round(list(waiting.values()), asked, output, workers, listener):
            if waiting.pop(outcome.source, None):
                yield outcome
        if not waiting:
            return
    for task in waiting.values():
        yield Outcome(task.source, problem=f"{task.label} could not be heard: whichever process hears it ends at once.")


def _round(
    tasks: Sequence[Task], asked: Asked, output: str, workers: int, listener: type[Listener]
) -> Iterator[Outcome]:
    """Hear recordings once. There is no outcome of those whose worker died."""
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows = [{"task": json.dumps(asdict(task))} for task in tasks]
    tasks_in_blocks = ray.data.from_items(rows, override_num_blocks=len(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there is no other word for max_task_retries
        heard = tasks_in_blocks.map(
            cast(Any, listener),
            fn_constructor_args=(asked, output),
            # A worker has one task at a time, so that no other is lost with it. The worker begins anew (Ray Data would
            # wait for ever for one that does not), and the task does not: it would end that one, too, without end.
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows)), max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            max_task_retries=0,
        )
    try:
        batches: Any = heard.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
        for batch in batches:
            for outcome in batch["outcome"].to_pylist():
                yield Outcome(**json.loads(outcome))
    except RayError as error:
        raise CannotAnalyse(f"Ray cannot go on: {str(error).strip().splitlines()[-1]}") from error
