"""The door: the FastAPI application, as a deployment."""

from __future__ import annotations

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.backpressure import in_replica
from deployments.bodies import ShortBodies
from deployments.context import Context
from deployments.gate import Gate
from deployments.inbox import Inbox
from deployments.loop import Loop
from deployments.origins import SameHost
from deployments.pool import SessionPool
from deployments.readiness import Readiness
from deployments.routes import audio, declared, health, recordings, sessions, sound, speakers, uploads, voices
from deployments.routes.errors import explain_errors
from deployments.routes.refusals import EVERYWHERE
from deployments.security_headers import SecurityHeaders
from deployments.sessions import open_store
from deployments.settings import Settings
from pipeline.logs import speak


def build_api(context: Context) -> FastAPI:
    """The application with all its routes; `context` is what they share."""
    api = FastAPI(
        title="ToneTrack",
        version="1",
        docs_url=None,  # its pages load their scripts from elsewhere; `/openapi.json` is complete
        redoc_url=None,
        description="Live speech emotion, per speaker. A reading says how someone sounds, not how they feel.",
    )
    api.state.context = context
    api.state.readiness = Readiness(context)
    for routes in (declared, sessions, speakers, audio, uploads, recordings, sound, voices):
        api.include_router(routes.router, responses=EVERYWHERE)
    api.include_router(health.router)
    explain_errors(api)
    api.add_middleware(ShortBodies)
    api.add_middleware(SameHost, settings=context.settings)
    api.add_middleware(SecurityHeaders)
    return api


@serve.ingress()
class Ingress:
    """Serves the API over the session actors, which it makes on start."""

    def __init__(
        self, settings: Settings, diariser: DeploymentHandle, recogniser: DeploymentHandle, worker: DeploymentHandle
    ) -> None:
        speak("ingress", settings.log_format, settings.log_level)
        in_replica()
        # It is the queue that tells a worker what to do; that it is named here makes it part of the graph.
        pool = SessionPool(settings, diariser, recogniser)
        pool.wait()
        inbox = Inbox(settings)
        self._context = Context(settings, open_store(settings), pool, diariser, inbox, Gate(settings, inbox.redis))
        Loop("retiring").spawn(pool.retire_others())

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(self._context)
