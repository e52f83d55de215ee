"""What happens to recordings in the queue when workers, models and Redis do not do as they should."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from deployments.client import open_session
from deployments.queue import PREFIX, UNACKNOWLEDGED, UNACKNOWLEDGED_SINCE
from pipeline.webhooks import verify
from tests.buckets import running_bucket
from tests.deployments.test_arrivals import FILE, begun, connected
from tests.media.sounds import flac_silence
from tests.receiver import Receiver, receiving
from tests.service import Service, assert_same, record, running_service, silence
from tests.uploads import Json, Uploaded, heard_in, left_of, send, tiled, upload, wav_of

WORKER = "ServeReplica:tonetrack:RecordingWorker"
SECONDS = 300
MIDDLE = {"who speaks": 0.6, "how it sounds": 0.95}  # progress at which a step is not over yet
MIB = 2**20


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """One worker, which may try twice; little is taken, and webhooks may come here."""
    limits = {"max_upload_bytes": 24 * MIB, "max_recording_seconds": 1_200, "recording_tries": 2}
    with running_service(recording_max_workers=1, webhook_private=True, **limits) as service:
        yield service


@pytest.fixture(scope="module")
def long(small_conversation: Any) -> bytes:
    return wav_of(tiled(small_conversation[0], SECONDS))


@pytest.fixture(scope="module")
def undisturbed(strict: Service, long: bytes) -> tuple[Json, float]:
    """What is heard in it when nothing happens, and how long that takes."""

    async def heard() -> tuple[Json, float]:
        began = time.monotonic()
        timeline = await (await upload(strict.api, long)).heard()
        return timeline, time.monotonic() - began

    return asyncio.run(heard())


async def begun_again(recording: Uploaded, tries: int, seconds: float = 60) -> None:
    """Wait until somebody has begun it more often than that, or got further."""
    known = (await recording.job())["progress"]
    async with asyncio.timeout(seconds):
        while True:
            job = await recording.job()
            if job["tries"] > tries or job["progress"] > known:
                return
            await asyncio.sleep(0.05)


async def turns_told(recording: Uploaded) -> list[int]:
    """The turns in the event stream of the session that it has become, by id, as often as they come."""
    async with recording.client() as http:
        text = (await http.get(f"{recording.api}/v1/sessions/{recording.id}/events")).text
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-1]) == ("session.started", "session.ended")
    assert kinds.count("session.started") == kinds.count("session.ended") == 1
    return [event["turn"]["id"] for event in events if event["type"] == "turn.updated"]


async def disturbed(service: Service, sound: bytes, step: str, disturb: Callable[[], object]) -> Uploaded:
    """A recording that is disturbed in the middle of a step, and heard all the same."""
    seen: list[float] = []
    job: Json = {"state": "done"}
    async with asyncio.timeout(200):
        while job["state"] == "done" or not (job["step"] == step and 0.1 < job["progress"] < MIDDLE[step]):
            if job["state"] == "done":  # too late, on a busy machine
                recording = await upload(service.api, sound)
            await asyncio.sleep(0.02)
            job = await recording.job()
    with service.redis() as redis:
        noted = redis.hkeys(f"tonetrack:{{{recording.id}}}:notes")
    assert noted
    disturb()
    at = time.monotonic()
    await begun_again(recording, job["tries"])
    print(f"\n{step}: goes on {time.monotonic() - at:.1f} s after it was disturbed at {job['progress']:.0%}")
    while (told := await recording.job())["state"] == "running":
        seen.append(told["progress"])
        await asyncio.sleep(0.05)
    assert told["state"] == "done", told
    assert [job["progress"], *seen] == sorted([job["progress"], *seen]), "it begins anew"
    return recording


@pytest.mark.slow
async def test_a_killed_worker_costs_seconds_and_nothing_else(
    strict: Service, long: bytes, undisturbed: tuple[Json, float]
) -> None:
    recording = await disturbed(strict, long, "who speaks", lambda: strict.kill(WORKER))
    timeline = (await recording.get("/timeline")).json()
    assert heard_in(timeline) == heard_in(undisturbed[0])
    assert await turns_told(recording) == [turn["id"] for turn in timeline["turns"]]
    assert left_of(strict, recording.id), "it is still there"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "victims"),
    [
        ("how it sounds", [WORKER]),
        ("who speaks", ["ServeReplica:tonetrack:Diariser"]),
        ("how it sounds", ["ServeReplica:tonetrack:EmotionRecogniser"]),
        ("who speaks", ["ServeReplica:tonetrack:Diariser", WORKER, "ServeReplica:tonetrack:EmotionRecogniser"]),
    ],
)
async def test_whoever_is_killed_the_result_is_the_same(
    strict: Service, long: bytes, undisturbed: tuple[Json, float], step: str, victims: list[str]
) -> None:
    def kill() -> None:
        for victim in victims:
            matching = [pid for pid, command in strict.processes().items() if victim in command]
            assert matching
            for pid in matching:
                os.kill(pid, signal.SIGKILL)

    recording = await disturbed(strict, long, step, kill)
    timeline = (await recording.get("/timeline")).json()
    assert heard_in(timeline) == heard_in(undisturbed[0])
    assert await turns_told(recording) == [turn["id"] for turn in timeline["turns"]]


@pytest.mark.slow
async def test_redis_may_be_away_for_a_while(strict: Service, long: bytes, undisturbed: tuple[Json, float]) -> None:
    """It holds still for longer than a message waits for its worker's next sign."""
    (server,) = (pid for pid, command in strict.processes().items() if "redis-server" in command)

    def pause() -> None:
        os.kill(server, signal.SIGSTOP)
        time.sleep(8)
        os.kill(server, signal.SIGCONT)

    recording = await disturbed(strict, long, "who speaks", pause)
    assert heard_in((await recording.get("/timeline")).json()) == heard_in(undisturbed[0])
    assert await turns_told(recording) == [turn["id"] for turn in undisturbed[0]["turns"]]
    other = await upload(strict.api, wav_of(silence(3)))
    assert (await other.heard(60))["turns"] == []


@pytest.mark.slow
async def test_a_recording_that_the_queue_has_forgotten_is_heard(
    strict: Service, long: bytes, undisturbed: tuple[Json, float]
) -> None:
    """A worker that was taken for dead takes what it held off the queue when it comes to itself. The next worker, if it
    died then, used to leave a recording that nobody heard any more."""

    def forget_and_kill() -> None:
        with strict.redis() as redis:
            redis.delete(PREFIX + UNACKNOWLEDGED, PREFIX + UNACKNOWLEDGED_SINCE)
        strict.kill(WORKER)

    recording = await disturbed(strict, long, "who speaks", forget_and_kill)
    assert heard_in((await recording.get("/timeline")).json()) == heard_in(undisturbed[0])


@pytest.mark.slow
async def test_what_kills_its_workers_is_laid_aside_and_holds_up_nobody(
    strict: Service, long: bytes, undisturbed: tuple[Json, float]
) -> None:
    poison = await upload(strict.api, long)
    other = await upload(strict.api, wav_of(silence(3)), key=poison.key)
    killed = 0
    async with asyncio.timeout(200):
        while (job := await poison.job())["state"] in ("queued", "running"):
            if job["state"] == "running" and job["tries"] > killed:
                assert job["progress"] == 0
                strict.kill(WORKER)
                killed = job["tries"]
            await asyncio.sleep(0.02)
    assert killed == 2, "as often as the settings say"
    assert (job["state"], job["retryable"], job["audio"]) == ("failed", True, True)
    assert job["error"].startswith("It was begun 2 times and never got further, so it was laid aside; ")
    assert (await other.heard(120))["turns"] == []
    with strict.redis() as redis:
        assert redis.zrange("tonetrack:jobs:dead", 0, -1) == [poison.id.encode()]
        said = (await poison.get("/timeline", 409)).json()["detail"]
        assert said.startswith("It could not be heard. It was begun 2 times")
        async with poison.client() as http:
            answer = await http.post("/retry")
            assert answer.status_code == 202
            assert answer.json()["state"] in ("queued", "running"), "a worker may be quicker than the answer"
            assert answer.json()["progress"] == 0
            assert (await http.post("/retry")).status_code == 409
        assert redis.zrange("tonetrack:jobs:dead", 0, -1) == []
    assert heard_in(await poison.heard()) == heard_in(undisturbed[0])
    await poison.soundless()


@pytest.mark.slow
async def test_a_live_session_is_heard_meanwhile(service: Service, small_conversation: Any) -> None:
    alone, _, _ = await record(service.api, small_conversation[0], pace=2)
    undisturbed = await alone.get()
    hour = wav_of(tiled(small_conversation[0], 3_600))
    recordings = [await upload(service.api, hour) for _ in range(2)]
    await recordings[0].until("running")
    session = await open_session(service.api, "research")
    await record(service.api, small_conversation[0], pace=2, session=session)
    assert "running" in [(await recording.job())["state"] for recording in recordings], "nothing was heard meanwhile"
    for recording in recordings:
        async with recording.client() as http:
            await http.delete("")
    assert_same(await session.get(), undisturbed)
    hops = [event.heard_until async for _, event in session.events() if event.type == "hop.heard"]
    assert np.diff(hops)[:-1] == pytest.approx(0.5)


@pytest.mark.slow
async def test_workers_come_when_much_waits_and_go_afterwards(service: Service, long: bytes) -> None:
    def workers() -> int:
        return sum(WORKER in command for command in service.processes().values())

    recordings = [await upload(service.api, long) for _ in range(4)]
    most = 0
    while {(await recording.job())["state"] for recording in recordings} & {"queued", "running"}:
        most = max(most, workers())
        await asyncio.sleep(0.2)
    assert most == 2
    timelines = [await recording.heard() for recording in recordings]
    assert all(heard_in(timeline) == heard_in(timelines[0]) for timeline in timelines)
    async with asyncio.timeout(150):
        while workers() > 1:
            await asyncio.sleep(1)
    after = await upload(service.api, wav_of(silence(3)))
    assert (await after.heard(30))["turns"] == []
    with service.redis() as redis:
        assert redis.zcard("tonetrack:jobs:running") == redis.zcard("tonetrack:jobs:waiting") == 0


async def told(receiver: Receiver, count: int) -> list[Json]:
    """What came in, once that much has, and no more than that."""
    async with asyncio.timeout(60):
        while len(receiver.requests) < count:
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.2)
    assert len(receiver.requests) == count
    return [json.loads(request.body) for request in receiver.requests]


@pytest.mark.slow
async def test_a_webhook_is_told_once_what_became_of_a_recording(strict: Service, long: bytes) -> None:
    with receiving() as receiver:
        done = await upload(strict.api, wav_of(silence(2)), webhook=receiver.url)
        await done.until()
        unheard = await upload(strict.api, flac_silence(1_260, False), "endless.flac", webhook=receiver.url)
        job = await unheard.until()
        assert (job["state"], job["retryable"]) == ("failed", False), job
        cancelled = await upload(strict.api, long, webhook=receiver.url)
        async with cancelled.client() as http:
            assert (await http.post("/cancel")).status_code == 202
        await cancelled.until()
        events = await told(receiver, 3)
    wanted = {done.id: "recording.done", unheard.id: "recording.failed", cancelled.id: "recording.cancelled"}
    assert {event["recording"]["id"]: event["type"] for event in events} == wanted
    secrets = {one.id: one.webhook_secret for one in (done, unheard, cancelled)}
    for request, event in zip(receiver.requests, events, strict=True):
        recording = event["recording"]["id"]
        signature = request.headers["tonetrack-signature"]
        assert verify(secrets[recording], signature, request.body, time.time())
        assert not verify(secrets[recording] + "x", signature, request.body, time.time())
        for secret in (done.key, done.viewer_key, *secrets.values()):
            assert secret.encode() not in request.body
    for one in (done, unheard, cancelled):
        log = (await one.get("/deliveries")).json()["deliveries"]
        assert [(attempt["attempt"], attempt["status"]) for attempt in log] == [(1, 200)]
    assert (await unheard.job())["error"].startswith("This file is too long: ")


async def answered(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    with suppress(ConnectionError):  # a server that leaves in the middle of a body
        while block := await reader.read(10_000):
            answer += block
    return answer


@pytest.mark.slow
async def test_too_much_is_refused_while_it_arrives(strict: Service) -> None:
    """A body that does not say how long it is: the server takes little more than it may, and leaves."""
    reader, writer = await connected(strict.api)

    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data)

    writer.write(begun(strict.api, "Transfer-Encoding: chunked", chunk(FILE)))
    sent = 0
    block = chunk(bytes(MIB // 4))
    answering = asyncio.create_task(answered(reader))
    try:
        while sent < 400 * MIB:
            writer.write(block)
            await writer.drain()
            sent += MIB // 4
    except ConnectionError:
        pass
    async with asyncio.timeout(10):
        answer = (await answering).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert "A recording has 24 MiB at most; " in answer
    print(f"\n{sent / MIB:.0f} MiB went out, of 24 that are taken")
    assert 24 * MIB <= sent < 120 * MIB
    writer.close()
    with strict.redis() as redis:
        async with asyncio.timeout(10):
            while redis.zcard("tonetrack:jobs:arriving"):
                await asyncio.sleep(0.1)
    small = await send(strict.api, wav_of(silence(1)))
    assert small.status_code == 202


@pytest.mark.slow
async def test_sound_may_lie_in_a_bucket(small_conversation: Any) -> None:
    wav = wav_of(tiled(small_conversation[0], 200))  # more than one part
    with running_bucket("sound") as bucket:

        def names() -> set[str]:
            return {one["Key"] for one in bucket.list_objects_v2(Bucket="sound").get("Contents", [])}

        with running_service(blobs="s3://sound/of/ours", recording_max_workers=1) as service:
            assert names() == set()
            kept = await upload(service.api, wav, keep_audio="true")
            gone = await upload(service.api, wav)
            refused = await send(service.api, bytes(7 * MIB))
            assert refused.status_code == 415
            assert f"of/ours/{kept.id}" in names()
            assert heard_in(await gone.heard()) == heard_in(await kept.heard())
            assert names() == {f"of/ours/{kept.id}"}
            part = await kept.get("/audio", 206, range="bytes=6000000-6000099")
            assert part.content == wav[6_000_000:6_000_100]
            async with kept.client() as http:
                assert (await http.delete("")).status_code == 200
            assert names() == set()
            assert not bucket.list_multipart_uploads(Bucket="sound").get("Uploads")
