"""What operators see from outside: Prometheus metrics, exported by each Ray node beside Ray's and Serve's own.

Ray puts `ray_` before each name, and `_total` behind a counter's. Requests by route and status are Serve's own
(`ray_serve_num_http_requests`), so they are not counted here again. No label ever holds a session's id. Ray shows a
counter from its first event on, and forgets a gauge that nobody sets for some 20 s: absent means 0.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ray.util.metrics import Counter, Gauge, Histogram
from redis.exceptions import RedisError

from pipeline.events import EmotionRead, Event
from pipeline.timeline import HOP_SECONDS

if TYPE_CHECKING:  # what a conversation takes to be loaded is nothing for the emotion recogniser
    from pipeline.conversation import Hop

SECONDS: Final = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]
SIZES: Final = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
PARTS: Final = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
FACTORS: Final = [1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0]

LIVE_RECORDERS: Final = Gauge(
    "tonetrack_live_recorders", "Recorders that are connected and were let in, of one ingress replica."
)
LIVE_SESSIONS: Final = Gauge("tonetrack_live_sessions", "Sessions in the memory of one session actor.")
LAG: Final = Histogram(
    "tonetrack_lag_seconds",
    "From the arrival of a hop's last sample to the publishing of what was heard in it.",
    boundaries=SECONDS,
)
CADENCE: Final = Gauge("tonetrack_cadence_hops", "How many hops one session actor hears together; 1 unless it is late.")
STAGES: Final = Histogram(
    "tonetrack_hop_seconds",
    "What a hop takes, by stage: observe, embed, conclude. Publishing is among the operations of Redis.",
    boundaries=SECONDS,
    tag_keys=("stage",),
)
REDIS: Final = Histogram(
    "tonetrack_redis_seconds",
    "What Redis takes: to append a frame to a journal, to publish a hop.",
    boundaries=SECONDS,
    tag_keys=("operation",),
)
REDIS_ERRORS: Final = Counter(
    "tonetrack_redis_errors", "Of these operations, those that failed after all retries.", tag_keys=("operation",)
)
REDIS_MEMORY: Final = Gauge(
    "tonetrack_redis_memory_ratio", "The share of what Redis may hold that is taken; absent where nothing bounds it."
)
BATCHES: Final = Histogram(
    "tonetrack_batch_size",
    "Hops in a call of the diariser, fragments in a call of the emotion model, of those who talk live.",
    boundaries=SIZES,
    tag_keys=("model",),
)
FRAMES: Final = Counter(
    "tonetrack_frames", "Frames that came: kept, or repeated after a broken line.", tag_keys=("outcome",)
)
DROPPED: Final = Counter(
    "tonetrack_dropped_sessions", "Sessions whose sound expired before its end was heard. There should be none."
)
REFUSED: Final = Counter(
    "tonetrack_refused_recorders", "Recorders' connections that were ended, by why.", tag_keys=("reason",)
)
REFUSED_REQUESTS: Final = Counter(
    "tonetrack_refused_requests",
    "Callers who were turned away, by why: no_key, wrong_key, guesses, or what there was too much of.",
    tag_keys=("reason",),
)
RESTORED: Final = Counter(
    "tonetrack_restored_sessions", "Conversations that went on from their snapshot and journal after a failure."
)
REPEATED: Final = Counter(
    "tonetrack_repeated_hops", "Hops that were heard again after a restore. What was published of them stood."
)
READINGS: Final = Counter("tonetrack_readings", "Live readings, by emotion or unsure.", tag_keys=("label",))
CONFIDENCE: Final = Histogram(
    "tonetrack_reading_confidence", "How sure live readings are.", boundaries=PARTS, tag_keys=("label",)
)
RECORDINGS: Final = Gauge(
    "tonetrack_recordings", "Uploaded recordings that wait, are being heard, or were laid aside.", tag_keys=("state",)
)
RECORDINGS_OVER: Final = Counter(
    "tonetrack_recordings_over",
    "Recordings that came to their end, by which: done, failed, cancelled.",
    tag_keys=("state",),
)
RECORDING_SPEED: Final = Histogram(
    "tonetrack_recording_speed",
    "Seconds of a recording that are heard in a second: the inverse of the real-time factor.",
    boundaries=FACTORS,
)
GOOGLE: Final = Histogram(
    "tonetrack_google_seconds",
    "What asking Google takes, by how it answered.",
    boundaries=SECONDS,
    tag_keys=("outcome",),
)
WEBHOOKS: Final = Counter("tonetrack_webhooks", "Attempts to deliver a webhook, by outcome.", tag_keys=("outcome",))


@contextmanager
def timed(histogram: Histogram, **tags: str) -> Iterator[None]:
    """Observe how many seconds the block takes, if it ends well."""
    start = time.perf_counter()
    yield
    histogram.observe(time.perf_counter() - start, tags)


@contextmanager
def asking_redis(operation: str) -> Iterator[None]:
    """Observe what Redis takes for the block, and count it where it fails."""
    try:
        with timed(REDIS, operation=operation):
            yield
    except RedisError:
        REDIS_ERRORS.inc(1, {"operation": operation})
        raise


def count_hop(events: Iterable[Event], hop: Hop, new: bool) -> None:
    """Count a hop that was heard, with those that were heard together with it: their lag, and what was read in them."""
    if not new:
        REPEATED.inc()
        return
    lag = max(0.0, time.time() - hop.arrived_at)
    for earlier in range(hop.together):
        LAG.observe(lag + earlier * HOP_SECONDS)
    for event in events:
        if isinstance(event, EmotionRead):
            tags = {"label": event.reading.label}
            READINGS.inc(1, tags)
            CONFIDENCE.observe(event.reading.confidence, tags)
