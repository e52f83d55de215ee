"""What the routes of a replica share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from ray.serve.handle import DeploymentHandle

from deployments.aside import Aside
from deployments.door import Door
from deployments.gate import Gate
from deployments.inbox import Inbox
from deployments.pool import SessionPool
from deployments.room import Room
from deployments.settings import Settings
from pipeline.store import SessionStore
from pipeline.timeline import Timeline

TIMELINES: Final = 4  # that a replica makes at once: each of them lies in its memory meanwhile
FULL: Final = (
    "All places are taken, hearing is late or soon would be, or the store is nearly full; try again in half a minute."
)


@dataclass
class Context:
    """Settings, the store, the session actors, the diariser (it enrols voices), where recordings come in, the gate.

    `waiting`: connections of this replica that have not said hello yet, by address; `lines`: those that have, by
    session; `door`: through which newcomers come in; `enrolling`: voices that it is taking in, and `sending`: sound
    that it sends, both by address; `making`: places of timelines that it makes.
    """

    settings: Settings
    store: SessionStore
    pool: SessionPool
    diariser: DeploymentHandle
    inbox: Inbox
    gate: Gate
    aside: Aside = field(default_factory=Aside)  # one at a time: what is read at leisure waits for who talks
    waiting: Room = field(default_factory=Room)
    lines: Room = field(default_factory=Room)
    door: Door = field(default_factory=Door)
    enrolling: Room = field(default_factory=Room)
    sending: Room = field(default_factory=Room)
    making: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TIMELINES))

    async def timeline(self, session: str) -> Timeline:
        """The conversation as it is known now, once there is a place to make it. Raises `UnknownSession`."""
        async with self.making:
            return await self.store.timeline(session, self.aside)

    @property
    def full(self) -> bool:
        """Whether another recorder would slow those who are here."""
        return self.taken or self.pool.full

    @property
    def taken(self) -> bool:
        """Whether as many record as may."""
        return self.pool.recorders >= self.settings.max_sessions
