"""Enrolled voices in Redis."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import redis

from pipeline.session import (
    SessionRequest,
    VoiceKey,
)
from pipeline.store import SessionStore
from pipeline.voiceprint import SIZE
from pipeline.voices import NewVoice, UnknownVoice, WrongVoiceKey


async def a_voice(store: SessionStore, seconds: float = 60) -> NewVoice:
    return await store.voices.add("Anna", np.eye(1, SIZE, 3, dtype=np.float32)[0], 11.5, "v1", seconds)


async def test_a_voice_is_what_was_enrolled(store: SessionStore, url: str) -> None:
    voice = await a_voice(store)
    assert voice.record == await store.voices.record(voice.record.id)
    assert voice.record.expires_at - voice.record.consented_at == pytest.approx(60, abs=1)
    (loaded,) = await store.voices.load([voice.record.id, "nobody"], "v1")
    assert (loaded.id, loaded.name, int(loaded.voiceprint.argmax())) == (voice.record.id, "Anna", 3)
    assert loaded.voiceprint.dtype == np.float16
    assert await store.voices.load([voice.record.id], "v2") == [], "voiceprints of two encoders cannot be compared"
    assert await store.voices.outdated([voice.record.id, "nobody"], "v2") == 1
    assert await store.voices.outdated([voice.record.id, "nobody"], "v1") == 0
    with redis.Redis.from_url(url) as raw:
        at_rest = b"".join(raw.hgetall(f"tonetrack:voice:{{{voice.record.id}}}").values())
    assert voice.key.encode() not in at_rest
    await store.voices.erase(voice.record.id)
    with pytest.raises(UnknownVoice):
        await store.voices.record(voice.record.id)
    assert await store.voices.load([voice.record.id], "v1") == []


async def test_a_voice_expires(store: SessionStore) -> None:
    voice = await a_voice(store, seconds=0.2)
    await asyncio.sleep(0.4)
    with pytest.raises(UnknownVoice):
        await store.voices.check(VoiceKey(id=voice.record.id, key=voice.key))


async def test_a_session_knows_the_voices_whose_keys_it_was_given(store: SessionStore) -> None:
    voice = await a_voice(store)

    def asked(key: str, voice_id: str = voice.record.id) -> SessionRequest:
        keys = [VoiceKey(id=voice_id, key=key)] * 2
        return SessionRequest(purpose="research", consent=True, voices=keys)

    assert await store.voice_ids((await store.create(asked(voice.key))).id) == [voice.record.id]
    assert await store.voices.opened(asked(voice.key).voices) == [voice.record.id]
    with pytest.raises(WrongVoiceKey):
        await store.create(asked("guess"))
    with pytest.raises(UnknownVoice):
        await store.create(asked(voice.key, "nobody"))
