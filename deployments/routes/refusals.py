"""What the API's description says of answers that are none: their status, why, and that a sentence comes with them."""

from __future__ import annotations

from typing import Any, Final

Responses = dict[int | str, dict[str, Any]]

_SENTENCE: Final = {
    "type": "object",
    "title": "Refusal",
    "required": ["detail"],
    "properties": {"detail": {"type": "string", "description": "what was wrong, and what to do"}},
}
_EVENT: Final = {
    "type": "object",
    "title": "Server-sent event",
    "required": ["event", "data"],
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}


def refusal(description: str) -> dict[str, Any]:
    """A refusal for that reason."""
    return {"description": description, "content": {"application/json": {"schema": _SENTENCE}}}


EVERYWHERE: Final[Responses] = {
    403: refusal("a page from a foreign origin"),
    422: refusal("not understood, or not allowed"),
    503: refusal("a part of the service is away, or full; see Retry-After"),
}
BODY: Final[Responses] = {
    400: refusal("a body that is no JSON at all"),
    408: refusal("a body that takes too long to come"),
    413: refusal("a body that is too long"),
}


def access(thing: str) -> Responses:
    """Those of a thing that takes a key."""
    return {
        401: refusal("no key"),
        403: refusal("a key that does not open this, or only to look"),
        404: refusal(f"no such {thing}: never there, expired, or erased"),
        429: refusal("too many requests under this key or at once, or wrong keys, from this address; see Retry-After"),
    }


def events(description: str) -> Responses:
    """An answer that is a stream of server-sent events."""
    return {200: {"description": description, "content": {"text/event-stream": {"schema": _EVENT}}}}
