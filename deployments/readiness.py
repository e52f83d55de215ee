"""Whether this replica can take a new conversation, told part by part.

Without Redis, a session actor, the diariser or the emotion recogniser nobody who begins to talk is heard, so a replica
that lacks one of them is not ready. All else only degrades it: replicas share the bucket, the queue and Serve's
controller, and would all be taken away at once for what those who talk do not notice.

Nothing is asked of the models themselves, which have people to hear: Serve looks after its replicas, and is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ray import serve
from ray.serve._private.common import ReplicaState
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from deployments.context import Context
from deployments.shared import Shared, look_at
from pipeline.blobs import BlobTrouble

PATIENCE: Final = 2.0  # s that all parts have together to answer
FRESH: Final = 1.0  # s for which everyone who asks is told the same
BLOBS_FRESH: Final = 30.0  # s; a bucket bills what it is asked
OK: Final = "ok"

REDIS_AWAY: Final = "Redis does not answer; see whether it runs, can be reached from here, and takes the password."
REFUSALS: Final[dict[type[RedisError], str]] = {  # the first that fits
    OutOfMemoryError: "Redis is full and refuses writes; give it more memory, or lower TONETRACK_RETENTION.",
    ReadOnlyError: "This Redis is a replica, which only reads; TONETRACK_REDIS_URL must name the one that writes.",
    RedisConnectionError: REDIS_AWAY,
    ResponseError: "Redis refuses writes; its log says why.",
    RedisError: REDIS_AWAY,
}
REDIS_FILLING: Final = (
    "Redis is nearly full, so nobody new comes in; give it more memory, or lower TONETRACK_RETENTION."
)
SESSIONS_AWAY: Final = "A session actor does not answer; if Ray does not bring it back by itself, Ray's log says why."
NO_REPLICA: Final = "No replica of {} runs; if Serve brings none by itself, `serve status` says why."
SERVE_AWAY: Final = "Serve's controller does not answer, so this is not known; who talks is heard without it."
BLOBS_AWAY: Final = "The blob store cannot be used, so nothing can be uploaded; the log says why."
QUEUE_AWAY: Final = "How many recordings wait is not known."
QUEUE_FULL: Final = "TONETRACK_MAX_QUEUED recordings wait; more are asked to come later."
FULL: Final = "All TONETRACK_MAX_SESSIONS places are taken, or hearing is late or soon would be."

Say = Callable[[str], str]

logger = logging.getLogger("ray.serve")


def failing(why: str) -> str:
    """Of a part without which nobody can begin to talk."""
    return f"failing: {why}"


def degraded(why: str) -> str:
    """Of a part whose loss those who talk do not notice."""
    return f"degraded: {why}"


@dataclass(frozen=True, slots=True)
class Found:
    """What is the matter with each part; `ready`: whether none is failing."""

    ready: bool
    parts: dict[str, str]


class Readiness:
    """Looks at all parts of a replica at once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._replicas = Shared(lambda: asyncio.to_thread(_running_replicas, context.diariser.app_name), FRESH)
        self._blobs = Shared(lambda: asyncio.to_thread(self._check_blobs), BLOBS_FRESH)
        # How each is looked at, and what is told where that takes too long or fails.
        self._parts: dict[str, tuple[Callable[[], Awaitable[str]], str]] = {
            "redis": (self._redis, failing(REDIS_AWAY)),
            "session_actors": (self._session_actors, failing(SESSIONS_AWAY)),
            "diariser": (self._runs("Diariser", failing), degraded(SERVE_AWAY)),
            "emotion_recogniser": (self._runs("EmotionRecogniser", failing), degraded(SERVE_AWAY)),
            "places": (self._places, degraded(FULL)),
            "blob_store": (self._blobs, degraded(BLOBS_AWAY)),
            "queue": (self._queue, degraded(QUEUE_AWAY)),
            "recording_workers": (self._runs("RecordingWorker", degraded), degraded(SERVE_AWAY)),
        }
        self.find = Shared(self._look, FRESH)

    async def _look(self) -> Found:
        looking = {name: asyncio.ensure_future(look()) for name, (look, _) in self._parts.items()}
        await asyncio.wait(looking.values(), timeout=PATIENCE)
        told = {name: _told(task, self._parts[name][1]) for name, task in looking.items()}
        return Found(not any(text.startswith(failing("")) for text in told.values()), told)

    async def _redis(self) -> str:
        try:
            await self._context.store.check()
        except RedisError as error:
            return failing(next(why for kind, why in REFUSALS.items() if isinstance(error, kind)))
        return degraded(REDIS_FILLING) if await self._context.gate.nearly_full() else OK

    async def _session_actors(self) -> str:
        await self._context.pool.ready()
        return OK

    def _runs(self, deployment: str, say: Say) -> Callable[[], Awaitable[str]]:
        async def look() -> str:
            return OK if (await self._replicas()).get(deployment) else say(NO_REPLICA.format(deployment))

        return look

    async def _places(self) -> str:
        return degraded(FULL) if self._context.full else OK

    async def _queue(self) -> str:
        return degraded(QUEUE_FULL) if await self._context.inbox.full() else OK

    def _check_blobs(self) -> str:
        try:
            self._context.inbox.blobs.check()
        except BlobTrouble as error:
            logger.warning("%s", error)
            return degraded(BLOBS_AWAY)
        return OK


def _told(task: asyncio.Future[str], otherwise: str) -> str:
    if not task.done():
        task.cancel()  # without waiting for it: Redis's client may need its time to notice
        task.add_done_callback(look_at)
        return otherwise
    if error := task.exception():
        logger.info("not ready: %s", otherwise, exc_info=error)
        return otherwise
    return task.result()


def _running_replicas(application: str) -> dict[str, int]:
    """How many replicas of each deployment take calls. Waits for Serve's controller as long as that takes."""
    deployments = serve.status().applications[application].deployments
    return {name: deployment.replica_states.get(ReplicaState.RUNNING, 0) for name, deployment in deployments.items()}
