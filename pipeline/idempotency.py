"""An upload that is sent again because its answer was lost is the same upload: what an Idempotency-Key stands for.

Keys are shown once and kept as hashes, so they could not be told again. Hence what a new recording is given (its id and
its keys) follows from the Idempotency-Key, which only whoever uploads it knows, and from a secret of the server's:

    tonetrack:secret                string  without which nobody can derive keys from an Idempotency-Key that is guessed
    tonetrack:idempotency:{ID}      hash    the length of the body, which attempt holds it, whether it was taken in

One key may be sent over several connections, one of them silent for so long that the next began anew. Each such attempt
has a token of its own, and who holds the claim is who began last: an earlier one may neither bring nor erase anything.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from pipeline.job import OtherUpload, StillArriving, Superseded
from pipeline.published import SCRIPTS, session_key

ARRIVING_MS: Final = 60_000  # without a sign of life from the upload, after which it may begin anew
SECRET: Final = "tonetrack:secret"
SHORTEST: Final = 16  # characters of a key: it must not be guessed, for whoever has it is told the recording's keys


def claim_key(recording: str) -> str:
    """Where in Redis the claim to upload a recording is."""
    return f"tonetrack:idempotency:{{{recording}}}"


async def server_secret(redis: Redis) -> bytes:
    """What only this server knows, made when it is first asked for. It never expires."""
    await redis.set(SECRET, secrets.token_bytes(32), nx=True)
    known: Any = await redis.get(SECRET)
    return bytes(known)


@dataclass(frozen=True, slots=True)
class Given:
    """What a recording is given: its id, the key to all that is one's own, one to look, one to sign webhooks with."""

    id: str
    key: str
    viewer_key: str
    webhook_secret: str

    @classmethod
    def of(cls, seed: bytes | None = None) -> Given:
        """Given at random, or as follows from a seed that nobody can guess (HMAC, as in RFC 5869, section 2.3)."""
        secret = seed or secrets.token_bytes(32)

        def derived(what: str) -> bytes:
            return hmac.digest(secret, f"tonetrack recording {what}".encode(), "sha256")

        key, viewer_key, webhook = (
            base64.urlsafe_b64encode(derived(what)[:24]).decode() for what in ("key", "viewer key", "webhook secret")
        )
        return cls(derived("id").hex()[:16], key, viewer_key, f"whsec_{webhook}")


class Idempotency:
    """One attempt at the upload that an Idempotency-Key stands for.

    `kept`: seconds for which it is remembered that the upload was taken in, which should be no fewer than the recording
    lives. `attempt`: the token by which this attempt is told from others under the same key.
    """

    def __init__(self, redis: Redis, seed: bytes, kept: float = 86_400.0) -> None:
        self._redis: Any = redis
        self.given = Given.of(seed)
        self.attempt = secrets.token_hex(8)
        self._claim = claim_key(self.given.id)
        self._keys = [self._claim, session_key(self.given.id, "job")]
        self._begin, self._hold, self._taken, self._failed = (
            redis.register_script((SCRIPTS / f"upload_{name}.lua").read_text())
            for name in ("begin", "hold", "taken", "failed")
        )
        self._kept_ms = round(kept * 1000)
        self._length = ""

    @classmethod
    async def of(cls, redis: Redis, key: str, sender: str = "", kept: float = 86_400.0) -> Idempotency:
        """An attempt under a key; `sender` is the owner's key that it comes under, where it comes under one."""
        seed = hmac.digest(await server_secret(redis), f"{sender}\n{key}".encode(), "sha256")
        return cls(redis, seed, kept)

    async def begin(self, length: str) -> bool:
        """Begin an upload whose body is of this length (Content-Length); returns whether it was taken in before.

        Raises `StillArriving` and `OtherUpload`.
        """
        self._length = length
        outcome = await self._begin(keys=self._keys, args=[self.attempt, length, ARRIVING_MS, self._kept_ms])
        if outcome == b"other":
            raise OtherUpload
        if outcome == b"arriving":
            raise StillArriving
        return bool(outcome == b"taken")

    async def going_on(self) -> None:
        """The upload is getting further. Raises `Superseded` where it began anew over another connection."""
        if await self._hold(keys=self._keys, args=[self.attempt, self._length, ARRIVING_MS]) != b"ok":
            raise Superseded(self.given.id)

    async def taken(self) -> None:
        """It was taken in. An attempt that began meanwhile keeps the claim, and finds the recording."""
        await self._taken(keys=[self._claim], args=[self.attempt, self._length, self._kept_ms])

    async def failed(self) -> None:
        """It was not; the key may be used again, unless another attempt uses it."""
        await self._failed(keys=[self._claim], args=[self.attempt])
