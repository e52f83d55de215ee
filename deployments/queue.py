"""The queue of uploaded recordings: Celery on Redis, as Ray Serve's task consumers take it.

A message holds a recording's id and nothing else; all that matters is in `pipeline.jobs`. A worker that is alive keeps
renewing its message, and what is not renewed goes to another within seconds. Celery has no such renewal for Redis: it
is done here, in the set by which its transport (kombu) knows what has not been acknowledged.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy
from ray.serve.schema import CeleryAdapterConfig, TaskProcessorConfig
from redis import Redis
from redis.exceptions import RedisError

from deployments.settings import Settings
from pipeline.job import RUNNING, WAITING
from pipeline.logs import about

TASK: Final = "hear_recording"
PREFIX: Final = "tonetrack:queue:"
QUEUE: Final = "recordings"
UNACKNOWLEDGED: Final = "unacknowledged"
UNACKNOWLEDGED_SINCE: Final = "unacknowledged_since"
VISIBILITY_SECONDS: Final = 5  # without renewal, after which a recording goes to another worker
RENEWAL_SECONDS: Final = 1.0
POLL_SECONDS: Final = 1.0  # between two looks at how many recordings wait

logger = logging.getLogger("ray.serve")


def queue_config(settings: Settings) -> TaskProcessorConfig:
    """How a task consumer and whoever enqueues reach the queue."""
    return TaskProcessorConfig(
        queue_name=QUEUE,
        adapter_config=CeleryAdapterConfig(
            broker_url=_broker_url(settings.redis_address),
            backend_url="cache+memory://",  # what becomes of a recording stands in its job
            app_custom_config={
                "worker_prefetch_multiplier": 1,
                "worker_hijack_root_logger": False,
                "worker_redirect_stdouts": False,
                "worker_send_task_events": False,
                "broker_connection_retry_on_startup": True,
                "broker_connection_max_retries": None,
                "task_publish_retry_policy": {"max_retries": 8, "interval_start": 0.05, "interval_max": 1.0},
            },
            broker_transport_options={
                "visibility_timeout": VISIBILITY_SECONDS,
                "unacked_restore_interval": 1,
                "unacked_restore_throttle": 1,
                "global_keyprefix": PREFIX,
                "unacked_key": UNACKNOWLEDGED,
                "unacked_index_key": UNACKNOWLEDGED_SINCE,
            },
        ),
        max_retries=0,  # a recording's own tries are counted in its job, where a killed worker is counted, too
    )


@contextmanager
def renewing(redis: Redis, delivery_tag: str, recording: str, stirs: Callable[[], bool]) -> Iterator[None]:
    """Keeps a message from going to another worker while the block lasts, or until Redis is away for long.

    What it is of shows a sign of life meanwhile, see `pipeline.jobs`. Where nothing stirs any more the process ends: a
    thread that hangs cannot be ended otherwise, and the replica that takes its place begins anew.
    """
    over = threading.Event()

    def renew() -> None:
        about(recording=recording)
        while not over.wait(RENEWAL_SECONDS):
            if not stirs():
                logger.critical("its worker hangs, and is ended")
                os.kill(os.getpid(), signal.SIGKILL)
            with suppress(RedisError):
                redis.zadd(PREFIX + UNACKNOWLEDGED_SINCE, {delivery_tag: time.time()}, xx=True)
                redis.zadd(RUNNING, {recording: time.time()}, xx=True)

    thread = threading.Thread(target=renew, name="renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def autoscaling(settings: Settings) -> AutoscalingConfig:
    """As many workers as there are recordings, within what the settings allow."""
    return AutoscalingConfig(
        min_replicas=settings.recording_min_workers,
        max_replicas=settings.recording_max_workers,
        target_ongoing_requests=1,
        upscale_delay_s=2,
        downscale_delay_s=60,
        policy=AutoscalingPolicy(policy_function="deployments.queue:QueueLengthPolicy"),
    )


class QueueLengthPolicy:
    """A worker for each recording that waits or is being heard.

    Serve's own policy counts what waits alone, so that it would end workers in the middle of the last recordings. It
    lives in Serve's controller and finds Redis in the environment: what it is made with, Serve's API shows to everyone.
    """

    def __init__(self) -> None:
        self._redis = Redis.from_url(Settings().redis_address, socket_timeout=0.5, socket_connect_timeout=0.5)
        self._asked_at = 0.0
        self._recordings = 0

    def __call__(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """How many workers there should be, and what that rests on."""
        if time.monotonic() - self._asked_at >= POLL_SECONDS:
            self._asked_at = time.monotonic()
            try:
                self._recordings = int(self._redis.zcard(WAITING)) + int(self._redis.zcard(RUNNING))
            except RedisError:  # then it stays as it is
                return float(context.current_num_replicas), {"recordings": self._recordings}
        return float(self._recordings), {"recordings": self._recordings}


def _broker_url(redis_url: str) -> str:
    """A Redis URL as Celery spells it: a socket has a scheme of its own, and TLS proves nothing unless that is said."""
    if redis_url.startswith("rediss://") and "ssl_cert_reqs=" not in redis_url:
        return f"{redis_url}{'&' if '?' in redis_url else '?'}ssl_cert_reqs=required"
    path = redis_url.removeprefix("unix://")
    return redis_url if path == redis_url else f"redis+socket://{path}"
