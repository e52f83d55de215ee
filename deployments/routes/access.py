"""Who may do what: a route asks for the context, and for the role that the request's key gives."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, HTTPException, Security
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deployments.context import Context
from pipeline.keys import WrongKey
from pipeline.logs import about
from pipeline.session import Role


def get_context(connection: HTTPConnection) -> Context:
    """The application's context."""
    return cast(Context, connection.app.state.context)


def address_of(connection: HTTPConnection) -> str:
    """Where a request comes from. A proxy before this one is believed where FORWARDED_ALLOW_IPS names it."""
    return connection.client.host if connection.client else ""


TheContext = Annotated[Context, Depends(get_context)]
TheAddress = Annotated[str, Depends(address_of)]
_bearer = HTTPBearer(auto_error=False, description="the session's recorder key or viewer key")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


async def get_role(session: str, context: TheContext, bearer: Bearer, connection: HTTPConnection) -> Role:
    """What the request's key allows in this session. 401 without a key, 403 for a wrong one, 429 for too many."""
    about(session=session)
    if bearer is None:
        message = "Send the session's recorder or viewer key: 'Authorization: Bearer KEY'."
        raise HTTPException(401, message, {"WWW-Authenticate": "Bearer"})
    async with context.gate.guarded(address_of(connection)):
        if (role := await context.store.role(session, bearer.credentials)) is None:
            raise WrongKey("This key does not open this session.")
    await context.gate.answer(bearer.credentials, address_of(connection))
    return role


async def require_recorder(role: Annotated[Role, Depends(get_role)]) -> None:
    """Raises 403 for a viewer."""
    if role is not Role.RECORDER:
        raise HTTPException(403, "A viewer key may only look; this takes the recorder key.")


async def get_role_in_recording(
    recording: str, context: TheContext, bearer: Bearer, connection: HTTPConnection
) -> Role:
    """What the request's key allows with this recording. Answers as `get_role` does."""
    about(recording=recording)
    if bearer is None:
        raise HTTPException(
            401, "Send the recording's key: 'Authorization: Bearer KEY'.", {"WWW-Authenticate": "Bearer"}
        )
    async with context.gate.guarded(address_of(connection)):
        if (role := await context.inbox.jobs.role(recording, bearer.credentials)) is None:
            raise WrongKey("This key does not open this recording.")
    await context.gate.answer(bearer.credentials, address_of(connection))
    return role


async def require_owner(role: Annotated[Role, Depends(get_role_in_recording)]) -> None:
    """Raises 403 for a viewer."""
    if role is not Role.RECORDER:
        raise HTTPException(403, "A viewer key may only look; this takes the key that uploaded the recording.")


async def get_owner_key(context: TheContext, bearer: Bearer, connection: HTTPConnection) -> str | None:
    """The key under which recordings are uploaded, or None without one. 403 for a key that nothing is under."""
    if bearer is None:
        return None
    async with context.gate.guarded(address_of(connection)):
        if not await context.inbox.jobs.known_owner(bearer.credentials):
            raise WrongKey("No recordings are under this key; upload without one, and a new key is made.")
    await context.gate.answer(bearer.credentials, address_of(connection))
    return bearer.credentials


def key_of(bearer: Bearer) -> str:
    """The key that a request bears, for what lasts so long that it may be replaced meanwhile."""
    return bearer.credentials if bearer else ""


TheKey = Annotated[str, Depends(key_of)]
MayLook = Depends(get_role_in_recording)
IsOwner = Depends(require_owner)
OwnerKey = Annotated[str | None, Depends(get_owner_key)]
AsViewer = Depends(get_role)
AsRecorder = Depends(require_recorder)
