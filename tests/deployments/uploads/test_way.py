"""Recordings from their upload to their erasure, through the whole service."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.hearing import Listening
from pipeline.media import decode_channels
from pipeline.timeline import SAMPLE_RATE
from tests.deployments.uploads.here import hear_here
from tests.service import Service, silence
from tests.uploads import (
    SAID,
    Json,
    Uploaded,
    assert_alike,
    heard_in,
    left_of,
    send,
    sound_of,
    taken_in,
    tiled,
    upload,
    wav_of,
)


async def test_a_recording_goes_from_its_upload_to_its_timeline(service: Service, wav: bytes, heard_here: Json) -> None:
    """The service hears exactly what a process of one's own does."""
    answer = await send(service.api, wav, said=SAID | {"name": "Monday"})
    recording = taken_in(service.api, answer)
    told = answer.json()
    assert answer.headers["Location"] == f"/v1/recordings/{recording.id}"
    assert "Idempotent-Replayed" not in answer.headers
    assert (told["state"], told["tries"]) in (("queued", 0), ("running", 1))  # by now
    assert (told["name"], told["file"]) == ("Monday", "talk.wav")
    assert told["media_type"] == "audio/wav"
    assert (told["bytes"], told["channels"], told["audio"]) == (len(wav), 1, True)
    assert told["seconds"] == pytest.approx(len(wav) / 32_000, abs=0.01)
    kinds, progress = [], []
    async for kind, job in recording.followed():
        kinds.append(kind)
        progress.append(job["progress"])
        assert kind == f"recording.{job['state']}"
    assert kinds[-1] == "recording.done"
    assert set(kinds) <= {"recording.queued", "recording.running", "recording.done"}
    assert progress == sorted(progress)
    assert progress[-1] == 1
    assert_alike(heard_in((await recording.get("/timeline")).json()), heard_here)
    job = await recording.job()
    assert (job["state"], job["done"], job["error"], job["warning"]) == ("done", heard_here["heard_until"], None, None)
    assert 86_000 < job["expires_in"] <= 86_400
    await recording.soundless()  # it goes with the hearing, unless somebody wants it kept
    await recording.get("/audio", 404)


async def test_each_channel_may_be_a_speaker(service: Service, small_conversation: Any) -> None:
    pcm = small_conversation[0][: 12 * SAMPLE_RATE]
    call = wav_of(np.stack([pcm, np.roll(pcm, 6 * SAMPLE_RATE)], axis=1))
    recording = await upload(service.api, call, channels="speakers")
    heard = await recording.heard()
    assert heard_in(heard) == hear_here(decode_channels(io.BytesIO(call)), Listening(channels=True))
    assert heard["speakers"] == [1, 2]
    assert (await recording.job())["channels_as"] == "speakers"


async def test_who_may_look_may_do_nothing_else(service: Service, done: Uploaded) -> None:
    async with done.client(done.viewer_key) as viewer:
        for path in ("", "/timeline", "/timeline.csv", "/report.html", "/audio"):
            assert (await viewer.get(path)).status_code == 200
        refused = [await viewer.delete(""), await viewer.get("/deliveries")]
        refused += [await viewer.post(path) for path in ("/cancel", "/retry")]
        for answer in refused:
            assert answer.status_code == 403
            assert answer.json()["detail"].startswith("A viewer key may only look; ")
        assert (await viewer.get(f"{service.api}/v1/recordings")).status_code == 403
    async with done.client("guess") as stranger, done.client("") as nobody:
        paths = ["", "/events", "/timeline", "/timeline.rttm", "/report.html", "/audio", "/deliveries"]
        for path in paths:
            assert (await stranger.get(path)).status_code == 403
            without = await nobody.get(path)
            assert (without.status_code, without.headers["www-authenticate"]) == (401, "Bearer")
        for http, status in ((stranger, 403), (nobody, 401)):
            assert (await http.delete("")).status_code == status
            assert (await http.post("/cancel")).status_code == status
        assert (await nobody.get(f"{service.api}/v1/recordings")).status_code == 401
        unknown = await stranger.get(f"{service.api}/v1/recordings/0123456789abcdef")
    assert (unknown.status_code, unknown.json()["detail"][:28]) == (404, "There is no such recording: ")
    assert (await done.job())["state"] == "done"


async def test_only_what_is_not_over_can_be_cancelled_and_only_what_was_given_up_be_sent_again(done: Uploaded) -> None:
    async with done.client() as http:
        cancelled, retried = await http.post("/cancel"), await http.post("/retry")
    assert (cancelled.status_code, cancelled.json()["detail"]) == (409, "This recording is over already: done.")
    assert retried.status_code == 409
    assert retried.json()["detail"] == "Only what was given up can be sent again; this recording is done."


async def test_pages_of_ones_own_recordings(service: Service) -> None:
    wav = wav_of(silence(1))
    first = await upload(service.api, wav)
    mine = [first] + [await upload(service.api, wav, key=first.key) for _ in range(4)]
    assert {one.key for one in mine} == {first.key}
    assert len({one.viewer_key for one in mine}) == 5
    await upload(service.api, wav)
    seen: list[str] = []
    async with httpx.AsyncClient(base_url=service.api, headers={"Authorization": f"Bearer {first.key}"}) as http:
        asked: dict[str, Any] = {"limit": 2}
        for size in (2, 2, 1):
            page = (await http.get("/v1/recordings", params=asked)).json()
            assert len(page["recordings"]) == size
            seen += [job["id"] for job in page["recordings"]]
            asked["cursor"] = page["next"]
        assert page["next"] is None
        assert seen == [one.id for one in reversed(mine)]
        for wrong in ({"limit": 0}, {"limit": 201}, {"cursor": "x"}, {"cursor": -1}):
            assert (await http.get("/v1/recordings", params=wrong)).status_code == 422
        assert (await http.get("/v1/recordings", params={"cursor": "nan"})).status_code < 500
        await asyncio.gather(*(one.until() for one in mine))
        for one in mine:
            assert (await http.delete(f"/v1/recordings/{one.id}")).status_code == 200
        emptied = await http.get("/v1/recordings")
        assert (emptied.status_code, emptied.json()) == (200, {"recordings": [], "next": None})
        mine = [await upload(service.api, wav, key=first.key)]
    unknown = await send(service.api, wav, key="a key that nothing is under")
    assert unknown.status_code == 403
    assert unknown.json()["detail"].startswith("No recordings are under this key; upload without one")
    await asyncio.gather(*(one.until() for one in mine))


async def test_what_waits_or_is_being_heard_can_be_cancelled_or_erased(
    service: Service, small_conversation: Any
) -> None:
    """What was heard of it goes, too, and so does the sound."""
    long = wav_of(tiled(small_conversation[0], 300))
    erased, heard, *waiting = [await upload(service.api, long) for _ in range(4)]
    for path in ("/timeline", "/timeline.csv", "/report.html"):
        said = (await waiting[-1].get(path, 409)).json()["detail"]
        assert said.startswith(("It waits to be heard, as number ", "It is being heard; "))
    with service.redis() as redis:
        for one in waiting:
            async with one.client() as http:
                answer = await http.post("/cancel")
                assert answer.status_code == 202
        states = {one.id: (await one.until())["state"] for one in waiting}
        assert set(states.values()) == {"cancelled"}
        await erased.until("running")
        async with erased.client() as http:
            gone = await http.delete("")
            assert (gone.status_code, gone.json()["erased"]) == (200, erased.id)
            assert (await http.get("")).status_code == 404
        await heard.until("running")
        async with heard.client() as http:
            answer = await http.post("/cancel")
            assert (answer.status_code, answer.json()["state"]) == (202, "running")
        job = await heard.until(seconds=60)
        assert (job["state"], job["step"]) == ("cancelled", None)
        assert (await heard.get("/timeline", 409)).json()["detail"] == "It was cancelled."
        assert (await heard.get("/audio", 404)).status_code == 404
        async with heard.client() as http:
            assert (await http.get(f"{service.api}/v1/sessions/{heard.id}")).status_code == 404
        for one in (heard, *waiting):
            await one.soundless()
            assert not redis.exists(f"tonetrack:{{{one.id}}}:notes")
        async with asyncio.timeout(60):
            while left_of(service, erased.id):  # what was under way is heard to the end of its segment
                await asyncio.sleep(0.1)
        assert redis.zcard("tonetrack:jobs:running") == 0


async def test_what_is_cancelled_while_it_is_read_leaves_no_turns(service: Service, small_conversation: Any) -> None:
    """Its turns were published already; they used to stay under its id."""
    recording = await upload(service.api, wav_of(tiled(small_conversation[0], 240)))
    async with asyncio.timeout(120):
        while (await recording.job())["step"] != "how it sounds":
            await asyncio.sleep(0.02)
    async with recording.client() as http:
        assert (await http.post("/cancel")).status_code == 202
        assert (await recording.until())["state"] == "cancelled"
        assert (await http.get(f"{service.api}/v1/sessions/{recording.id}")).status_code == 404


async def test_erasing_leaves_nothing(service: Service, wav: bytes) -> None:
    recording = await upload(service.api, wav, keep_audio="true")
    await recording.heard()
    assert len(sound_of(recording.id)) == 1
    assert left_of(service, recording.id)
    async with recording.client() as http:
        assert (await http.delete("")).status_code == 200
        assert (await http.delete("")).status_code == 404
        for path in ("", "/timeline", "/audio", "/report.html"):
            assert (await http.get(path)).status_code == 404
        assert (await http.get(f"{service.api}/v1/sessions/{recording.id}")).status_code == 404
    assert left_of(service, recording.id) == []
    assert sound_of(recording.id) == []
