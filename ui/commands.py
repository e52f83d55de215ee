"""What the browser of a page asks for, done one at a time and so many a minute at most: all pages have one process."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError, validate_call
from redis.exceptions import RedisError

from pipeline.logs import why
from pipeline.quotas import WRONG_KEYS, from_address
from pipeline.session import Role, UnknownSession
from ui.feed import Changes, Feed
from ui.summary import beside, read_aloud

if TYPE_CHECKING:
    from ui.page import Page

MINUTE: Final = 60.0  # s
PER_MINUTE: Final = 2_400  # an arrow key that is held down for a minute asks 1,800 times
WAITING: Final = 64  # more than a browser of ours would leave unanswered
LONGEST: Final = 4_096  # characters of a command; the longest have a session's id and a key in them

log = logging.getLogger(__name__)


class Commands:
    """A page's; `address` is where its browser is."""

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        self._guesser = from_address(address)
        self._lately: deque[float] = deque()  # when those of the last minute came, in monotonic seconds
        self._waiting = 0
        self._one_at_a_time = asyncio.Lock()
        self._known: dict[str, Callable[..., Awaitable[None]]] = {
            "open": self._open,
            "leave": self._leave,
            "erase": self._erase,
            "select": self._select,
            "step": self._step,
            "view": self._view,
            "dress": self._dress,
            "download": self._download,
        }

    async def obey(self, text: str) -> None:
        """Do what a command asks for, once those before it are done, and answer it."""
        try:
            command = json.loads(text[:LONGEST])
            number, name = command.pop("n"), command.pop("ask")
            work = validate_call(self._known[name])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            log.warning("the browser sent what is no command")  # not what it was: a key may be in it
            return
        if self._too_many():
            self._trouble(number, "The page has asked for too much within a minute. Please try again in a minute.")
            return
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                await work(number, **command)
        except (ValidationError, TypeError):
            log.warning("command %s came with wrong arguments", name)
            self._trouble(number, "The page was misunderstood. Please reload it.")
        except RedisError as error:
            log.warning("command %s: %s", name, why(error))
            then = "The page tries again by itself." if name == "open" else "Please try again."
            self._trouble(number, f"The store does not answer at the moment. {then}")
        finally:
            self._waiting -= 1

    def _too_many(self) -> bool:
        """Whether this is one too many; if not, it counts."""
        now = time.monotonic()
        while self._lately and now - self._lately[0] > MINUTE:
            self._lately.popleft()
        if len(self._lately) >= PER_MINUTE or self._waiting >= WAITING:
            return True
        self._lately.append(now)
        return False

    def _trouble(self, number: int, message: str) -> None:
        self._page.answer(number, "trouble", message=message)

    async def _open(self, number: int, session: str, key: str) -> None:
        """Show a session to whoever holds one of its keys."""
        page, hub = self._page, self._page.hub
        most = hub.settings.wrong_keys_per_minute
        if await hub.quotas.left(WRONG_KEYS, self._guesser, most):
            self._trouble(number, "Too many wrong keys have come from this address. The page tries again by itself.")
            return
        if page.feed is None or page.feed.session != session:
            page.window.reset()
        page.close()
        try:
            role = await hub.store.role(session, key)
        except UnknownSession:
            page.refusal = "unknown"
        else:
            page.refusal = "" if role else "denied"
            if role:
                page.show(session, role, key)
            else:
                await hub.quotas.take(WRONG_KEYS, self._guesser, most)
        page.changed(Changes(rewritten=True))
        page.answer(number, "opened")

    async def _leave(self, number: int) -> None:
        """Show no session any more."""
        page = self._page
        page.close()
        page.window.reset()
        page.refusal = ""
        page.changed(Changes(rewritten=True))
        page.answer(number, "left")

    async def _erase(self, number: int) -> None:
        """Delete everything of the session; only its recorder may."""
        feed, role = self._page.feed, self._page.role
        if feed is None or role is not Role.RECORDER:
            self._trouble(number, "Only its recorder can erase a session.")
        elif await self._may_still(number, feed, role):
            await self._page.hub.store.erase(feed.session)
            feed.forget()
            self._page.answer(number, "erased")

    async def _may_still(self, number: int, feed: Feed, role: Role) -> bool:
        """Whether the key that the page was opened with stands; of a session that is gone, there is none to ask for."""
        keys = await self._page.hub.store.keys(feed.session)
        if not keys or keys.get(role) == self._page.shown_by:
            return True
        feed.keys = keys
        self._page.changed(Changes())
        self._trouble(number, "The key that this page was opened with has been replaced. Please ask for a new link.")
        return False

    async def _select(self, number: int, speaker: int) -> None:
        self._page.choose(speaker)

    async def _step(self, number: int, by: int, at: float | None = None) -> None:
        """Go to the next or previous turn, and say what it holds; `at`: from there on, where something plays."""
        page = self._page
        turn = beside(page.feed.timeline, page.turn, by, at) if page.feed else None
        if page.feed is None or turn is None:
            page.answer(number, "announce", text="")
            return
        page.go_to(turn)
        page.answer(number, "announce", text=read_aloud(turn, page.feed.timeline), start=turn.start)

    async def _view(self, number: int, mode: str) -> None:
        """Follow the conversation, or show all of it."""
        self._page.window.mode = "all" if mode == "all" else "follow"
        self._page.changed(Changes())

    async def _dress(self, number: int, dark: bool, width: float) -> None:
        """Take the browser's theme and width."""
        self._page.window.fit(width)
        self._page.dark = dark
        self._page.changed(Changes())

    async def _download(self, number: int) -> None:
        """Hand over everything that is known, as JSON."""
        feed, role = self._page.feed, self._page.role
        if feed is None or feed.record is None or role is None:
            self._trouble(number, "There is nothing to download yet.")
            return
        if not await self._may_still(number, feed, role):
            return
        await self._page.hub.store.looks.note(feed.session, role, "export")
        record = feed.record
        body = {
            "session": record.model_dump(include={"id", "name", "purpose", "remark", "consent", "created_at"}),
            "note": "Readings say how someone sounds, not how they feel.",
            **feed.timeline.document(),
        }
        text = json.dumps(body, indent=1)
        self._page.answer(number, "download", filename=f"tonetrack-{feed.session}.json", text=text)
