"""Whether this replica lives, and whether it can serve."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, HTTPException
from redis.exceptions import RedisError

from deployments.routes.access import TheContext

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz")
async def ready(context: TheContext) -> dict[str, str]:
    """Redis answers and the session actors are up; 503 with the reason where not."""
    try:
        async with asyncio.timeout(3):
            await context.store.ping()
            await context.pool.ready()
    except RedisError as error:
        raise HTTPException(503, f"Redis does not answer: {error}") from error
    except TimeoutError as error:
        raise HTTPException(503, "The session actors are not up yet.") from error
    return {"status": "ready"}
