"""Enrolled voices, in Redis. Of the sound that one was made of, nothing is kept.

    tonetrack:voice:{id}     hash    name, voiceprint and its version, hashed key, when consent was given

It expires by itself, and whoever holds its key may erase it before.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from redis.asyncio import Redis

from pipeline.keys import WrongKey, digest, new_key, same
from pipeline.session import Voice, VoiceKey


class UnknownVoice(LookupError):
    """No such voice: never enrolled, expired or erased."""


class WrongVoiceKey(WrongKey):
    """The key does not open this voice."""


class VoiceRecord(BaseModel):
    """What is known of an enrolled voice. Times are Unix seconds."""

    id: str
    name: str
    seconds: float = Field(description="of speech that were heard of it")
    consented_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice and its key, in clear this once."""

    record: VoiceRecord
    key: str


class VoiceStore:
    """Voices in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    async def add(
        self, name: str, voiceprint: NDArray[np.float32], seconds: float, version: str, expires_in: float
    ) -> NewVoice:
        """Keep a voiceprint (SIZE,) made of so many seconds of speech, for `expires_in` seconds from now.

        `version`: of what made the voiceprint; another one's cannot be compared with it. Calling this declares that the
        speaker has agreed.
        """
        voice, key, now = secrets.token_hex(8), new_key(), time.time()
        fields = {
            "name": name,
            "voiceprint": voiceprint.astype("<f2").tobytes(),
            "voiceprint_version": version,
            "key": digest(key),
            "seconds": round(seconds, 2),
            "consented_at": now,
            "expires_at": now + expires_in,
        }
        async with self._redis.pipeline(transaction=True) as both:
            both.hset(_key(voice), mapping=fields)
            both.pexpire(_key(voice), round(expires_in * 1000))
            await both.execute()
        return NewVoice(await self.record(voice), key)

    async def record(self, voice: str) -> VoiceRecord:
        """What is known of a voice. Raises `UnknownVoice`."""
        fields = ["name", "seconds", "consented_at", "expires_at"]
        name, *times = await self._redis.hmget(_key(voice), fields)
        if name is None:
            raise UnknownVoice(voice)
        seconds, consented_at, expires_at = map(float, times)
        return VoiceRecord(
            id=voice, name=name.decode(), seconds=seconds, consented_at=consented_at, expires_at=expires_at
        )

    async def check(self, voice: VoiceKey) -> None:
        """Raises `UnknownVoice`, and `WrongVoiceKey` for a key that does not open it."""
        stored = await self._redis.hget(_key(voice.id), "key")
        if stored is None:
            raise UnknownVoice(voice.id)
        if not same(stored, voice.key):
            raise WrongVoiceKey(voice.id)

    async def opened(self, voices: Iterable[VoiceKey]) -> list[str]:
        """The ids of voices that are to be looked for, each once, after a `check` of every key."""
        asked = list(voices)
        for voice in asked:
            await self.check(voice)
        return list(dict.fromkeys(voice.id for voice in asked))

    async def load(self, voices: Iterable[str], version: str) -> list[Voice]:
        """Those of the voices that are still there and whose voiceprints are of this version."""
        loaded = []
        for voice in voices:
            fields = ["name", "voiceprint", "voiceprint_version"]
            name, voiceprint, of = await self._redis.hmget(_key(voice), fields)
            if name is not None and of.decode() == version:
                loaded.append(Voice(voice, name.decode(), np.frombuffer(voiceprint, "<f2").astype(np.float16)))
        return loaded

    async def outdated(self, voices: Iterable[str], version: str) -> int:
        """How many of the voices are still there, but of another version than this: they have to be enrolled again."""
        versions = [await self._redis.hget(_key(voice), "voiceprint_version") for voice in voices]
        return sum(of is not None and of.decode() != version for of in versions)

    async def erase(self, voice: str) -> None:
        """Delete all that is known of a voice."""
        await self._redis.delete(_key(voice))


def _key(voice: str) -> str:
    return f"tonetrack:voice:{{{voice}}}"
