"""Uploads that are sent with enrolled voices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.client import add_voice, remove_voice
from pipeline.job import Job
from tests.deployments.doors import application, client
from tests.deployments.test_speakers import alone
from tests.service import Service, silence
from tests.talkers import HIGH, LOW
from tests.uploads import SAID, Json, Uploaded, send, taken_in, upload, wav_of

VOICE = {"name": "Anna", "consent": "true"}


def keys_of(*voices: Json) -> str:
    return json.dumps([{"id": voice["id"], "key": voice["key"]} for voice in voices])


async def named_by(recording: Uploaded) -> set[tuple[str, str]]:
    """Who was named, and by what, as the events of the session say."""
    async with recording.client() as http:
        events = await http.get(f"{recording.api}/v1/sessions/{recording.id}/events")
    told = [json.loads(line[6:]) for line in events.text.splitlines() if line.startswith("data: ")]
    return {(event["name"], event["by"]) for event in told if event["type"] == "speaker.named"}


async def test_whoever_is_enrolled_is_called_by_their_name(service: Service, wav: bytes, tmp_path: Path) -> None:
    anna = await add_voice(service.api, alone(tmp_path, LOW, 12), "Anna")
    ben = await add_voice(service.api, alone(tmp_path, HIGH, 12), "Ben")
    recording = await upload(service.api, wav, voices=keys_of(anna, ben))
    assert sorted((await recording.heard())["names"].values()) == ["Anna", "Ben"]
    assert await named_by(recording) == {("Anna", "voice"), ("Ben", "voice")}
    job = await recording.job()
    assert job["warning"] is None
    assert job.keys() == Job.model_fields.keys(), "the voices are nobody's to see"
    assert "Anna" in (await recording.get("/timeline.vtt")).text
    for voice in (anna, ben):
        await remove_voice(service.api, voice["id"], voice["key"])


async def test_voices_that_are_gone_by_then_are_missed_and_hold_nothing_up(
    service: Service, wav: bytes, tmp_path: Path
) -> None:
    """As if one had been erased and one had expired while the recording waited."""
    anna = await add_voice(service.api, alone(tmp_path, LOW, 12), "Anna")
    gone = [await add_voice(service.api, alone(tmp_path, HIGH, 12), "Ben") for _ in range(2)]
    with service.redis() as redis:
        for voice in gone:
            redis.hset(f"tonetrack:voice:{{{voice['id']}}}", "voiceprint_version", "another")
    recording = await upload(service.api, wav, voices=keys_of(anna, *gone))
    assert list((await recording.heard())["names"].values()) == ["Anna"]
    warning = (await recording.job())["warning"]
    assert warning.startswith("Enrolled voices that could not be looked for ")
    assert warning.endswith(": 2 of 3.")
    for voice in (anna, *gone):
        await remove_voice(service.api, voice["id"], voice["key"])


async def test_who_has_not_the_key_has_nobody_looked_for(url: str, tmp_path: Path) -> None:
    api = application(url, tmp_path)
    wav: Any = {"file": ("talk.wav", wav_of(silence(1)))}
    async with client(api) as http:

        async def sent(voices: str) -> httpx.Response:
            return await http.post("/v1/recordings", data=SAID | {"voices": voices}, files=wav)

        anna = (await http.post("/v1/voices", data=VOICE, files=wav)).json()
        wrong = await sent(keys_of(anna | {"key": "guess"}))
        assert (wrong.status_code, wrong.json()["detail"]) == (422, f"The key does not open the voice {anna['id']}.")
        assert (await sent(keys_of(anna, anna | {"key": "guess"}))).status_code == 422
        unknown = await sent(keys_of(anna | {"id": "nobody"}))
        assert (unknown.status_code, unknown.json()["detail"][:24]) == (404, "There is no such voice: ")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "what was refused is not kept"


async def test_nobody_guesses_the_keys_of_voices_by_uploads(url: str, tmp_path: Path) -> None:
    api = application(url, tmp_path, wrong_keys_per_minute=2)
    wav: Any = {"file": ("talk.wav", wav_of(silence(1)))}
    async with client(api, "192.0.2.77") as http:
        anna = (await http.post("/v1/voices", data=VOICE, files=wav)).json()
        guess = SAID | {"voices": keys_of(anna | {"key": "guess"})}
        answers = [(await http.post("/v1/recordings", data=guess, files=wav)).status_code for _ in range(3)]
        right = await http.post("/v1/recordings", data=SAID | {"voices": keys_of(anna)}, files=wav)
    assert (answers, right.status_code) == ([422, 422, 429], 429)


async def test_a_refused_upload_can_be_sent_again_under_its_key(service: Service, tmp_path: Path) -> None:
    wav, known_by = wav_of(silence(1)), "a recording with a voice"
    refused = await send(service.api, wav, idempotency=known_by, voices=keys_of({"id": "nobody", "key": "x" * 43}))
    assert refused.status_code == 404
    anna = await add_voice(service.api, alone(tmp_path, LOW, 12), "Anna")
    taken = await send(service.api, wav, idempotency=known_by, voices=keys_of(anna))
    assert (await taken_in(service.api, taken).until())["state"] == "done"
    await remove_voice(service.api, anna["id"], anna["key"])


@pytest.mark.parametrize("voices", ["", "[]"])
async def test_no_voices_are_no_voices(service: Service, voices: str) -> None:
    recording = await upload(service.api, wav_of(silence(1)), voices=voices)
    assert (await recording.heard())["names"] == {}
