"""Sends what webhooks are due, in the background of a process; any number of processes may do so at once."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from typing import Final, cast
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from deployments.metrics import WEBHOOKS
from pipeline import tasks
from pipeline.job import Job
from pipeline.jobs import JobStore
from pipeline.logs import about, why
from pipeline.store import connect
from pipeline.webhooks import Delivery, EventType, Patience, Sender, State, WebhookStore, new_event

POLL_SECONDS: Final = 0.5
LEASE_SECONDS: Final = 60.0  # several times what an attempt takes at most
AT_ONCE: Final = 8  # deliveries under way in one process
AT_ONCE_EACH: Final = 2  # of them to one host, and of one owner: who answers slowly is waited for by no others
IN_LINE: Final = POLL_SECONDS / AT_ONCE_EACH  # s from one that waits for those to the next
GRACE_SECONDS: Final = 3.0  # for those under way, at the end; the rest is due again when their leases are over

logger = logging.getLogger("ray.serve")


class Receivers:
    """To which hosts deliveries are under way, and of which owners."""

    def __init__(self) -> None:
        self._under_way: Counter[str] = Counter()
        self._line: dict[str, float] = {}  # when the last of those that wait comes up again, in monotonic seconds

    def wait(self, url: str, owner: str) -> float:
        """Seconds that one more delivery has to wait; 0 where there is a place for it."""
        now = time.monotonic()
        self._line = {whose: until for whose, until in self._line.items() if until > now}
        crowded = [whose for whose in _whose(url, owner) if self._under_way[whose] >= AT_ONCE_EACH]
        for whose in crowded:
            self._line[whose] = self._line.get(whose, now) + IN_LINE
        return max((self._line[whose] - now for whose in crowded), default=0.0)

    def begin(self, delivery: Delivery) -> None:
        """A delivery takes a place."""
        self._under_way.update(_whose(delivery.url, delivery.owner))

    def end(self, delivery: Delivery) -> None:
        """It gives it back."""
        self._under_way.subtract(_whose(delivery.url, delivery.owner))
        self._under_way = +self._under_way


def _whose(url: str, owner: str) -> list[str]:
    """Whose places a delivery takes: its host's, and its owner's where that is known."""
    return [f"host {urlsplit(url).hostname}", *([f"owner {owner}"] if owner else [])]


class Deliverer:
    """A thread that claims what is due and sends it, from `start` to `stop`.

    `private`: whether URLs may lead to addresses that are not public.
    """

    def __init__(
        self,
        redis_url: str,
        private: bool,
        sender: Sender | None = None,
        patience: Patience | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._redis_url = redis_url
        self._sender = sender or Sender(private)
        self._patience = patience
        self._lease_seconds = lease_seconds
        self._receivers = Receivers()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; once more changes nothing."""
        if self._thread is None:
            self._ended.clear()
            self._thread = threading.Thread(target=asyncio.run, args=[self._run()], name="webhooks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Claim nothing more, and wait a few seconds for what is being sent."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join(GRACE_SECONDS + 5)
            self._thread = None

    async def _run(self) -> None:
        client = connect(self._redis_url)
        store = WebhookStore(client, self._patience)
        under_way: set[asyncio.Task[None]] = set()
        away = False
        while not self._ended.is_set():
            try:
                await self._take_up(store, under_way)
                away = False
            except RedisError as error:
                if not away:
                    logger.warning("webhooks wait for Redis: %s", why(error))
                away = True
            except Exception:
                logger.exception("a webhook could not be claimed")
            await asyncio.sleep(POLL_SECONDS)
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=GRACE_SECONDS)
            await tasks.end(*late)
        await client.aclose()

    async def _take_up(self, store: WebhookStore, under_way: set[asyncio.Task[None]]) -> None:
        """Begin with what is due, as far as there is room for it."""
        while len(under_way) < AT_ONCE and not self._ended.is_set():
            delivery = await store.claim(time.time(), self._lease_seconds, self._receivers.wait)
            if delivery is None:
                return
            self._receivers.begin(delivery)
            task = asyncio.create_task(self._deliver(store, delivery))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    async def _deliver(self, store: WebhookStore, delivery: Delivery) -> None:
        about(recording=delivery.recording)
        try:
            outcome = await self._sender.send(delivery, time.time())
            now = time.time()
            while True:
                try:
                    state = await store.settle(delivery, outcome, now)
                    break
                except RedisError:
                    # What has arrived and is not known to have would be sent again.
                    if time.time() > delivery.lease:
                        raise
                    await asyncio.sleep(POLL_SECONDS)
        except Exception:
            logger.exception("attempt %d at its webhook is lost", delivery.attempt)
            return
        finally:
            self._receivers.end(delivery)
        WEBHOOKS.inc(1, {"outcome": state.value if state else "superseded"})
        host = urlsplit(delivery.url).hostname  # what follows it may be a secret
        became = f"{state.value if state else 'superseded'}: {outcome.error}".rstrip(": ")
        level = logging.WARNING if state is State.GIVEN_UP else logging.INFO
        logger.log(level, "its webhook to %s, attempt %d: %s", host, delivery.attempt, became)


async def announce(job: Job, jobs: JobStore, webhooks: WebhookStore, ttl: float) -> None:
    """Have whoever uploaded a recording be told what became of it, once however often this is called.

    `ttl`: seconds for which that is remembered.
    """
    url, secret = await jobs.webhook(job.id)
    if url:
        about = job.model_dump(mode="json", exclude={"webhook"})
        identity = f"evt_{job.id}_{round(1000 * (job.finished_at or 0))}"
        event = new_event(cast(EventType, f"recording.{job.state.value}"), about, event_id=identity)
        await webhooks.schedule(job.id, url, secret, event, round(ttl))
