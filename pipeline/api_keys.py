"""API keys: who may open sessions, enrol voices and upload. In clear for whoever holds them, as hashes in Redis.

    tonetrack:api-key:{ID}   hash    name, hashed secret, when it was made and last used, when it expires
    tonetrack:api-keys       set     the ids of all keys; who lists them takes out those that have expired

A key reads `tt_ID_SECRET`: whoever finds one knows whose it is, and which to revoke.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, Field
from redis.asyncio import Redis

from pipeline.keys import WrongKey, digest, new_key, same
from pipeline.published import SCRIPTS
from pipeline.session import Printable

PREFIX: Final = "tt"
ALL: Final = "tonetrack:api-keys"


class UnknownApiKey(WrongKey):
    """No such API key: never made, expired or revoked."""

    def __init__(self) -> None:
        super().__init__("There is no such API key: it was never made, has expired, or was revoked.")


class ApiKey(BaseModel):
    """What is known of an API key. Times are Unix seconds."""

    id: str
    name: Printable = Field(min_length=1, max_length=80)
    created_at: float
    last_used_at: float | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key and its secret, in clear this once."""

    record: ApiKey
    secret: str


class ApiKeys:
    """API keys in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._used = redis.register_script((SCRIPTS / "api_key_used.lua").read_text())

    async def create(self, name: str, expires_in: float | None = None) -> NewApiKey:
        """Make a key; `expires_in`: seconds. Raises `ValueError` for a name that is empty, too long or unprintable."""
        identity, now = secrets.token_hex(6), time.time()
        expires_at = None if expires_in is None else now + expires_in
        record = ApiKey(id=identity, name=name, created_at=now, expires_at=expires_at)
        secret = f"{PREFIX}_{identity}_{new_key()}"
        fields = record.model_dump(exclude={"id"}, exclude_none=True) | {"secret": digest(secret)}
        async with self._redis.pipeline(transaction=True) as both:
            both.hset(_key(identity), mapping=fields)
            if expires_in is not None:
                both.pexpire(_key(identity), round(expires_in * 1000))
            both.sadd(ALL, identity)
            await both.execute()
        return NewApiKey(record, secret)

    async def use(self, secret: str) -> str:
        """The id of the key that this is the secret of, which has then been used. Raises `UnknownApiKey`."""
        _, _, rest = secret.partition("_")
        identity = rest.partition("_")[0]
        stored = await self._redis.hget(_key(identity), "secret")
        if not same(stored, secret) or await self._used(keys=[_key(identity)], args=[time.time()]) != b"ok":
            raise UnknownApiKey
        return identity

    async def stands(self, identity: str) -> bool:
        """Whether a key has neither expired nor been revoked."""
        return bool(await self._redis.exists(_key(identity)))

    async def all(self) -> list[ApiKey]:
        """All keys that stand, the oldest first."""
        keys = []
        for entry in await self._redis.smembers(ALL):
            raw = await self._redis.hgetall(_key(entry.decode()))
            if raw:
                fields = {name.decode(): value.decode() for name, value in raw.items() if name != b"secret"}
                keys.append(ApiKey.model_validate(fields | {"id": entry.decode()}))
            else:
                await self._redis.srem(ALL, entry)
        return sorted(keys, key=lambda key: key.created_at)

    async def revoke(self, identity: str) -> None:
        """Have a key open nothing any more. Raises `UnknownApiKey`."""
        await self._redis.srem(ALL, identity)
        if not await self._redis.delete(_key(identity)):
            raise UnknownApiKey


def _key(identity: str) -> str:
    return f"tonetrack:api-key:{identity}"
