"""The session actors: each holds many live conversations, hears their hops in order, publishes what follows.

Every conversation in an actor is a cache over Redis. Whatever goes wrong with one (a model's replica died, Redis was
away, the actor itself was killed), the cure is the same: forget it, load its snapshot, replay its journal. The same
audio gives the same events, and a step that was published before is not published again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from ray.actor import ActorHandle
from ray.serve.handle import DeploymentHandle
from redis.exceptions import RedisError

from deployments.gather import Gatherer
from deployments.settings import Settings
from pipeline.conversation import Conversation, Hop
from pipeline.diarisation import Observation, Stretch
from pipeline.emotion import EmotionHead
from pipeline.events import SessionEnded, Warned
from pipeline.session import Codec, Frame, UnknownSession
from pipeline.store import SessionStore, connect
from pipeline.timeline import SAMPLE_RATE

NAMESPACE = "tonetrack"
FIRST_RETRY, LAST_RETRY = 0.5, 10.0  # s after a failure, before the conversation is restored; doubles up to the last
SOUND_MARGIN = 60.0  # s
LAST_STEP = 2**31  # above every hop
STUCK = 3  # failures in a row after which those who watch are told

logger = logging.getLogger("ray.serve")


@dataclass
class _End:
    """Asks a conversation to conclude; `heard` gets its length in seconds."""

    heard: asyncio.Future[float]


@dataclass
class _Live:
    """A conversation in memory: what waits to be heard, and the task that hears it."""

    inbox: asyncio.Queue[Frame | _End] = field(default_factory=asyncio.Queue)
    ending: _End | None = None
    task: asyncio.Task[None] | None = None


class SessionActor:
    """Holds many sessions. All its methods may be called again: what was done is not done twice."""

    def __init__(self, settings: Settings, diariser: DeploymentHandle, recogniser: DeploymentHandle) -> None:
        self._settings = settings
        self._store = open_store(settings)
        self._live: dict[str, _Live] = {}
        self._observe: Gatherer[Stretch, Observation] = Gatherer(diariser.observe.remote)
        self._embed: Gatherer[Any, Any] = Gatherer(recogniser.embed.remote)
        self._head = EmotionHead.load()

    async def hear(self, session: str, frame: Frame) -> int:
        """Take in a frame that stands in the journal; returns how many frames wait to be heard."""
        live = self._of(session)
        live.inbox.put_nowait(frame)
        return live.inbox.qsize()

    async def finish(self, session: str) -> float:
        """Hear everything that the journal holds, publish the end, return the session's seconds."""
        heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._of(session).inbox.put_nowait(_End(heard))
        return await heard

    async def drop(self, session: str) -> None:
        """Forget a session that was erased."""
        if live := self._live.pop(session, None):
            self._answer(live, live.ending, UnknownSession(session))
            if live.task:
                live.task.cancel()

    async def ready(self) -> bool:
        """Answers once the actor is up."""
        return True

    def _of(self, session: str) -> _Live:
        if session not in self._live:
            live = self._live[session] = _Live()
            live.task = asyncio.create_task(self._attend(session, live))
        return self._live[session]

    async def _attend(self, session: str, live: _Live) -> None:
        """Hear one session until it ends, is erased, or falls silent for long."""
        pending: Frame | _End | None = None
        failures = 0
        while True:
            try:
                conversation = await self._restore(session)
                while pending or (pending := await self._next(live)):
                    if isinstance(pending, _End):
                        live.ending = pending
                        seconds = await self._conclude(session, conversation)
                        self._answer(live, pending, seconds)
                        break
                    await self._catch_up(session, conversation, pending)
                    pending, failures = None, 0
                if pending is None and live.inbox.empty() and await self._store.waits(session, conversation.next_frame):
                    await self._abandon(session, conversation)
                if live.inbox.empty():
                    break
            except UnknownSession as error:
                self._answer(live, pending, error)
                break
            except Exception:
                logger.exception("session %s: going on from its snapshot", session)
                failures += 1
                if failures == STUCK:
                    await self._warn(session)
                await asyncio.sleep(min(FIRST_RETRY * 2 ** (failures - 1), LAST_RETRY))
        if self._live.get(session) is live:
            del self._live[session]

    async def _warn(self, session: str) -> None:
        message = "Hearing has come to a halt. The sound is safe, and hearing goes on by itself as soon as it can."
        with suppress(RedisError):
            await self._store.warn(session, Warned(code="stuck", message=message))

    async def _next(self, live: _Live) -> Frame | _End | None:
        """What came next, or None when the recorder has been away for so long that it is not expected back."""
        try:
            return await asyncio.wait_for(live.inbox.get(), self._settings.abandon)
        except TimeoutError:
            return None

    @staticmethod
    def _answer(live: _Live, first: Frame | _End | None, answer: float | UnknownSession) -> None:
        """Give everyone who waits for the end the same answer."""
        waiting = [first]
        while not live.inbox.empty():
            waiting.append(live.inbox.get_nowait())
        for item in waiting:
            if not isinstance(item, _End) or item.heard.done():
                continue
            if isinstance(answer, UnknownSession):
                item.heard.set_exception(answer)
            else:
                item.heard.set_result(answer)

    async def _restore(self, session: str) -> Conversation:
        state = await self._store.load_snapshot(session)
        return Conversation.unpack(state, self._head) if state else Conversation(self._head)

    async def _catch_up(self, session: str, conversation: Conversation, newest: Frame | None) -> None:
        """Hear the newest frame, and before it whatever the journal holds that has not been heard."""
        if newest and newest.number == conversation.next_frame:
            await self._hear(session, conversation, newest)
        elif newest is None or newest.number > conversation.next_frame:
            async for frame in self._store.frames(session, Codec.PCM16, conversation.next_frame):
                await self._hear(session, conversation, frame)

    async def _hear(self, session: str, conversation: Conversation, frame: Frame) -> None:
        before = conversation.samples
        for hop in conversation.hear(np.frombuffer(frame.data, "<i2"), frame.arrived_at):
            await self._hop(session, conversation, hop)
        conversation.next_frame = frame.number + 1
        period = round(self._settings.snapshot_seconds * SAMPLE_RATE)
        if conversation.samples // period > before // period:
            await self._store.save_snapshot(session, conversation.pack(), conversation.next_frame)

    async def _hop(self, session: str, conversation: Conversation, hop: Hop) -> None:
        observation = await self._observe(conversation.stretch(hop))
        fragments = conversation.align(observation)
        embeddings = await asyncio.gather(*(self._embed(conversation.audio(fragment)) for fragment in fragments))
        await self._store.publish(session, hop.number, conversation.conclude(hop, fragments, embeddings))

    async def _abandon(self, session: str, conversation: Conversation) -> None:
        """End a session whose recorder does not come back, so that its sound does not stay."""
        await self._store.stop(session)
        await self._conclude(session, conversation)

    async def _conclude(self, session: str, conversation: Conversation) -> float:
        if (ended := await self._store.ended_at(session)) is not None:
            return ended
        await self._catch_up(session, conversation, None)
        newest = await self._store.newest(session)
        if conversation.samples == 0 and newest is not None and newest.heard_until > 0:
            # The sound has expired with nobody here to conclude; what was heard of it stands.
            await self._store.publish(session, LAST_STEP, [SessionEnded(heard_until=newest.heard_until)])
            return newest.heard_until
        seconds = conversation.samples / SAMPLE_RATE
        last = conversation.finish()
        await self._hop(session, conversation, last)
        await self._store.publish(session, last.number + 1, conversation.end())
        await self._store.forget_audio(session)
        return seconds


def open_store(settings: Settings) -> SessionStore:
    """The store that the settings name. Sound outlives an absent recorder a little, for whoever concludes."""
    return SessionStore(connect(settings.redis_address), settings.retention, settings.abandon + SOUND_MARGIN)


class SessionPool:
    """The named session actors, made by whoever needs them first. A session's actor: rendezvous hashing."""

    def __init__(self, settings: Settings, diariser: DeploymentHandle, recogniser: DeploymentHandle) -> None:
        actor: Any = ray.remote(SessionActor)
        # Actors of other settings are others: they go on with what they hold, and new connections come to these.
        of = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:8]
        options: dict[str, Any] = {"namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True, "num_cpus": 0}
        lasting: dict[str, Any] = {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": 10_000}
        self._actors: dict[str, ActorHandle] = {
            name: actor.options(name=name, **options, **lasting).remote(settings, diariser, recogniser)
            for name in (f"sessions-{of}-{number}" for number in range(settings.session_actors))
        }

    def actor(self, session: str) -> ActorHandle:
        """Where a session lives (Thaler and Ravishankar 1998: the highest hash of the pair)."""
        name = max(self._actors, key=lambda name: hashlib.sha256(f"{name}/{session}".encode()).digest())
        return self._actors[name]

    async def ready(self) -> None:
        """Wait until all actors are up."""
        await asyncio.gather(*(actor.ready.remote() for actor in self._actors.values()))
