"""Whom recordings are uploaded by, in Redis: an owner is the digest of the first key that theirs were under.

    tonetrack:owner-key:OWNER    string  the digest of the key that opens what is theirs, once the first was replaced
    tonetrack:owner-of:DIGEST    string  the owner, by the digest of a key that has replaced another

So replacing a key is one write, however much is under it, and what names its owner stays as it is.
"""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis

from pipeline.job import PATIENCE
from pipeline.keys import WrongKey, digest, new_key, same
from pipeline.published import SCRIPTS

REPLACED: Final = "This key was replaced; only the newest opens what was uploaded."


class Owners:
    """Owners and their keys. `retention`: seconds for which what was uploaded stays, counted from when it is over.

    Which key opens what is known for longer than anything that it opens, or the first would open that again.
    """

    def __init__(self, redis: Redis, retention: float) -> None:
        self._redis: Any = redis
        self._known_ms = round((2 * retention + PATIENCE) * 1000)
        self._renew = redis.register_script((SCRIPTS / "owner_renew.lua").read_text())

    async def current(self, owner: str) -> str:
        """The digest of the key that opens what is an owner's, which is known for as long again from now on.

        A session's own recorder key is one that was never replaced here.
        """
        current = await self._redis.get(_key_of(owner))
        if current is None:
            return owner
        await self._redis.pexpire(_key_of(owner), self._known_ms)
        await self._redis.pexpire(_owner_of(current.decode()), self._known_ms)
        return str(current.decode())

    async def opens(self, owner: str, key: str) -> bool:
        """Whether a key opens what is an owner's."""
        return same((await self.current(owner)).encode(), key)

    async def of(self, key: str) -> str:
        """The owner whom a key is of, or was of until it was replaced, or would be of were anything under it."""
        return (await self._redis.get(_owner_of(digest(key))) or digest(key).encode()).decode()

    async def renew(self, key: str) -> str:
        """Another key to all that one opens. That one opens nothing any more; raises `WrongKey` where it did not."""
        owner, renewed = await self.of(key), new_key()
        await self._redis.set(_owner_of(digest(renewed)), owner, px=self._known_ms)  # which says nothing by itself
        if not await self._renew(keys=[_key_of(owner)], args=[digest(key), owner, digest(renewed), self._known_ms]):
            await self._redis.delete(_owner_of(digest(renewed)))
            raise WrongKey(REPLACED)
        return renewed


def _key_of(owner: str) -> str:
    return f"tonetrack:owner-key:{owner}"


def _owner_of(hashed: str) -> str:
    return f"tonetrack:owner-of:{hashed}"
