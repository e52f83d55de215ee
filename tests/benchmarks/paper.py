"""Scale on paper: what ten thousand live sessions take, reckoned from what some of them took in this run.

It assumes that what a session takes stays what it was measured to be, and says what gives way first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bokeh.plotting import figure as Plot

from tests.benchmarks.capacity import busiest
from tests.benchmarks.figures import Figures
from tests.benchmarks.plots import bars
from tests.benchmarks.run import Part, Run
from tests.benchmarks.tables import Table, seconds

SESSIONS = 10_000
HOURS = 24.0  # for which what was read is kept: the default of TONETRACK_RETENTION
SOUND = 256e3 / 8  # bytes a second of PCM16 that each sends
CORES = 16  # of a node
USED = 0.7  # share of a node's cores, or of a Redis, that may be in use: the rest is for peaks and for a lost node
REDIS_MEMORY = 16e9  # bytes of one Redis
NETWORK = 10e9 / 8  # bytes a second of one network card
MOVES = {
    "processor": "One Redis executes commands on one core. {cluster}",
    "memory": "What was read is kept for {hours:.0f} hours. TONETRACK_RETENTION shortens that. {cluster}",
    "network": "Sound goes through the journal. {cluster}",
}
CLUSTER = (
    "Redis Cluster would move this, with a client that knows it: every key of a session lies in one hash slot"
    " (`{{id}}`), and every script touches one session, so {shards} shards share the sessions."
)


@dataclass(frozen=True)
class Session:
    """What one live session takes: cores of the service without Redis and of Redis, its share of Redis's memory while
    it is live, what an hour of it leaves there (both bytes), and bytes a second in and out of Redis.
    """

    cores: float
    redis_cores: float
    redis_live: float
    redis_hour: float
    bytes_in: float
    bytes_out: float


@dataclass(frozen=True)
class Need:
    """What so many sessions need. `redis`: how many times what one Redis has, by resource."""

    cores: float
    nodes: int
    redis_memory: float  # bytes
    redis_bandwidth: float  # bytes a second, in and out
    redis: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """What one Redis runs short of first."""
        return max(self.redis, key=lambda resource: self.redis[resource])

    @property
    def shards(self) -> int:
        """Redis instances that share the sessions."""
        return max(1, math.ceil(self.redis[self.bottleneck]))


def need(session: Session, sessions: int, hours: float = HOURS) -> Need:
    """What so many sessions at once, around the clock, need, if what they leave is kept for some hours."""
    cores = sessions * session.cores
    memory = sessions * (session.redis_live + session.redis_hour * hours)
    bandwidth = sessions * (session.bytes_in + session.bytes_out)
    redis = {
        "processor": sessions * session.redis_cores / USED,
        "memory": memory / (REDIS_MEMORY * USED),
        "network": bandwidth / (NETWORK * USED),
    }
    return Need(cores, math.ceil(cores / (CORES * USED)), memory, bandwidth, redis)


def measured(found: Figures) -> Session:
    """One session, from the capacity of this run and, for what it leaves, from the length."""
    row = busiest(found["capacity"])
    redis = row["cpu"].get("Redis", 0.0)
    return Session(
        cores=sum(row["cpu"].values()) - redis,
        redis_cores=redis,
        redis_live=1e6 * max(0.0, row["redis_mb"] - found["capacity"]["rest"]["redis_mb"]) / row["streams"],
        redis_hour=1e6 * found["length"]["redis_mb_an_hour"],
        bytes_in=row["redis"]["bytes_in"],
        bytes_out=row["redis"]["bytes_out"],
    )


def measure(run: Run) -> Figures:
    """Measures nothing: reckons."""
    run.say("paper: reckoning")
    needed = need(measured(run.found), SESSIONS)
    return {
        "sessions": SESSIONS,
        "every": busiest(run.found["capacity"])["every"],
        "cores": needed.cores,
        "nodes": needed.nodes,
        "redis_gb": needed.redis_memory / 1e9,
        "redis_mb_a_second": needed.redis_bandwidth / 1e6,
        "sound_mb_a_second": SESSIONS * SOUND / 1e6,
        "redis": needed.redis,
        "shards": needed.shards,
        "text": told(needed, SESSIONS),
    }


def told(needed: Need, sessions: int) -> str:
    """What gives way first, and what moves it; what comes after that."""
    first, second, *_ = sorted(needed.redis, key=lambda resource: -needed.redis[resource])
    carries = {resource: f"{min(1.0, 1 / needed.redis[resource]) * sessions:,.0f}" for resource in (first, second)}
    move = MOVES[first].format(hours=HOURS, cluster=CLUSTER.format(shards=needed.shards))
    return (
        f"Ingress, actors and models grow by nodes, each of which brings its network card; Redis is what all share, and"
        f" so the first bottleneck: by its {first} one Redis carries {carries[first]} of them. {move} By its"
        f" {second} it would carry {carries[second]}. What so many nodes cost Ray's head was not measured."
    )


def tables(figures: Figures) -> list[Table]:
    """What they need, and the bottleneck."""
    shown = Table(
        f"On paper: {figures['sessions']:,} live sessions heard every {seconds(figures['every'])} s, around the clock",
        ["what", "need"],
        note=figures["text"],
    )
    shown.add("cores without Redis", f"{figures['cores']:,.0f}")
    shown.add(f"nodes of {CORES} cores, {100 * USED:.0f} % used", f"{figures['nodes']:,}")
    shown.add("sound that comes in, as PCM16", f"{figures['sound_mb_a_second']:,.0f} MB/s")
    shown.add(f"Redis memory, with {HOURS:.0f} hours kept", f"{figures['redis_gb']:,.0f} GB")
    shown.add("Redis bandwidth, in and out", f"{figures['redis_mb_a_second']:,.0f} MB/s")
    for resource, times in figures["redis"].items():
        shown.add(f"Redis instances by {resource}", f"{times:.1f}")
    return [shown]


def plots(figures: Figures) -> list[Plot]:
    """What one Redis runs short of."""
    return [bars(f"Redis instances that {figures['sessions']:,} sessions need, by resource", "", figures["redis"])]


PART = Part(
    "paper", "ten thousand sessions, reckoned from capacity and length", measure, tables, plots, ("capacity", "length")
)
