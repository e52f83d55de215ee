"""A browser's WebSocket to its document: what may come over it, and how much.

All documents live in one process. Bokeh lets a browser write whatever it likes into its document, as large as it likes;
from this page come the few things below and nothing else, and whoever sends something else is hung up on.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar, Final, Literal

from bokeh.core.types import ID
from bokeh.document import Document
from bokeh.models import Plot, Range1d
from bokeh.protocol.message import Message
from bokeh.server.views.ws import WSHandler
from pydantic import BaseModel, ConfigDict

from ui.bridge import Bridge
from ui.tokens import named_by
from ui.views.window import TIME

MOST_BYTES: Final = 65_536  # of each of the three parts of a message; none has a fourth, which would be binary
MOST_LINES: Final = 4  # to one document: a page has one, and may have lost others without it being known yet
REFUSED, CROWDED = 1008, 1013  # close codes
SIZES: Final = {"inner_width", "inner_height", "outer_width", "outer_height"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Ref(_Strict):
    id: str


class _Keys(_Strict):
    """Whether shift and its like were held."""

    type: Literal["map"]
    entries: list[list[str | bool]]


class _Values(_Strict):
    type: Literal["map"]
    entries: list[list[str | float | _Ref | _Keys]] = []


class _Event(_Strict):
    type: Literal["event"]
    name: Literal["document_ready", "tap", "panstart", "wheel"]
    values: _Values


class _Happened(_Strict):
    """Somebody did something to a plot."""

    kind: Literal["MessageSent"]
    msg_type: Literal["bokeh_event"]
    msg_data: _Event


class _Written(_Strict):
    """A property of a model has another value."""

    kind: Literal["ModelChanged"]
    model: _Ref
    attr: str
    new: str | float


class _Patch(_Strict):
    events: list[_Happened | _Written]


def is_the_pages(patch: object, document: Document) -> bool:
    """Whether a patch is one that this page has its browsers send. Raises `ValueError` for much of what is not."""
    events = _Patch.model_validate(patch).events
    return all(isinstance(event, _Happened) or _may_be_written(event, document) for event in events)


def _may_be_written(event: _Written, document: Document) -> bool:
    identity = ID(event.model.id)
    is_text = isinstance(event.new, str)
    match document.models.get_by_id(identity):
        case None:
            return document.models.seen(identity)  # of what has just gone Bokeh drops it
        case Bridge():
            return event.attr == "command" and is_text
        case Plot():
            return event.attr in SIZES and not is_text
        case Range1d(name=name):
            return name == TIME and event.attr in ("start", "end") and not is_text
    return False


class Line(WSHandler):
    """Bokeh's own, which hangs up on whoever sends what the page does not, or opens too many."""

    lines: ClassVar[Counter[str]] = Counter()  # how many each document has
    receiver: Any  # which Bokeh has there from its acknowledgement on
    connection: Any
    _document = ""  # the id of the one that this line counts for
    _pulled = False

    def open(self) -> None:
        """Bokeh's, unless the document has its lines already."""
        named = named_by(self.request) or ""
        if self.lines[named] >= MOST_LINES:
            self.close(CROWDED, "This page has as many lines as it may have.")
            return
        self._document = named
        self.lines[named] += 1
        super().open()

    def on_close(self) -> None:
        """The place is another one's."""
        if self._document:
            self.lines[self._document] -= 1
            if not self.lines[self._document]:
                del self.lines[self._document]
        super().on_close()

    async def _receive(self, fragment: str | bytes) -> Message[Any] | None:
        try:
            message: Message[Any] | None = await self.receiver.consume(fragment)
            if isinstance(fragment, str) and (message is None or self._takes(message)):
                return message
        except Exception:  # of Bokeh's parsing, which takes much for granted, and of the shapes above
            pass
        self.close(REFUSED, "This is not what the page sends.")
        return None

    def _takes(self, message: Message[Any]) -> bool:
        """Whether it is what the page sends: patches and, once a line, the wish for the whole document."""
        if message.msgtype == "PULL-DOC-REQ":
            again, self._pulled = self._pulled, True
            return not again
        return message.msgtype == "PATCH-DOC" and is_the_pages(message.content, self.connection.session.document)
