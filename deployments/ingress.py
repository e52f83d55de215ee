"""The door: the FastAPI application, as a deployment."""

from __future__ import annotations

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.context import Context
from deployments.routes import audio, health, sessions
from deployments.routes.errors import explain_errors
from deployments.sessions import SessionPool, open_store
from deployments.settings import Settings


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
    for routes in (sessions.router, audio.router, health.router):
        api.include_router(routes)
    explain_errors(api)
    return api


@serve.ingress()
class Ingress:
    """Serves the API over the session actors, which it makes on start."""

    def __init__(self, settings: Settings, diariser: DeploymentHandle, recogniser: DeploymentHandle) -> None:
        self._context = Context(settings, open_store(settings), SessionPool(settings, diariser, recogniser))

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(self._context)
