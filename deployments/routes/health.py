"""Whether this replica lives, and whether it can take a new conversation."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request, Response

from deployments.readiness import Readiness

Parts = dict[str, str | dict[str, str]]

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """This replica's event loop answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "a part is failing; `parts` says which", "model": Parts}})
async def ready(request: Request, response: Response) -> Parts:
    """Redis takes writes, all session actors answer, the diariser and the emotion recogniser have a healthy replica.

    503 where one of these is not so. What live talk does not need (the blob store, the queue and its workers) may be
    "degraded" in a replica that is ready: one bucket that hiccups must not take away every place to talk.
    """
    found = await cast(Readiness, request.app.state.readiness).find()
    response.status_code = 200 if found.ready else 503
    return {"status": "ready" if found.ready else "not ready", "parts": found.parts}
