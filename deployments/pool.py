"""The session actors by name: who holds which session."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError
from ray.serve.handle import DeploymentHandle

from deployments.cadence import Pace
from deployments.gather import Gatherer
from deployments.lag import LATELY
from deployments.sessions import SessionActor
from deployments.settings import Settings
from pipeline import tasks
from pipeline.corrections import Correction
from pipeline.session import Frame

NAMESPACE: Final = "tonetrack"
PREFIX: Final = "sessions-"
ASKING_SECONDS: Final = 1.0  # that an actor may take to say what it can do
COMPANY_SECONDS: Final = 0.04  # that a frame waits for others: with 24 streams a fifth of all CPU is saved by it
RETIREMENT: Final = 120.0  # s without a session after which an actor that no pool needs any more is ended
PATIENCE: Final = 30.0  # s between two looks at those that are to go

logger = logging.getLogger("ray.serve")


class SessionPool:
    """The named session actors, made by whoever needs them first. A session's actor is found by rendezvous hashing.

    Actors of other settings or of other code are others: they go on with what they hold while new connections come to
    these, and leave when they hold nothing any more.
    """

    def __init__(self, settings: Settings, diariser: DeploymentHandle, recogniser: DeploymentHandle) -> None:
        self._arguments = settings, diariser, recogniser
        kind = _kind(settings)
        names = [f"{PREFIX}{kind}-{number}" for number in range(settings.session_actors)]
        self._actors: dict[str, ActorHandle] = {name: self._named(name) for name in names}
        self._hear = {name: Gatherer(partial(self._tell, name), COMPANY_SECONDS, self._crowd) for name in names}
        self._told: dict[str, tuple[float, Pace]] = {}
        self.recorders = 0  # connections of this replica that may record

    def _named(self, name: str) -> ActorHandle:
        settings: Settings = self._arguments[0]
        actor: Any = ray.remote(SessionActor)
        handle: ActorHandle = actor.options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=settings.session_cpus,
            scheduling_strategy="SPREAD",  # so that a node that goes takes few of them with it
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=10_000,
        ).remote(*self._arguments)
        return handle

    def actor(self, session: str) -> ActorHandle:
        """Where a session lives."""
        return self._actors[holder(session, self._actors)]

    def hear(self, session: str, frame: Frame) -> asyncio.Future[int]:
        """Have a frame heard that stands in its journal; the answer says how many things wait to be done before it.

        Frames of several sessions go in one call: a call costs more than hearing what is in it.
        """
        return self._hear[holder(session, self._actors)]((session, frame))

    async def _tell(self, name: str, said: Sequence[tuple[str, Frame]]) -> list[int]:
        waiting: list[int]
        waiting, pace = await self._actors[name].hear.remote(said)
        self._told[name] = time.monotonic(), pace
        return waiting

    def _crowd(self) -> int:
        return -(-self.recorders // len(self._actors))  # on average: sessions are spread evenly

    def cadence(self, session: str) -> int:
        """How many hops of a session are to be heard together at the moment."""
        return self._pace(holder(session, self._actors)).hops

    @property
    def full(self) -> bool:
        """Whether an actor has lately said that nobody should come besides."""
        return any(self._pace(name).full for name in self._actors)

    @property
    def nearly_full(self) -> bool:
        """Whether an actor has lately said that only a few should come at a time."""
        return any(self._pace(name).nearly_full for name in self._actors)

    @property
    def room(self) -> float:
        """For how many more the actors' processors have room, by the fullest of them: sessions are spread evenly."""
        return len(self._actors) * min(self._pace(name).room for name in self._actors)

    @property
    def people(self) -> int:
        """How many are there, as far as is known: who records here, and who talks, wherever that comes in."""
        return max(self.recorders, sum(self._pace(name).talking for name in self._actors))

    async def look(self) -> None:
        """Ask those actors what they can do that have not said it lately, as nobody records with them by this pool."""
        silent = [name for name in self._actors if not self._knows(name)]
        asking = [asyncio.create_task(self._tell(name, ())) for name in silent]
        if asking:
            await asyncio.wait(asking, timeout=ASKING_SECONDS)
            await tasks.end(*asking)

    def _knows(self, name: str) -> bool:
        return name in self._told and time.monotonic() - self._told[name][0] < LATELY

    def _pace(self, name: str) -> Pace:
        return self._told[name][1] if self._knows(name) else Pace()

    async def correct(self, session: str, correction: Correction) -> None:
        """Have a correction made. Raises what `SessionActor.correct` raises."""
        try:
            await self.actor(session).correct.remote(session, correction, secrets.token_hex(8))
        except RayTaskError as error:
            raise error.cause from None

    def wait(self) -> None:
        """Wait until all actors are up: while a new version comes, who talks stays with the old one until then."""
        ray.get([actor.ready.remote() for actor in self._actors.values()])

    async def ready(self) -> None:
        """Wait until all actors are up. One that somebody has ended for good is made anew."""
        await asyncio.gather(*(self._up(name) for name in self._actors))

    async def _up(self, name: str) -> None:
        try:
            await self._actors[name].ready.remote()
        except ActorDiedError:
            self._actors[name] = self._named(name)
            await self._actors[name].ready.remote()

    async def retire_others(self) -> None:
        """End the actors that other pools have left, as soon as they hold nothing, and come back when all have gone.

        Those that are there at this moment: whoever comes later belongs to a newer pool than this.
        """
        there = await asyncio.to_thread(ray.util.list_named_actors, all_namespaces=True)
        left = {actor["name"] for actor in there if actor["namespace"] == NAMESPACE} - set(self._actors)
        left = {name for name in left if name.startswith(PREFIX)}
        while left:
            await asyncio.sleep(PATIENCE)
            left -= {name for name in left if await _gone(name)}


def holder(session: str, names: Iterable[str]) -> str:
    """The name of the actor that holds a session (Thaler and Ravishankar 1998: the highest hash of the pair)."""
    return max(names, key=lambda name: hashlib.sha256(f"{name}/{session}".encode()).digest())


async def _gone(name: str) -> bool:
    """Whether an actor has left; one that has been idle for long is made to."""
    try:
        actor = await asyncio.to_thread(ray.get_actor, name, NAMESPACE)
        if await actor.idle.remote() < RETIREMENT:
            return False
        ray.kill(actor)
        logger.info("%s has nothing to do any more and was ended", name)
    except (ValueError, ActorDiedError):  # Ray knows no such name; or it died while it was asked
        pass
    except RayActorError:  # out of reach for the moment
        return False
    return True


def _kind(settings: Settings) -> str:
    """Tells actors apart that would not hear the same: by their settings, their code, their models."""
    digest = hashlib.sha256(f"{settings.model_dump_json()} {settings.redis_address}".encode())  # JSON hides passwords
    root = Path(__file__).parents[1]
    for file in sorted(file for folder in ("deployments", "pipeline") for file in (root / folder).rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:8]
