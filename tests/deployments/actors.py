"""Session actors without their cluster, and talks that they hear."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from deployments.halts import RESUMED
from deployments.sessions import SessionActor
from deployments.settings import Settings
from pipeline import tasks
from pipeline.diarisation import Observation, Stretch
from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead
from pipeline.events import Event
from pipeline.session import Codec, Frame, SessionRequest
from pipeline.store import SessionStore
from pipeline.timeline import SAMPLE_RATE, Timeline
from tests.service import Pcm

FRAME = SAMPLE_RATE // 4


class Actors:
    """One Redis, and actors that hear what it holds. `start` forgets the one before, as a kill does."""

    def __init__(self, url: str, diariser: LocalDiariser, /, **settings: Any) -> None:
        self._settings = Settings(redis_url=url, snapshot_seconds=5, abandon=600, **settings)
        self._diariser = diariser
        self._size = EmotionHead.load().size
        self._actors: list[SessionActor] = []

    def another(self) -> SessionActor:
        """An actor beside those that there are."""

        async def observe(stretches: Sequence[Stretch]) -> list[Observation]:
            await asyncio.sleep(0)
            return self._diariser.observe(stretches)

        async def embed(fragments: Sequence[Pcm]) -> list[np.ndarray]:
            return [np.resize(fragment[:50], self._size).astype(np.float32) / 32_768 for fragment in fragments]

        handles: list[Any] = [
            SimpleNamespace(observe=SimpleNamespace(remote=observe)),
            SimpleNamespace(embed=SimpleNamespace(remote=embed)),
        ]
        self._actors.append(SessionActor(self._settings, *handles))
        return self._actors[-1]

    async def start(self) -> SessionActor:
        """The only actor."""
        await self.close()
        return self.another()

    async def close(self) -> None:
        await tasks.end(*(live.task for actor in self._actors for live in actor._live.values() if live.task))
        await asyncio.gather(*(actor._second.close() for actor in self._actors))
        self._actors = []


class Talk:
    """A session into whose journal a conversation goes, frame by frame."""

    def __init__(self, store: SessionStore, session: str, connection: str, pcm: Pcm) -> None:
        self.store = store
        self.id = session
        self._connection = connection
        self._pcm = pcm
        self.said = 0
        self.cadence = 1  # of what is said next

    async def say(self, until: float, actor: SessionActor, wait: bool = True) -> None:
        """Up to so many seconds."""
        while self.said * FRAME < until * SAMPLE_RATE:
            data = self._pcm[self.said * FRAME : (self.said + 1) * FRAME].tobytes()
            frame = Frame(self.said, data, float(self.said), self.cadence)
            await self.store.append(self.id, self._connection, Codec.PCM16, frame)
            await actor.hear([(self.id, frame)])
            self.said += 1
        while wait and (await self.store.timeline(self.id)).heard_until < until:
            await asyncio.sleep(0.02)

    async def stop(self, actor: SessionActor) -> float:
        await self.store.stop(self.id)
        return await actor.finish(self.id)

    async def told(self) -> list[Event]:
        """All events, without the times of day, and without what tells that hearing goes on in another actor."""
        plain = {"arrived_at": None, "published_at": None}
        events = [event for _, event in await self.store.events(self.id)]
        return [event.model_copy(update=plain) for event in events if getattr(event, "code", "") != RESUMED.code]


async def begin(store: SessionStore, pcm: Pcm, **hints: Any) -> Talk:
    """Open a session in which int16 samples (n,) are to be heard."""
    session = (await store.create(SessionRequest(purpose="research", consent=True, **hints))).id
    return Talk(store, session, (await store.claim(session, Codec.PCM16)).connection, pcm)


def of(events: list[Event], *kinds: type[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kinds)]


def folded(events: list[Event]) -> Timeline:
    timeline = Timeline()
    for event in events:
        event.apply(timeline)
    return timeline
