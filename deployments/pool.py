"""The session actors by name: who holds which session."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from deployments.sessions import SessionActor
from deployments.settings import Settings
from pipeline.corrections import Correction

NAMESPACE = "tonetrack"


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

    async def correct(self, session: str, correction: Correction) -> None:
        """Have a correction made. Raises what `SessionActor.correct` raises."""
        try:
            await self.actor(session).correct.remote(session, correction, secrets.token_hex(8))
        except RayTaskError as error:
            raise error.cause from None

    async def ready(self) -> None:
        """Wait until all actors are up."""
        await asyncio.gather(*(actor.ready.remote() for actor in self._actors.values()))
