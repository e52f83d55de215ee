"""How often, and how many at once: what one caller may ask of all replicas together, in Redis.

    tonetrack:quota:WHAT:CALLER    string  when all that the caller may do in a minute will be there again
    tonetrack:places:CALLER        zset    what the caller records at this moment, by when that place is free again
    tonetrack:{id}:place           string  whose place a session holds, so that it goes when the session is erased

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
        self._take, self._hold = (
            redis.register_script((SCRIPTS / f"{name}.lua").read_text()) for name in ("quota_take", "place_hold")
        )

    async def take(self, what: str, caller: str, per_minute: int) -> float:
        """Take one of so many a minute; returns 0, or the seconds after which there is one again."""
        return await self._ask(what, caller, per_minute, 1)

    async def left(self, what: str, caller: str, per_minute: int) -> float:
        """The same without taking it."""
        return await self._ask(what, caller, per_minute, 0)

    async def hold(self, caller: str, session: str, most: int, seconds: float) -> bool:
        """Hold one of a caller's places for a session for so many seconds, or go on doing so; False without one."""
        held_ms = round(seconds * 1000)
        held = bool(await self._hold(keys=[_places(caller)], args=[session, most, held_ms]))
        if held:
            await self._redis.set(session_key(session, "place"), caller, px=held_ms)
        return held

    async def let_go(self, caller: str, session: str) -> None:
        """Free the place of a session."""
        await self._redis.zrem(_places(caller), session)
        await self._redis.delete(session_key(session, "place"))

    async def forget(self, session: str) -> None:
        """Free the place of a session that was erased, whoever has it."""
        if caller := await self._redis.get(session_key(session, "place")):
            await self.let_go(caller.decode(), session)

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


def _places(caller: str) -> str:
    return f"tonetrack:places:{caller}"
