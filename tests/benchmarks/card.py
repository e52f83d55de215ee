"""A GPU: how many fragments the emotion model hears in a second, by batch, and what part of a card a session needs.

Where there is none the same is measured on one core, and nothing is said of a card.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.plotting import figure as Plot

from tests.benchmarks import plain
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import lines
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table

ON_A_CARD, ON_A_CORE = (1, 4, 16, 64, 256, 1024), (1, 4, 16, 64)
SECONDS, QUICK_SECONDS = 2.0, 0.5  # that each size is tried for
SESSIONS = 1_000
FRAGMENTS = 1.0  # for each second of talk, where no other part of the run has counted them

Answer = dict[str, Any]


def throughput(seconds: float, sizes: Sequence[int] = ()) -> Answer:
    """Fragments that the network of the emotion model hears in a second, by batch, on the first GPU, else on one core.

    The network alone, for features are made on processors. `sizes`: of batches, in place of those that suit the device.
    """
    import keras
    import tensorflow as tf

    from pipeline import features, functionals
    from pipeline.emotion import SHIPPED, WEIGHTS
    from pipeline.fragments import LONGEST
    from pipeline.timeline import SAMPLE_RATE

    cards = tf.config.list_physical_devices("GPU")
    gpu = bool(cards)
    generator = np.random.default_rng(0)
    frames = features.frames_in(round(LONGEST * SAMPLE_RATE))
    rates = {}
    with tf.device("/GPU:0" if gpu else "/CPU:0"):
        network = keras.saving.load_model(SHIPPED / WEIGHTS, compile=False)
        embed = tf.function(lambda *inputs: network(list(inputs), training=False))
        for size in sizes or (ON_A_CARD if gpu else ON_A_CORE):
            inputs = (
                tf.constant(generator.standard_normal((size, frames, features.MEL_BANDS), np.float32)),
                tf.ones((size, frames), tf.bool),
                tf.constant(generator.standard_normal((size, functionals.COUNT), np.float32)),
            )
            embed(*inputs).numpy()  # traced, compiled, moved
            calls, began = 0, time.perf_counter()
            while time.perf_counter() - began < seconds:
                embed(*inputs).numpy()
                calls += 1
            rates[str(size)] = size * calls / (time.perf_counter() - began)
    name = tf.config.experimental.get_device_details(cards[0]).get("device_name", "a GPU") if gpu else "one core"
    return {"gpu": gpu, "device": name, "rates": rates}


def measure(run: Run) -> Figures:
    """The card, or a core."""
    run.say("card: the emotion model by the size of a batch")
    run.end_service()
    told = plain.apart(throughput, run.either(SECONDS, QUICK_SECONDS))
    fragments = run.found.get("efficiency", {}).get("plain", {}).get("fragments", FRAGMENTS)
    needed = SESSIONS * fragments / max(told["rates"].values())
    return {**told, "fragments": fragments, "sessions": SESSIONS, "needed": needed}


def tables(figures: Figures) -> list[Table]:
    """By batch."""
    whose = figures["device"] if figures["gpu"] else "one core, for there is no GPU here"
    unit = "cards" if figures["gpu"] else "cores, features not included; of a card nothing is known"
    shown = Table(
        f"The emotion model's network on {whose}",
        ["batch", "fragments a second"],
        note=f"{figures['sessions']} sessions, who give {figures['fragments']:.2f} fragments a second each, need"
        f" {figures['needed']:.3f} {unit}.",
    )
    for size, rate in figures["rates"].items():
        shown.add(size, f"{rate:.0f}")
    return [shown]


def plots(figures: Figures) -> list[Plot]:
    """Throughput over the size of a batch."""
    sizes = [int(size) for size in figures["rates"]]
    rates = {figures["device"]: list(figures["rates"].values())}
    return [lines("The emotion model's network", "batch", "fragments/s", sizes, rates)]


PART = Part("card", "the emotion model on a GPU, where there is one", measure, tables, plots)
