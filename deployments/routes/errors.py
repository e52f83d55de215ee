"""Errors of the domain as answers that say what was wrong and what to do."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError

from pipeline.session import UnknownSession

UNKNOWN = "There is no such session: it was never created, has expired, or was erased."


async def _unknown_session(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": UNKNOWN}, 404)


async def _not_understood(_: Request, error: Exception) -> JSONResponse:
    """Says where and what, without repeating the input, which may hold what cannot even be written back."""
    mistakes = error.errors() if isinstance(error, RequestValidationError) else []
    sentences = (f"{'.'.join(str(part) for part in mistake['loc'][1:])}: {mistake['msg']}" for mistake in mistakes)
    return JSONResponse({"detail": "; ".join(sentences).strip(": ")}, 422)


async def _store_away(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse(
        {"detail": "The store (Redis) does not answer. Nothing is lost; try again shortly."},
        503,
        {"Retry-After": "2"},
    )


def explain_errors(api: FastAPI) -> None:
    """Teach an application to answer with them."""
    api.add_exception_handler(UnknownSession, _unknown_session)
    api.add_exception_handler(RequestValidationError, _not_understood)
    api.add_exception_handler(RedisError, _store_away)
