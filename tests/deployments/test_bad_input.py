"""What must not harm: each bad input gets a clear error or a calm nothing, and sessions live on."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from deployments.client import Recorder, Session, open_session
from deployments.protocol import Close, Hello, Ping, Stop, pack_frame
from tests.service import Service, frames, record, silence


async def answers(session: Session, *messages: str | bytes, url: str | None = None) -> tuple[list[Any], int]:
    """Everything the server says to these messages, and its close code."""
    said = []
    async with connect(url or session.socket, max_size=None) as socket:
        for message in messages:
            await socket.send(message)
        try:
            async with asyncio.timeout(20):
                while True:
                    said.append(json.loads(await socket.recv()))
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return said, closed.rcvd.code


def hello(session: Session, **more: Any) -> str:
    return Hello.model_validate({"key": session.recorder_key} | more).model_dump_json(exclude_none=True)


@pytest.fixture
async def session(service: Service) -> Session:
    return await open_session(service.api, "research")


@pytest.fixture(autouse=True)
async def neighbour(service: Service) -> Any:
    """Another session that records through it all, and must not notice."""
    recording = asyncio.create_task(record(service.api, silence(2.0), pace=2))
    yield
    _, recorder, seconds = await recording
    assert (recorder.reconnects, seconds) == (0, 2.0)


async def test_an_unknown_session(session: Session) -> None:
    said, code = await answers(session, hello(session), url=session.socket.replace(session.id, "f" * 16))
    assert code == Close.UNKNOWN_SESSION
    assert "never created, has expired, or was erased" in said[-1]["message"]


async def test_a_viewer_key_may_not_record(session: Session) -> None:
    said, code = await answers(session, hello(session, key=session.viewer_key))
    assert code == Close.WRONG_KEY
    assert "recorder key" in said[-1]["message"]


async def test_a_frame_too_large(session: Session) -> None:
    said, code = await answers(session, hello(session), pack_frame(0, bytes(65_538)))
    assert code == Close.TOO_LARGE
    assert "65536 bytes" in said[-1]["message"]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ('{"type": "hello"', "not understood"),
        ('{"type": "sing"}', "not understood"),
        ('{"type": "hello", "protocol": 2, "key": "k"}', "protocol"),
        ('{"type": "hello", "protocol": 1, "key": "k", "codec": "mp3"}', "codec"),
        ('{"type": "stop"}', "first message must be hello"),
        (b"\x00\x00\x00\x00audio", "first message must be hello"),
    ],
)
async def test_a_beginning_that_is_not_hello(session: Session, message: str | bytes, says: str) -> None:
    said, code = await answers(session, message)
    assert code == Close.BAD_MESSAGE
    assert says in said[-1]["message"]


async def test_a_beginning_that_is_too_long(session: Session) -> None:
    said, code = await answers(session, hello(session).ljust(2**20))
    assert code == Close.BAD_MESSAGE
    assert "more than 4 KiB" in said[-1]["message"]


@pytest.mark.parametrize("letter", ["x", "é"])
async def test_what_a_message_is_called_is_not_said_back_at_length(session: Session, letter: str) -> None:
    """A megabyte of it was; and where it was not ASCII, the line broke without a code."""
    said, code = await answers(session, json.dumps({"type": letter * 2_000}, ensure_ascii=False))
    assert code == Close.BAD_MESSAGE
    assert "not understood" in said[-1]["message"]
    assert len(said[-1]["message"]) < 400


@pytest.mark.parametrize(
    ("frame", "code"),
    [(b"", Close.BAD_MESSAGE), (b"\x00\x00\x00\x00", Close.BAD_MESSAGE), (pack_frame(0, b"odd"), Close.UNDECODABLE)],
)
async def test_frames_that_hold_no_audio(session: Session, frame: bytes, code: Close) -> None:
    said, closed = await answers(session, hello(session), frame)
    assert closed == code
    assert said[-1]["message"]


async def test_another_codec_than_the_session_has(session: Session) -> None:
    async with connect(session.socket) as socket:
        await socket.send(hello(session))
        assert json.loads(await socket.recv())["type"] == "welcome"
    said, code = await answers(session, hello(session, codec="webm"))
    assert code == Close.UNDECODABLE
    assert "recorded as pcm16" in said[-1]["message"]


async def test_garbage_instead_of_webm(session: Session) -> None:
    said, code = await answers(
        session, hello(session, codec="webm"), pack_frame(0, os.urandom(5_000)), Stop().model_dump_json()
    )
    assert code == Close.UNDECODABLE
    assert "not a webm recording" in said[-1]["message"]


async def test_a_page_from_a_foreign_origin(session: Session) -> None:
    async with connect(session.socket, origin="https://elsewhere.example") as socket:
        assert "origin" in json.loads(await socket.recv())["message"]


async def test_silence_is_heard_as_silence(service: Service) -> None:
    session, _, seconds = await record(service.api, silence(180), pace=0)
    timeline = await session.get()
    assert seconds == 180
    assert (timeline["heard_until"], timeline["turns"], timeline["readings"]) == (180, [], [])
    assert await session.get("/chunks/5") == {}


async def test_an_empty_recording_ends(session: Session) -> None:
    assert await Recorder(session).record(frames(silence(0))) == 0
    assert (await session.get())["ended"]


async def test_a_client_that_never_reads(service: Service, session: Session) -> None:
    """It sends without taking a single answer; what it sent is heard all the same."""
    async with connect(session.socket, max_queue=1) as socket:
        await socket.send(hello(session))
        for number in range(200):
            await socket.send(pack_frame(number, bytes(2_000)))
        async with asyncio.timeout(30):
            while (await session.get())["heard_until"] < 12:
                await asyncio.sleep(0.2)


async def test_who_says_nothing_takes_no_place(service: Service) -> None:
    """Sixty-four silent connections used to keep everyone else out."""
    line, elsewhere = f"{service.api.replace('http', 'ws')}/v1/sessions/none/audio", "203.0.113.{}"
    sockets = [
        await connect(line, additional_headers={"X-Forwarded-For": elsewhere.format(number // 10)})
        for number in range(70)
    ]
    try:
        _, recorder, seconds = await record(service.api, silence(0.5), pace=0)
        assert (recorder.reconnects, seconds) == (0, 0.5)
    finally:
        for socket in sockets:
            socket.transport.abort()


async def test_a_silent_client_is_let_go(session: Session) -> None:
    said, code = await answers(session, hello(session))
    assert code == Close.SILENT
    assert [answer["type"] for answer in said] == ["welcome", "error"]
    assert "No sign of life" in said[-1]["message"]


async def test_erasing_what_is_being_finished_answers_the_recorder(session: Session) -> None:
    """The recorder used to wait for ever."""
    async with connect(session.socket) as socket:
        await socket.send(hello(session))
        for number in range(40):
            await socket.send(pack_frame(number, bytes(64_000)))
        await socket.send(Stop().model_dump_json())
        answer = {}
        while answer.get("next_frame") != 40:
            answer = json.loads(await socket.recv())
        await session.erase()
        async with asyncio.timeout(15):
            while (answer := json.loads(await socket.recv()))["type"] == "ack":
                pass
    assert answer["type"] in ("error", "stopped")


async def keep_alive(socket: ClientConnection) -> None:
    """Say every now and then that one is still there, as a recorder does."""
    while True:
        await socket.send(Ping().model_dump_json())
        await asyncio.sleep(1)


async def test_pings_are_answered_while_the_rest_is_heard(session: Session) -> None:
    async with connect(session.socket) as socket:
        await socket.send(hello(session))
        for number in range(60):
            await socket.send(pack_frame(number, bytes(64_000)))
        await socket.send(Stop().model_dump_json())
        pinging, types = asyncio.create_task(keep_alive(socket)), []
        async with asyncio.timeout(120):
            while not types or types[-1] != "stopped":
                types.append(json.loads(await socket.recv())["type"])
        pinging.cancel()
    assert "pong" in types


class TestHttp:
    @pytest.mark.parametrize(
        "body",
        [
            '{"purpose": "research", "consent": "yes"}',
            '{"purpose": "   ", "consent": true}',
            '{"purpose": "\\ud800", "consent": true}',
            '{"purpose": "research", "consent": true, "name": "a\\u0000b"}',
            '{"purpose": "research", "consent": true, "colour": "red"}',
            "[]",
            "{",
        ],
    )
    async def test_requests_that_are_not_understood(self, service: Service, body: str) -> None:
        async with httpx.AsyncClient(base_url=service.api) as http:
            headers = {"Content-Type": "application/json"}
            refused = await http.post("/v1/sessions", content=body.encode(), headers=headers)
        assert refused.status_code == 422
        assert refused.json()["detail"]

    async def test_requests_that_are_too_long(self, service: Service, session: Session) -> None:
        """They were read whole before anything of them was looked at."""
        headers = {"Authorization": f"Bearer {session.recorder_key}"}
        path = f"/v1/sessions/{session.id}"
        async with httpx.AsyncClient(base_url=service.api, headers=headers, timeout=60) as http:
            for method, where in (("POST", "/v1/sessions"), ("PATCH", f"{path}/speakers/1")):
                refused = await http.request(method, where, json={"name": "x" * 2**22})
                assert refused.status_code == 413
                assert "64 KiB at most" in refused.json()["detail"]
            assert (await http.request("GET", path, content=b"x" * 2**20)).status_code == 200  # nobody reads it
            names = {f"\u202e{number}\n": 1 for number in range(500)}
            told = (await http.post("/v1/sessions", json=names)).json()["detail"]
        assert told.isprintable()
        assert len(told) < 2_000

    async def test_numbers_beyond_reason(self, service: Service, session: Session) -> None:
        headers = {"Authorization": f"Bearer {session.viewer_key}"}
        path = f"/v1/sessions/{session.id}"
        async with httpx.AsyncClient(base_url=service.api, headers=headers) as http:
            assert (await http.get(f"{path}/chunks/{'9' * 400}")).status_code == 422
            far = await http.get(f"{path}/events", headers={"Last-Event-ID": "9" * 26})
            assert far.status_code == 422

    async def test_consent_is_a_must(self, service: Service) -> None:
        async with httpx.AsyncClient(base_url=service.api) as http:
            refused = await http.post("/v1/sessions", json={"purpose": "research", "consent": False})
            nameless = await http.post("/v1/sessions", json={"consent": True})
        assert refused.status_code == 422
        assert "must agree" in refused.json()["detail"]
        assert nameless.status_code == 422

    async def test_keys(self, service: Service, session: Session) -> None:
        path = f"/v1/sessions/{session.id}"
        async with httpx.AsyncClient(base_url=service.api) as http:

            async def status(method: str, key: str | None) -> int:
                headers = {} if key is None else {"Authorization": f"Bearer {key}"}
                return (await http.request(method, path, headers=headers)).status_code

            assert await status("GET", None) == 401
            assert await status("GET", "wrong") == 403
            assert await status("GET", session.viewer_key) == 200
            assert await status("GET", session.recorder_key) == 200
            assert await status("DELETE", session.viewer_key) == 403
            assert await status("DELETE", session.recorder_key) == 200
            assert await status("GET", session.recorder_key) == 404

    async def test_a_chunk_that_is_not_closed(self, session: Session) -> None:
        with pytest.raises(httpx.HTTPStatusError) as missing:
            await session.get("/chunks/0")
        assert missing.value.response.status_code == 404
        assert "closes at 30 s" in missing.value.response.json()["detail"]

    async def test_erasing_mid_recording_ends_it(self, service: Service, session: Session) -> None:
        recording = asyncio.create_task(Recorder(session).record(frames(silence(20), pace=1)))
        await asyncio.sleep(1)
        assert session.id in (await session.erase())["erased"]
        with pytest.raises(Exception, match="erased"):
            await recording
