"""A conversation recorded over the line: whatever breaks on the way, the timeline is that of an undisturbed run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import connect

from deployments.client import Recorder, RecordingRefused, open_session
from deployments.protocol import Close, Hello, pack_frame
from deployments.recorder import lag_of
from pipeline.events import parse
from pipeline.timeline import EMOTIONS, HOP_SECONDS, SAMPLE_RATE, UNSURE, Timeline
from tests.service import Pcm, Service, assert_same, frames, record, silence
from tests.talkers import Said

HALF = 3.0  # s of wall clock: about the middle of the conversation at four times its pace


@pytest.fixture(scope="module")
def undisturbed(service: Service, small_conversation: tuple[Pcm, list[Said]]) -> Any:
    async def run() -> Any:
        session, recorder, _ = await record(service.api, small_conversation[0])
        assert recorder.reconnects == 0
        return await session.get()

    return asyncio.run(run())


def test_two_talkers_are_told_apart(undisturbed: Any, small_conversation: tuple[Pcm, list[Said]]) -> None:
    pcm, said = small_conversation
    assert undisturbed["ended"]
    assert undisturbed["heard_until"] == pytest.approx(len(pcm) / SAMPLE_RATE, abs=0.001)
    assert undisturbed["speakers"] == [1, 2]
    right = 0.0
    for line in said:
        middle = (line.start + line.end) / 2
        speakers = {turn["speaker"] for turn in undisturbed["turns"] if turn["start"] <= middle < turn["end"]}
        right += speakers == {line.talker + 1}
    assert right / len(said) >= 0.8


def test_every_turn_is_final_and_read(undisturbed: Any) -> None:
    assert all(turn["final"] for turn in undisturbed["turns"])
    spoken = sum(turn["end"] - turn["start"] for turn in undisturbed["turns"])
    read = sum(reading["end"] - reading["start"] for reading in undisturbed["readings"])
    assert read / spoken > 0.9
    for reading in undisturbed["readings"]:
        assert sum(reading["probabilities"]) == pytest.approx(1, abs=0.001)
        assert reading["label"] in (*EMOTIONS, UNSURE)
        assert reading["model"]


async def test_a_broken_line_changes_nothing(service: Service, small_conversation: Any, undisturbed: Any) -> None:
    session = await open_session(service.api, "research")
    recorder = Recorder(session)
    recording = asyncio.create_task(recorder.record(frames(small_conversation[0])))
    for _ in range(3):
        await asyncio.sleep(HALF / 2)
        recorder.interrupt()
    await recording
    assert recorder.reconnects >= 3
    assert_same(await session.get(), undisturbed)


@pytest.mark.parametrize(
    "victim",
    [
        "ray::SessionActor",
        "ServeReplica:tonetrack:Diariser",
        pytest.param("ServeReplica:tonetrack:Ingress", marks=pytest.mark.slow),
        pytest.param("ServeReplica:tonetrack:EmotionRecogniser", marks=pytest.mark.slow),
    ],
)
async def test_a_killed_process_changes_nothing(
    service: Service, small_conversation: Any, undisturbed: Any, victim: str
) -> None:
    session = await open_session(service.api, "research")
    recording = asyncio.create_task(Recorder(session).record(frames(small_conversation[0])))
    await asyncio.sleep(HALF)
    service.kill(victim)
    async with asyncio.timeout(90):
        await recording
    assert_same(await session.get(), undisturbed)


async def test_pace_changes_nothing(service: Service, small_conversation: Any, undisturbed: Any) -> None:
    session, _, _ = await record(service.api, small_conversation[0], pace=0)
    assert_same(await session.get(), undisturbed)


async def test_webm_is_heard_and_survives_a_broken_line(service: Service, small_conversation: Any) -> None:
    pcm, _ = small_conversation
    whole, _, seconds = await record(service.api, pcm, "webm")
    assert seconds == pytest.approx(len(pcm) / SAMPLE_RATE, abs=0.1)
    session = await open_session(service.api, "research")
    recorder = Recorder(session, "webm")
    recording = asyncio.create_task(recorder.record(frames(pcm, "webm")))
    await asyncio.sleep(HALF)
    recorder.interrupt()
    await recording
    assert recorder.reconnects == 1
    timeline = await session.get()
    assert timeline["speakers"] == [1, 2]
    assert_same(timeline, await whole.get())


async def test_webm_can_be_finished_by_who_has_no_more_to_send(service: Service, small_conversation: Any) -> None:
    """A page that was reloaded cannot go on with the stream of its old MediaRecorder, but it can stop the session."""
    session = await open_session(service.api, "research")
    hello = Hello(key=session.recorder_key, codec="webm").model_dump_json(exclude_none=True)
    async with connect(session.socket) as socket:
        await socket.send(hello)
        number = 0
        async for frame in frames(small_conversation[0], "webm", pace=0):
            await socket.send(pack_frame(number, frame))
            number += 1
        while json.loads(await socket.recv()).get("next_frame") != number:
            pass
    assert await Recorder(session, "webm").record(frames(silence(0))) == pytest.approx(24, abs=1)
    assert (await session.get())["speakers"] == [1, 2]


async def test_neighbours_do_not_change_each_other(service: Service, small_conversation: Any, undisturbed: Any) -> None:
    sessions = await asyncio.gather(*(record(service.api, small_conversation[0]) for _ in range(3)))
    for session, _, _ in sessions:
        assert_same(await session.get(), undisturbed)


async def test_events_tell_the_same_story_as_the_timeline(service: Service, small_conversation: Any) -> None:
    session, _, _ = await record(service.api, small_conversation[0])
    told, entries = Timeline(), []
    events = [pair async for pair in session.events()]
    for entry, event in events:
        event.apply(told)
        entries.append(entry)
    timeline = await session.get()
    assert [turn.model_dump() for turn in sorted(told.turns.values(), key=lambda t: t.start)] == timeline["turns"]
    assert json.loads(json.dumps(told.document()))["readings"] == timeline["readings"]
    hops = [event.heard_until for _, event in events if event.type == "hop.heard"]
    assert hops == sorted(set(hops)), "a hop was published twice, or out of order"
    assert np.diff(hops)[:-1] == pytest.approx(HOP_SECONDS)
    assert all(lag >= 0 for _, event in events if (lag := lag_of(event)) is not None)
    rest = [event async for _, event in session.events(after=entries[9])]
    assert rest == [parse(event.model_dump_json()) for _, event in events[10:]]


async def test_chunks_close_every_thirty_seconds(service: Service, small_conversation: Any) -> None:
    pcm, _ = small_conversation
    session, _, _ = await record(service.api, np.concatenate([pcm, pcm]), pace=0)
    first, second = await session.get("/chunks/0"), await session.get("/chunks/1")
    for chunk, start, end in ((first, 0, 30), (second, 30, 60)):
        assert set(chunk) == {"1", "2"}
        for share in chunk.values():
            assert share.keys() == {"start_times", "end_times", "emotion"}
            stretches = list(zip(share["start_times"], share["end_times"], strict=True))
            assert all(start <= begin < stop <= end for begin, stop in stretches)
            assert len(share["emotion"]) == sum(int(np.ceil(round(stop - begin, 6))) for begin, stop in stretches)
            assert set(share["emotion"]) <= {*EMOTIONS, UNSURE}
    closed = [event.number async for _, event in session.events() if event.type == "chunk.closed"]
    assert closed == [0, 1]


async def test_the_sound_goes_with_the_end(service: Service, small_conversation: Any) -> None:
    session, _, _ = await record(service.api, small_conversation[0][: 8 * SAMPLE_RATE], "webm", pace=0)
    with service.redis() as redis:
        keys = {key.decode() for key in redis.scan_iter(f"*{session.id}*")}
    assert keys == {f"tonetrack:{{{session.id}}}", f"tonetrack:{{{session.id}}}:events"}


async def test_a_second_recorder_takes_over(service: Service, small_conversation: Any) -> None:
    session = await open_session(service.api, "research")
    first = asyncio.create_task(Recorder(session).record(frames(small_conversation[0], pace=1)))
    await asyncio.sleep(1)
    second = asyncio.create_task(Recorder(session).record(frames(small_conversation[0][:SAMPLE_RATE], pace=1)))
    with pytest.raises(RecordingRefused, match="taken this session over") as refused:
        await first
    assert refused.value.code == Close.TAKEN_OVER
    assert await second > 1.0
