"""Errors of the domain as answers that say what was wrong and what to do."""

from __future__ import annotations

import logging
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError

from deployments.context import FULL
from deployments.gate import Limited, NoApiKey, NoMemory
from pipeline.api_keys import UnknownApiKey
from pipeline.blobs import BlobTrouble, DiskFull
from pipeline.corrections import UnknownSpeaker
from pipeline.headers import API, NO_STORE
from pipeline.job import UnknownRecording
from pipeline.keys import WrongKey
from pipeline.logs import why
from pipeline.plain import one_line
from pipeline.session import OutOfStep, UnknownSession
from pipeline.voices import UnknownVoice, WrongVoiceKey

logger = logging.getLogger("ray.serve")

MOST_MISTAKES: Final = 10  # of a request that are told
LONGEST_PLACE: Final = 100  # characters of where a mistake is

UNKNOWN = "There is no such session: it was never created, has expired, or was erased."
UNKNOWN_RECORDING = "There is no such recording: it was never uploaded, has expired, or was erased."
UNKNOWN_VOICE = "There is no such voice: it was never enrolled, has expired, or was erased."
NO_API_KEY = "Send an API key for this: 'X-API-Key: KEY'. Whoever runs this server makes one: tonetrack keys create."


async def _unknown_session(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": UNKNOWN}, 404)


async def _unknown_recording(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": UNKNOWN_RECORDING}, 404)


async def _blobs_away(_: Request, error: Exception) -> JSONResponse:
    logger.error("%s", error)
    return JSONResponse(
        {"detail": "The place where sound is kept does not answer. Nothing is lost; try again shortly."},
        503,
        {"Retry-After": "10"},
    )


async def _disk_full(_: Request, error: Exception) -> JSONResponse:
    logger.error("%s", error)
    text = (
        "There is no room for more sound here, and nothing of this was kept. Whoever runs this server has to make some."
    )
    return JSONResponse(
        {"detail": text}, 507, {"Retry-After": "60", "Connection": "close"}
    )  # the rest would be for nothing


async def _unknown_speaker(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 404)


async def _unknown_voice(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": UNKNOWN_VOICE}, 404)


async def _wrong_voice_key(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": f"The key does not open the voice {error}."}, 422)


async def _wrong_key(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 403)


async def _no_api_key(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": NO_API_KEY, "code": "api_key"}, 401, {"WWW-Authenticate": "ApiKey"})


async def _unknown_api_key(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error), "code": "api_key"}, 403)


async def _limited(_: Request, error: Exception) -> JSONResponse:
    seconds = error.seconds if isinstance(error, Limited) else 60
    return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(seconds)})


async def _no_memory(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": FULL}, 503, {"Retry-After": "30"})


async def _out_of_step(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse(
        {"detail": "The session cannot be brought up to date at the moment; try again shortly."},
        503,
        {"Retry-After": "2"},
    )


async def _not_understood(_: Request, error: Exception) -> JSONResponse:
    """Says where and what, without repeating the input, of which a field's name may still be any text at all."""
    mistakes = error.errors()[:MOST_MISTAKES] if isinstance(error, RequestValidationError) else []
    sentences = (f"{one_line('.'.join(map(str, one['loc'][1:])))[:LONGEST_PLACE]}: {one['msg']}" for one in mistakes)
    return JSONResponse({"detail": "; ".join(sentences).strip(": ")}, 422)


async def _store_away(_: Request, error: Exception) -> JSONResponse:
    logger.warning("Redis: %s", why(error))
    return JSONResponse(
        {"detail": "The store (Redis) does not answer. Nothing is lost; try again shortly."},
        503,
        {"Retry-After": "2"},
    )


async def _trouble(_: Request, error: Exception) -> JSONResponse:
    """Whatever nobody thought of; the log has all of it. It is answered outside of all middleware."""
    told = {"detail": "Something went wrong here, and the log says what. Try again."}
    return JSONResponse(told, 500, API | {"Cache-Control": NO_STORE})


def explain_errors(api: FastAPI) -> None:
    """Teach an application to answer with them."""
    api.add_exception_handler(UnknownSession, _unknown_session)
    api.add_exception_handler(UnknownRecording, _unknown_recording)
    api.add_exception_handler(BlobTrouble, _blobs_away)
    api.add_exception_handler(DiskFull, _disk_full)
    api.add_exception_handler(UnknownSpeaker, _unknown_speaker)
    api.add_exception_handler(UnknownVoice, _unknown_voice)
    api.add_exception_handler(WrongVoiceKey, _wrong_voice_key)
    api.add_exception_handler(WrongKey, _wrong_key)
    api.add_exception_handler(NoApiKey, _no_api_key)
    api.add_exception_handler(UnknownApiKey, _unknown_api_key)
    api.add_exception_handler(Limited, _limited)
    api.add_exception_handler(NoMemory, _no_memory)
    api.add_exception_handler(OutOfStep, _out_of_step)
    api.add_exception_handler(RequestValidationError, _not_understood)
    api.add_exception_handler(RedisError, _store_away)
    api.add_exception_handler(Exception, _trouble)
