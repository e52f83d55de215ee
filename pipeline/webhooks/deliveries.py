"""What is to be told of recordings, in Redis; a recording has one delivery, and its newest event is what is told:

    tonetrack:webhooks                   zset  recordings, by the Unix second at which their delivery is next due
    tonetrack:{RECORDING}:webhook        hash  url, secret, the event (id, type, body), attempts, state
    tonetrack:{RECORDING}:deliveries     list  what became of the attempts, as JSON, oldest first

The first lies in a hash slot of its own, so no script touches both it and a recording's keys: what is due is only a
hint, which whoever claims it drops where the recording's own keys do not bear it out.

"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis

from pipeline.published import SCRIPTS, session_key
from pipeline.session import Role

DUE: Final = "tonetrack:webhooks"
LONGEST_EXCERPT: Final = 200  # characters of an answer that the log keeps
LONGEST_LOG: Final = 50  # attempts that the log keeps
LONGEST_WAIT: Final = 6 * 3_600.0  # seconds; more than that no Retry-After gets

EventType = Literal["recording.done", "recording.failed", "recording.cancelled"]


def new_event(
    kind: EventType, recording: dict[str, Any], created_at: float | None = None, event_id: str | None = None
) -> dict[str, Any]:
    """An event with an id of its own, or with one that makes it known again where it may be told twice."""
    return {
        "id": event_id or f"evt_{secrets.token_hex(12)}",
        "type": kind,
        "created_at": time.time() if created_at is None else created_at,
        "recording": recording,
    }


class State(StrEnum):
    """What has become of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given up"


class Attempted(BaseModel):
    """An attempt, as the log keeps it. `answer`: the beginning of what the server said, where it is text."""

    model_config = ConfigDict(frozen=True)

    at: float = Field(description="Unix seconds")
    event: str = Field(description="id of the event")
    attempt: int = Field(description="from 1")
    status: int | None = Field(None, description="of the answer, where one came")
    error: str = Field("", description="why it is no delivery, in a sentence")
    seconds: float
    answer: str = Field("", max_length=LONGEST_EXCERPT)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event to be sent, by whoever holds it until the Unix second `lease`. `attempt` counts from 1."""

    recording: str
    lease: float
    event: str
    type: str
    body: bytes
    url: str
    secret: str = field(repr=False)
    attempt: int = 1
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: a status, or an error in a sentence; `retry_after` in seconds, where the server says."""

    status: int | None = None
    error: str = ""
    answer: str = ""
    retry_after: float = 0
    seconds: float = 0

    @property
    def state(self) -> State:
        """What it makes of the delivery. Only 410 Gone, which is said on purpose, is final among failures."""
        if self.status is not None and 200 <= self.status < 300:
            return State.DELIVERED
        return State.GIVEN_UP if self.status == 410 else State.PENDING


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds from one attempt to the next, each longer or shorter by up to the share `jitter`."""

    delays: tuple[float, ...] = (5, 30, 120, 600, 3_600, 3_600, 3_600)
    jitter: float = 0.2

    def after(self, attempt: int) -> float | None:
        """Seconds to wait after the attempt of this number, or None where there are to be no more."""
        if attempt > len(self.delays):
            return None
        return self.delays[attempt - 1] * random.uniform(1 - self.jitter, 1 + self.jitter)


Wait = Callable[[str, str], float]


def at_once(url: str, owner: str) -> float:
    """Nobody waits for others."""
    return 0


class WebhookStore:
    """Deliveries in Redis: any number of workers may claim them at once."""

    def __init__(self, redis: Redis, patience: Patience | None = None) -> None:
        self._redis: Any = redis
        self._patience = patience or Patience()
        self._keep, self._claim, self._release, self._begin, self._settle = (
            redis.register_script((SCRIPTS / f"webhook_{name}.lua").read_text())
            for name in ("keep", "claim", "release", "begin", "settle")
        )

    async def schedule(
        self, recording: str, url: str, secret: str, event: dict[str, Any], ttl: float, at: float | None = None
    ) -> bool:
        """Have an event sent, from the Unix second `at` on (by default at once), and forget it after `ttl` seconds.

        Returns False for an event that was scheduled before, of which nothing changes, and where the recording is gone.
        """
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        state = await self._keep(
            keys=[session_key(recording, "webhook"), session_key(recording, "job")],
            args=[event["id"], event["type"], body, url, secret, max(1, round(ttl * 1000))],
        )
        # Whoever was cut off between the two writes does both again.
        if state in (b"new", b"pending"):
            due = time.time() if at is None else at
            await self._redis.zadd(DUE, {recording: due}, nx=state == b"pending")
            if not await self._redis.exists(session_key(recording, "webhook")):  # erased meanwhile
                await self._redis.zrem(DUE, recording)
        return bool(state == b"new")

    async def claim(self, now: float, lease_seconds: float, wait: Wait = at_once) -> Delivery | None:
        """The delivery that has been due for longest, for nobody else until the lease is over; None where none is.

        One that is neither settled nor given back by then, since its worker has died, is due again. `wait`: seconds
        after which one to a URL, of an owner, is due again instead; 0 where it need not wait.
        """
        lease = now + lease_seconds
        while (found := await self._claim(keys=[DUE], args=[repr(now), repr(lease)])) is not None:
            recording = found.decode()
            whose = (await self._redis.hget(session_key(recording, "job"), Role.RECORDER.value) or b"").decode()
            where = (await self._redis.hget(session_key(recording, "webhook"), "url") or b"").decode()
            if where and (seconds := wait(where, whose)):
                await self._free(recording, lease, now + seconds)
                continue
            told = await self._begin(keys=[session_key(recording, "webhook")])
            if told is None:
                await self._free(recording, lease)
                continue
            event, kind, body, url, secret, attempt = told
            delivery = Delivery(
                recording, lease, event.decode(), kind.decode(), body, url.decode(), secret.decode(), attempt, whose
            )
            if attempt <= len(self._patience.delays) + 1:
                return delivery
            await self.settle(
                delivery, Outcome(error="Every worker that sent it ended before there was an answer."), now
            )
        return None

    async def settle(self, delivery: Delivery, outcome: Outcome, now: float) -> State | None:
        """Log what came of a delivery, and have it sent again where it is to be; returns what has become of it.

        None where it has been erased or replaced. Doing so again changes nothing.
        """
        state, delay = outcome.state, self._patience.after(delivery.attempt)
        if state is State.PENDING and delay is None:
            state = State.GIVEN_UP
        entry = Attempted(
            at=now,
            event=delivery.event,
            attempt=delivery.attempt,
            status=outcome.status,
            error=outcome.error,
            seconds=round(outcome.seconds, 3),
            answer=outcome.answer[:LONGEST_EXCERPT],
        )
        settled = await self._settle(
            keys=[session_key(delivery.recording, suffix) for suffix in ("webhook", "deliveries")],
            args=[delivery.event, delivery.attempt, state, entry.model_dump_json(), LONGEST_LOG],
        )
        if settled == b"unknown":
            await self._free(delivery.recording, delivery.lease)
            return None
        standing = State(settled.decode())
        again = standing is State.PENDING and delay is not None
        due = now + max(delay or 0, min(outcome.retry_after, LONGEST_WAIT)) if again else None
        await self._free(delivery.recording, delivery.lease, due)
        return standing

    async def state(self, recording: str) -> State | None:
        """What has become of a recording's delivery; None where it has none."""
        state = await self._redis.hget(session_key(recording, "webhook"), "state")
        return None if state is None else State(state.decode())

    async def log(self, recording: str) -> list[Attempted]:
        """The last attempts to tell of a recording, oldest first."""
        entries = await self._redis.lrange(session_key(recording, "deliveries"), 0, -1)
        return [Attempted.model_validate_json(entry) for entry in entries]

    async def erase(self, recording: str) -> None:
        """Delete all that is known of a recording's delivery; what is being sent is sent, and not logged."""
        await self._redis.delete(*(session_key(recording, suffix) for suffix in ("webhook", "deliveries")))
        await self._redis.zrem(DUE, recording)

    async def _free(self, recording: str, lease: float, due: float | None = None) -> None:
        await self._release(keys=[DUE], args=[recording, repr(lease), "" if due is None else repr(due)])
