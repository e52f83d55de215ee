"""Figures of runs as they might have been, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from tests.benchmarks import capacity, held

MACHINE = {
    "at": "2026-11-26T20:00:00+00:00",
    "cores": 2,
    "machine": "x86_64",
    "cpu": "EPYC",
    "commit": "26f829a",
    "load": [0.5, 1.0, 1.5],
}
HEARD = {"p50": 0.1, "p95": 0.4, "p99": 0.5, "sent_p95": 0.41, "count": 900, "every": 0.5, "kept_up": 1.0}
TAKEN = {"cpu": {"diariser": 0.02, "Redis": 0.01}, "memory": {"diariser": 400.0}, "redis_mb": 20.0, "cores": 1.44}


def refusal() -> dict[str, Any]:
    """Sixteen came, two of them were let in, and nobody noticed."""
    came = {"came": 16, "running": 56, "let_in": 2, "refused": {"busy": 8, "503": 6}, **HEARD}
    return came | capacity.judged(came, {"p95": 0.35}, 0)


def held_three_times(**changed: dict[str, Any]) -> dict[str, Any]:
    """What `--only held` finds where all is as aimed at. `changed`: rows of the second run, by `at_` and the level."""

    def one(changes: dict[str, Any]) -> dict[str, Any]:
        levels = [{"asked": at, "streams": at, **HEARD, **TAKEN} | changes.get(f"at_{at}", {}) for at in held.LEVELS]
        rest = {"memory_gb": 2.3, "cpu": 0.06}
        return {"ready_after": 13.0, "rest": rest, "levels": levels, "refusal": refusal(), "dropped": 0}

    runs = [one({}), one(changed), one({})]
    return {
        **MACHINE,
        "quick": False,
        "asked": "--only held",
        "took": 1_500.0,
        "held": {"seconds": 120.0, "runs": runs},
    }


def figures() -> dict[str, Any]:
    """A run on which everything but the efficiency is as it should be, and no recording of an hour was heard."""
    levels = [
        {"asked": streams, "streams": streams, "carried": streams < 56, **HEARD, **TAKEN} for streams in (8, 48, 56)
    ]
    return {
        **MACHINE,
        "quick": False,
        "asked": "",
        "took": 1_080.0,
        "start": {"ready_after": 12.0},
        "latency": {"rows": [{"streams": 8, "joined": 8, "codec": "pcm16", "dropped": 0, **HEARD}], "browser": False},
        "capacity": {
            "rest": {"memory_gb": 2.2, "cpu": 0.05, "redis_mb": 1.0},
            "rows": levels,
            "most": 48,
            "dropped": 0,
            "each_further": {"memory_mb": 2.0, "cores": 0.03},
            "refusal": refusal(),
        },
        "efficiency": {
            "efficiency": 0.3,
            "tries": [0.28, 0.3, 0.33],
            "served": {"joined": 24, "dropped": 0, **HEARD, **TAKEN, "stages": {"observe": 0.02}},
            "plain": {"batch": 16, "models": 0.009, "cpu": 0.01, "stages": {"diariser": 0.006}, "fragments": 1.2},
        },
        "batch": {"long": {"minutes": 4, "seconds": 8.0}},
    }
