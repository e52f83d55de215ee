"""Who asks: a route that costs something names what it is, and gets whoever may have it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Security
from fastapi.requests import HTTPConnection
from fastapi.security import APIKeyHeader

from deployments.gate import Caller, What
from deployments.routes.access import TheContext, address_of
from deployments.routes.refusals import Responses, refusal

API_KEY: Final = "X-API-Key"
REFUSALS: Final[Responses] = {
    401: refusal("no API key, where the server requires one"),
    403: refusal("an API key that was never made, has expired or was revoked"),
    429: refusal("too many in a minute, or at once; see Retry-After"),
}
_header = APIKeyHeader(
    name=API_KEY, auto_error=False, scheme_name="ApiKey", description="an API key, where the server requires one"
)
_Secret = Annotated[str | None, Security(_header)]


def may(what: What) -> Any:
    """A dependency: the caller, whom one more of these is counted for. Answers 401, 403 and 429."""

    async def admitted(connection: HTTPConnection, context: TheContext, secret: _Secret) -> Caller:
        caller = await context.gate.caller(secret, address_of(connection))
        await context.gate.admit(what, caller)
        return caller

    return Depends(admitted)


OpensSession = Annotated[Caller, may("sessions")]
UploadsRecording = Annotated[Caller, may("uploads")]
MayEnrol = may("voices")
