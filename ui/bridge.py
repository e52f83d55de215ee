"""What the document and the browser's scripts tell each other, as JSON in the properties of one model.

A data model travels in Bokeh's own WebSocket, so the page needs no other way to the server, and keys never stand
in a URL that is sent or logged.
"""

from __future__ import annotations

import json
from typing import Any

from bokeh.core.properties import String
from bokeh.model import DataModel


def _text(help: str, default: str = "") -> Any:
    """A string property; typed loosely because Bokeh turns the declared property into the string itself."""
    return String(default=default, help=help)


class Bridge(DataModel):
    """`command` comes from the browser; everything else goes to it."""

    command: str = _text("{n, ask, ...}: what the browser asks for; n makes every one differ")
    reply: str = _text("{n, name, ...}: an answer that is needed once")
    session: str = _text("state, role, purpose, times: see `Page.session_state`", "{}")
    people: str = _text("one card a speaker: see `ui.summary.cards`", "[]")
    said: str = _text("what was said, the newest lines: see `ui.transcript.Line`", "[]")
    summary: str = _text("who sounds how, in a sentence")

    def answer(self, n: int, name: str, **fields: Any) -> None:
        """Send an answer to command number n."""
        self.reply = json.dumps({"n": n, "name": name, **fields})
