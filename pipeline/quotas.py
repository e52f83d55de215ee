"""How often, and how many at once: what one caller may ask of all replicas together, in Redis.

    tonetrack:quota:WHAT:CALLER    string  when all that the caller may do in a minute will be there again
    tonetrack:places:CALLER        zset    what the caller records at this moment, by when that place is free again
    tonetrack:recordings:CALLER    zset    what the caller uploads that has not been heard, by when that is given up
    tonetrack:streams:CALLER       zset    what the caller follows at this moment, by when that place is free again
    tonetrack:{id}:streams         zset    the event streams that are open on a session, in the same way
    tonetrack:{id}:place           string  which line holds a session's place, and whose that is: it is freed when the
                                           line leaves, and when the session is erased
    tonetrack:{id}:uploader        string  the same of a recording, which goes once that was heard, too

All expire by themselves, the first within a minute.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, Final

from redis.asyncio import Redis

from pipeline.published import SCRIPTS, session_key

WRONG_KEYS: Final = "wrong-keys"  # what an address has of them, at the API and at the page together
MINUTE_MS: Final = 60_000
ONE_HOME: Final = 64  # bits of an IPv6 address that one network of one subscriber has in common (RFC 6177)


class Quotas:
    """Quotas in Redis. A caller is whatever text tells one from another."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._take, self._hold, self._line, self._leave, self._free = (
            redis.register_script((SCRIPTS / f"{name}.lua").read_text())
            for name in ("quota_take", "place_hold", "place_line", "place_leave", "place_free")
        )

    async def take(self, what: str, caller: str, per_minute: int) -> float:
        """Take one of so many a minute; returns 0, or the seconds after which there is one again."""
        return await self._ask(what, caller, per_minute, 1)

    async def left(self, what: str, caller: str, per_minute: int) -> float:
        """The same without taking it."""
        return await self._ask(what, caller, per_minute, 0)

    async def hold(
        self, caller: str, session: str, line: str, most: int, seconds: float, takes_over: bool = False
    ) -> bool:
        """Hold one of a caller's places for a session for so many seconds, or go on doing so; False without one.

        `line`: the connection that holds it, unless another one does; `takes_over`: also then.
        """
        args: list[str | int] = [_held_by(line, caller), round(seconds * 1000), int(takes_over)]
        await self._line(keys=[session_key(session, "place")], args=args)
        held = await self._has(_places(caller), session, most, seconds)
        if not held:
            await self._leave(keys=[session_key(session, "place")], args=[_held_by(line, caller)])
        return held

    async def let_go(self, caller: str, session: str, line: str) -> None:
        """Free the place of a session, unless another line holds it, or takes it over in this moment."""
        held_until = await self._redis.zscore(_places(caller), session)
        left = await self._leave(keys=[session_key(session, "place")], args=[_held_by(line, caller)])
        if left and held_until is not None:
            await self._free(keys=[_places(caller)], args=[session, held_until])

    async def forget(self, session: str) -> None:
        """Free the place of a session that was erased, whoever has it."""
        if holder := await self._redis.get(session_key(session, "place")):
            _, _, caller = holder.decode().partition(" ")
            await self._redis.zrem(_places(caller), session)
            await self._redis.delete(session_key(session, "place"))

    async def hold_stream(self, places: str, stream: str, most: int, seconds: float) -> bool:
        """Hold one of the places `to_caller` or `on_session` for a stream, or go on doing so; False without one."""
        return await self._has(places, stream, most, seconds)

    async def let_go_of_stream(self, places: str, stream: str) -> None:
        """Free the place of an event stream."""
        await self._redis.zrem(places, stream)

    async def hold_recording(self, caller: str, recording: str, most: int, seconds: float) -> bool:
        """Hold one of a caller's places for a recording, for so many seconds at the longest; False without one."""
        held = await self._has(_recordings(caller), recording, most, seconds)
        if held:
            await self._redis.set(session_key(recording, "uploader"), caller, px=round(seconds * 1000))
        return held

    async def let_go_of_recording(self, recording: str) -> None:
        """Free the place of a recording, whoever has it: it waits no more, whatever became of it."""
        if caller := await self._redis.get(session_key(recording, "uploader")):
            await self._redis.zrem(_recordings(caller.decode()), recording)
            await self._redis.delete(session_key(recording, "uploader"))

    async def _has(self, places: str, holder: str, most: int, seconds: float) -> bool:
        return bool(await self._hold(keys=[places], args=[holder, most, round(seconds * 1000)]))

    async def _ask(self, what: str, caller: str, per_minute: int, taken: int) -> float:
        args = [MINUTE_MS / per_minute, per_minute, taken]
        return float(await self._take(keys=[f"tonetrack:quota:{what}:{caller}"], args=args)) / 1000


def from_address(host: str) -> str:
    """The caller that an address stands for. One IPv6 subscriber has more addresses than anybody could count."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"address:{host[:64]}"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return f"address:{address.ipv4_mapped}"
        return f"address:{IPv6Network((address, ONE_HOME), strict=False)}"
    return f"address:{address}"


def to_caller(caller: str) -> str:
    """Where those have their places who follow something from where a caller is."""
    return f"tonetrack:streams:{caller}"


def on_session(session: str) -> str:
    """Where those have their places who follow a session."""
    return session_key(session, "streams")


def _held_by(line: str, caller: str) -> str:
    return f"{line} {caller}"


def _places(caller: str) -> str:
    return f"tonetrack:places:{caller}"


def _recordings(caller: str) -> str:
    return f"tonetrack:recordings:{caller}"
