"""The door: the FastAPI application, as a deployment."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.context import Context
from deployments.pool import SessionPool
from deployments.routes import audio, health, sessions, speakers, voices
from deployments.routes.errors import explain_errors
from deployments.sessions import open_store
from deployments.settings import Settings

METHODS: Final = ("GET", "POST", "PATCH", "DELETE")
HEADERS: Final = ("Authorization", "Content-Type", "Last-Event-ID")


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
    for routes in (sessions.router, speakers.router, voices.router, audio.router, health.router):
        api.include_router(routes)
    explain_errors(api)
    # The page comes from another port. Nobody is let in by a cookie, only by a key that a page must already hold, so a
    # strange page can ask no more than a program could.
    api.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=METHODS, allow_headers=HEADERS)
    return api


@serve.ingress()
class Ingress:
    """Serves the API over the session actors, which it makes on start."""

    def __init__(self, settings: Settings, diariser: DeploymentHandle, recogniser: DeploymentHandle) -> None:
        pool = SessionPool(settings, diariser, recogniser)
        self._context = Context(settings, open_store(settings), pool, diariser)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(self._context)
