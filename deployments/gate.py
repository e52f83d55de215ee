"""Who is let in: by API key or by address, how often, and how many at once. All ingress replicas count together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from redis.asyncio import Redis

from deployments.metrics import REFUSED_REQUESTS
from deployments.settings import Settings
from deployments.shared import Shared
from pipeline.api_keys import ApiKeys
from pipeline.keys import WrongKey, digest
from pipeline.quotas import WRONG_KEYS, Quotas, from_address, on_session, to_caller
from pipeline.store import memory_ratio

What = Literal["sessions", "uploads", "voices"]
REQUESTS: Final = "requests"
FOLLOWED_SECONDS: Final = 30.0  # for which a stream's place is held; it gives a sign of life every 25 s at the latest

SIGNS: Final = 6  # heartbeats for which a recorder's place is held without a sign of life; its line is dead after three
ROOM_SECONDS: Final = 30.0  # after which to ask again; how long a recording takes to be heard is not known
NEARLY_FULL: Final = 0.85  # of what Redis may hold: those who are there need the rest to go on
MEMORY_SECONDS: Final = 1.0  # for which everyone who comes is told the same of it
REVOKED: Final = "The API key that opened this session has expired or was revoked; open a new session with another."


class NoApiKey(PermissionError):
    """The server wants an API key, and there is none."""


class NoMemory(RuntimeError):
    """Redis is nearly full, and nobody new is let in."""


class Limited(RuntimeError):
    """A caller asks too often; the message says what, `seconds` after how long it may be asked again."""

    def __init__(self, message: str, seconds: float) -> None:
        self.seconds = ceil(seconds)
        super().__init__(f"{message} Try again in {self.seconds} s.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `api_key` is the id of their key, empty where they have none and are known by their address alone."""

    api_key: str
    address: str

    @property
    def name(self) -> str:
        """What quotas are counted for."""
        return f"key:{self.api_key}" if self.api_key else from_address(self.address)

    def __str__(self) -> str:
        return "this API key" if self.api_key else "this address"


class Gate:
    """The keys and the quotas, by the settings of this service."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._settings = settings
        self._keys = ApiKeys(redis)
        self._quotas = Quotas(redis)
        self._memory = Shared(lambda: memory_ratio(redis), MEMORY_SECONDS)

    async def nearly_full(self) -> bool:
        """Whether Redis has no room for anybody new; those who are there go on."""
        return (await self._memory() or 0.0) >= NEARLY_FULL

    async def caller(self, secret: str | None, address: str) -> Caller:
        """Who asks. Raises `NoApiKey` where one is required, `WrongKey` and `Limited`."""
        if secret:
            async with self.guarded(address):
                return Caller(await self._keys.use(secret), address)
        if self._settings.require_api_keys:
            REFUSED_REQUESTS.inc(1, {"reason": "no_key"})
            raise NoApiKey
        return Caller("", address)

    async def admit(self, what: What, caller: Caller) -> None:
        """Count one more of what costs something. Raises `Limited`, and `NoMemory`."""
        if await self.nearly_full():
            REFUSED_REQUESTS.inc(1, {"reason": "memory"})
            raise NoMemory
        most: int = getattr(self._settings, f"{what}_per_minute")
        if wait := await self._quotas.take(what, caller.name, most):
            REFUSED_REQUESTS.inc(1, {"reason": what})
            raise Limited(f"Too many {what} have come from {caller}: {most} a minute are taken.", wait)

    async def answer(self, key: str, address: str) -> None:
        """Count one more request from an address under a key of a session or a recording. Raises `Limited`."""
        most = self._settings.requests_per_minute
        if wait := await self._quotas.take(REQUESTS, f"{digest(key)}:{from_address(address)}", most):
            REFUSED_REQUESTS.inc(1, {"reason": REQUESTS})
            raise Limited(
                f"Too many requests have come from this address under one key: {most} a minute are answered.", wait
            )

    @asynccontextmanager
    async def guarded(self, address: str) -> AsyncIterator[None]:
        """Count each `WrongKey` of the block; who has tried too many raises `Limited` before the next is looked at."""
        most, guesser = self._settings.wrong_keys_per_minute, from_address(address)
        if wait := await self._quotas.left(WRONG_KEYS, guesser, most):
            REFUSED_REQUESTS.inc(1, {"reason": "guesses"})
            raise Limited(f"Too many wrong keys have come from this address: {most} a minute are looked at.", wait)
        try:
            yield
        except WrongKey:
            REFUSED_REQUESTS.inc(1, {"reason": "wrong_key"})
            await self._quotas.take(WRONG_KEYS, guesser, most)
            raise

    async def hold(self, caller: Caller, session: str, line: str, takes_over: bool = False) -> bool:
        """Hold a live recorder's place for a while, or go on doing so; False where the caller has no more.

        `line`: its connection, which `takes_over` from any that recorded the session before. Raises `WrongKey` once the
        key that opened the session is gone.
        """
        if caller.api_key and not await self._keys.stands(caller.api_key):
            raise WrongKey(REVOKED)
        most, seconds = self._settings.recorders_per_caller, SIGNS * self._settings.heartbeat
        held = await self._quotas.hold(caller.name, session, line, most, seconds, takes_over)
        if not held:
            REFUSED_REQUESTS.inc(1, {"reason": "recorders"})
        return held

    async def hold_recording(self, caller: Caller, recording: str, seconds: float) -> None:
        """Let one more recording of a caller come and wait, for so many seconds at the longest. Raises `Limited`.

        `pipeline.jobs` lets go of it. What was given up and is sent again waits uncounted.
        """
        most = self._settings.recordings_per_caller
        if not await self._quotas.hold_recording(caller.name, recording, most, seconds):
            REFUSED_REQUESTS.inc(1, {"reason": "recordings"})
            raise Limited(
                f"As many recordings of {caller} as may wait at once do: {most}. Each that is heard makes room.",
                ROOM_SECONDS,
            )

    async def let_go(self, caller: Caller, session: str, line: str) -> None:
        """Free a live recorder's place, unless another line records the session by now."""
        await self._quotas.let_go(caller.name, session, line)

    async def hold_stream(self, stream: str, address: str, session: str | None = None) -> None:
        """Hold a place for an event stream among those to an address and, if so, on a session, or go on doing so.

        Raises `Limited`, and holds neither, where there is none.
        """
        for places, most, whose in self._streams(address, session):
            if not await self._quotas.hold_stream(places, stream, most, FOLLOWED_SECONDS):
                await self.let_go_of_stream(stream, address, session)
                REFUSED_REQUESTS.inc(1, {"reason": "streams"})
                raise Limited(f"{whose} has as many event streams open as it may: {most}; close one.", FOLLOWED_SECONDS)

    async def let_go_of_stream(self, stream: str, address: str, session: str | None = None) -> None:
        """Free the places of an event stream."""
        for places, _, _ in self._streams(address, session):
            await self._quotas.let_go_of_stream(places, stream)

    def _streams(self, address: str, session: str | None) -> list[tuple[str, int, str]]:
        """The places that a stream takes one of each of, how many there are, and whose they are."""
        settings = self._settings
        here = [(to_caller(from_address(address)), settings.streams_per_caller, "This address")]
        if session is None:
            return here
        return [(on_session(session), settings.streams_per_session, "This session"), *here]
