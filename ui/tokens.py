"""Which document a request is for: never one that whoever asks, or made somebody ask, has chosen.

Bokeh takes a document's id from an address, a header or a token. By a link with an id in it one would share the
document of whoever follows it, and all that it shows. So no request but a WebSocket may name one, and that one by the
token that the page was made with. Tokens are not signed, for servers of the page share no secret, and a line may come
to another one than has made the page: a token that was made up opens a document of its own, to which nobody
else can be led.
"""

from __future__ import annotations

from typing import Any, Final

from bokeh.util.token import get_session_id, get_token_payload
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher

SOCKET: Final = "/ws"
CHOSEN: Final = "This address names a document, which nobody may choose. Please open the page by its own address."
LONGEST: Final = 4_096  # characters of a token, which may unpack to a thousand times as much


class Chosen(Matcher):
    """Matches what says in any way that Bokeh understands which document it wants."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Whether it does."""
        named = {"bokeh-session-id", "bokeh-token"} & request.arguments.keys()
        return {} if named or "Bokeh-Session-Id" in request.headers else None


class Nameless(Matcher):
    """Matches a WebSocket that names no document in a way that Bokeh understands, which would fail in it."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Whether it does."""
        return {} if request.path == SOCKET and named_by(request) is None else None


def named_by(request: HTTPServerRequest) -> str | None:
    """The id of the document that a WebSocket is for, by the token that it brings as its second subprotocol.

    None for a token that this page's servers cannot have made: they put nothing into it but the id and its expiry.
    """
    protocol, _, token = request.headers.get("Sec-WebSocket-Protocol", "").partition(",")
    token = token.strip()
    if protocol.strip() != "bokeh" or "," in token or len(token) > LONGEST:
        return None
    try:
        named, payload = get_session_id(token), get_token_payload(token)
        expiry = payload.pop("session_expiry")
        made_here = isinstance(named, str) and isinstance(expiry, int) and not any(payload.values())
    except Exception:  # which it says of bad Base64, bad JSON, and JSON of another shape
        return None
    return str(named) if made_here and named else None
