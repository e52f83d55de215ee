"""Recordings from their upload to their erasure, through the whole service."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead, EmotionModel
from pipeline.exports import FORMATS
from pipeline.hearing import Listening
from pipeline.media import decode, decode_channels
from pipeline.recording import hear
from pipeline.segments import ears_here
from pipeline.sound import Sound
from pipeline.timeline import SAMPLE_RATE
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


@pytest.fixture(scope="module")
def wav(small_conversation: Any) -> bytes:
    return wav_of(small_conversation[0])


@pytest.fixture(scope="module")
def heard_here(wav: bytes) -> Json:
    """What this process hears in it, as JSON."""
    with Sound(decode(io.BytesIO(wav))) as sound:
        timeline = hear(sound, ears_here(LocalDiariser(), EmotionModel.load()), EmotionHead.load())
    document: Json = json.loads(json.dumps(timeline.document()))
    return document


@pytest.fixture(scope="module")
def done(service: Service, wav: bytes) -> Uploaded:
    """A recording that was heard, and whose sound is kept."""

    async def heard() -> Uploaded:
        recording = await upload(service.api, wav, "Größe <b>1.wav", keep_audio="true", language="de-CH")
        await recording.heard()
        return recording

    return asyncio.run(heard())


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
    with Sound(decode_channels(io.BytesIO(call))) as sound:
        here = hear(
            sound, ears_here(LocalDiariser(), EmotionModel.load()), EmotionHead.load(), Listening(channels=True)
        )
    assert heard_in(heard) == json.loads(json.dumps(here.document()))
    assert heard["speakers"] == [1, 2]
    assert (await recording.job())["channels_as"] == "speakers"


async def test_a_timeline_comes_in_every_format(done: Uploaded, heard_here: Json) -> None:
    for extension, form in FORMATS.items():
        by_extension = await done.get(f"/timeline.{extension}")
        by_header = await done.get("/timeline", accept=form.media_type)
        assert by_extension.content == by_header.content
        for answer in (by_extension, by_header):
            assert answer.headers["content-type"].split(";")[0] == form.media_type
            assert "Accept" in answer.headers["vary"].split(", ")
            assert answer.headers["content-disposition"] == f'attachment; filename="Gr-e-b-1.{extension}"'
    assert_alike(heard_in((await done.get("/timeline")).json()), heard_here)
    assert (await done.get("/timeline", accept="text/html, text/*;q=0.5")).text.startswith("start,end,speaker")
    rows = list(csv.DictReader(io.StringIO((await done.get("/timeline.csv")).text)))
    assert len(rows) == len(heard_here["readings"])
    assert (await done.get("/timeline.vtt")).text.startswith("WEBVTT")
    chunks = (await done.get("/timeline.chunks.json")).json()
    assert [list(chunk) for chunk in chunks] == [["1", "2"]]
    refused = await done.get("/timeline", 406, accept="image/png")
    assert refused.json()["detail"].startswith("A timeline comes as application/json, ")
    for unknown in ("xml", "JSON", "a" * 15):
        said = (await done.get(f"/timeline.{unknown}", 404)).json()["detail"]
        assert said == f"There is no timeline.{unknown}; there are: json, chunks.json, csv, rttm, vtt."
    await done.get(f"/timeline.{'a' * 21}", 422)


async def test_a_report_opens_without_a_network(done: Uploaded) -> None:
    report = await done.get("/report.html")
    assert report.headers["content-type"].startswith("text/html")
    assert report.headers["content-disposition"] == 'attachment; filename="Gr-e-b-1.html"'
    assert "<b>1.wav" not in report.text
    assert "Größe &lt;b&gt;1.wav" in report.text
    assert not re.search(r"<(script|link|img|iframe)\b[^>]+(src|href)=.?http", report.text)


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-", 206, slice(None)),
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-100", 206, slice(100, 101)),
        ("bytes=700000-", 206, slice(700_000, None)),
        ("bytes=-50", 206, slice(-50, None)),
        ("bytes=-999999999", 206, slice(None)),
        ("bytes=10-999999999", 206, slice(10, None)),
        ("bytes=999999999-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("bytes=", 200, slice(None)),
        ("bytes=-", 200, slice(None)),
        ("bytes=a-b", 200, slice(None)),
        ("seconds=1-2", 200, slice(None)),
        ("bytes=" + "9" * 18 + "-", 416, None),
        ("bytes=" + "9" * 4_000 + "-", 200, slice(None)),
    ],
)
async def test_kept_sound_comes_whole_and_in_parts(
    done: Uploaded, wav: bytes, wanted: str | None, status: int, part: slice | None
) -> None:
    answer = await done.get("/audio", status, **({"range": wanted} if wanted else {}))
    assert answer.headers["accept-ranges"] == "bytes" if part else True
    if part is None:
        assert answer.headers["content-range"] == f"bytes */{len(wav)}"
        assert answer.json()["detail"] == f"The sound has {len(wav)} bytes."
        return
    assert answer.content == wav[part]
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(wav[part]))
    if status == 206:
        start, stop, _ = part.indices(len(wav))
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(wav)}"


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


async def test_corrections_of_speakers_follow_into_every_format(service: Service, wav: bytes) -> None:
    recording = await upload(service.api, wav)
    await recording.heard()
    sessions = f"{service.api}/v1/sessions/{recording.id}"
    async with recording.client() as http, recording.client(recording.viewer_key) as viewer:
        assert (await viewer.patch(f"{sessions}/speakers/1", json={"name": "Eve"})).status_code == 403
        assert (await http.patch(f"{sessions}/speakers/1", json={"name": "=Anna"})).status_code == 200
        rows = list(csv.DictReader(io.StringIO((await recording.get("/timeline.csv")).text)))
        assert {(row["speaker"], row["name"]) for row in rows} == {("1", "'=Anna"), ("2", "Speaker 2")}
        assert (await http.post(f"{sessions}/speakers/2/merge", json={"into": 1})).status_code == 200
        assert (await viewer.get(sessions)).json()["names"] == {"1": "=Anna"}
    rows = list(csv.DictReader(io.StringIO((await recording.get("/timeline.csv")).text)))
    assert {(row["speaker"], row["name"]) for row in rows} == {("1", "'=Anna")}
    assert "Speaker_2" not in (await recording.get("/timeline.rttm")).text
    assert "=Anna" in (await recording.get("/report.html")).text
    assert (await recording.get("/timeline")).json()["speakers"] == [1]


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


async def test_silence_has_an_empty_timeline(service: Service) -> None:
    recording = await upload(service.api, wav_of(silence(70)))
    heard = await recording.heard()
    assert (heard["turns"], heard["readings"], heard["speakers"], heard["heard_until"]) == ([], [], [], 70.0)
    assert (await recording.get("/timeline.csv")).text.count("\r\n") == 1
    assert (await recording.get("/timeline.rttm")).text == ""
    assert (await recording.get("/report.html")).status_code == 200


async def test_the_api_describes_recordings_with_examples(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.api) as http:
        described = (await http.get("/openapi.json")).json()
    paths, schemas = described["paths"], described["components"]["schemas"]
    routes = {path.removeprefix("/v1/recordings"): path for path in paths if path.startswith("/v1/recordings")}
    parts = (
        "",
        "/events",
        "/timeline",
        "/timeline.{extension}",
        "/report.html",
        "/audio",
        "/deliveries",
        "/cancel",
        "/looks",
        "/viewer-key",
    )
    assert set(routes) == {"", "/key", *(f"/{{recording}}{part}" for part in (*parts, "/retry"))}
    form = paths["/v1/recordings"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["example"]["consent"] is True
    assert {"file", "purpose", "consent"} == set(form["schema"]["required"])
    assert form["schema"]["properties"]["file"]["format"] == "binary"
    for name in ("TakenIn", "Recordings"):
        assert schemas[name]["examples"]
    timeline = paths["/v1/recordings/{recording}/timeline"]["get"]["responses"]["200"]["content"]
    assert set(timeline) == {one.media_type for one in FORMATS.values()}
    for methods in (paths[path] for path in routes.values()):
        for operation in methods.values():
            assert operation["description"]
