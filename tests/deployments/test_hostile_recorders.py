"""Recorders that mean harm: each is told why it has to go, and nobody else notices that it was there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import httpx
import psutil
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from deployments.client import Session
from deployments.context import Context
from deployments.gate import Gate
from deployments.protocol import Close, Hello, Ping, Stop, pack_frame
from deployments.routes import audio
from deployments.sessions import SessionActor
from deployments.settings import Settings
from pipeline.session import Frame, NewSession, SessionRequest
from pipeline.store import SessionStore
from pipeline.store import connect as redis_at
from tests.deployments.actors import FRAME, Actors
from tests.deployments.doors import at_ease
from tests.deployments.hostile import Hostile, Message
from tests.service import Pcm, Service, assert_same, record

AT_ONCE = 8
CLOSES = {int(code) for code in Close}
PROXYS = {1007, 1009}  # what the proxy closes with, by PROTOCOL.md
MEGABYTE = 2**20


@dataclass
class Rig:
    """The recorder's route in this process, over a real Redis and a real actor, without a cluster and its wires."""

    api: FastAPI
    context: Context
    actor: SessionActor
    store: SessionStore
    closed: Counter[int | None] = field(default_factory=Counter)
    said: deque[str] = field(default_factory=lambda: deque(maxlen=100))  # by the server, lately

    async def open(self) -> NewSession:
        return await self.store.create(SessionRequest(purpose="research", consent=True))

    async def line(
        self, session: str, messages: Iterable[Message], pause: float, patience: float, address: str = "192.0.2.1"
    ) -> int | None:
        """Send these, wait for so many seconds, hang up; the code that the server closes with, or None without one."""
        arriving: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        code = None

        async def send(message: Any) -> None:
            nonlocal code
            if message["type"] == "websocket.close":
                code = message["code"]
                assert len((message.get("reason") or "").encode()) <= 123
            elif message["type"] == "websocket.send":
                json.loads(message["text"])
                assert len(message["text"]) < 1_000
                self.said.append(message["text"])

        path = f"/v1/sessions/{session}/audio"
        scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "headers": [], "query_string": b""}
        scope["client"] = (address, 1)
        serving = asyncio.create_task(self.api(scope, arriving.get, send))
        arriving.put_nowait({"type": "websocket.connect"})
        for message in messages:
            kind = "text" if isinstance(message, str) else "bytes"
            arriving.put_nowait({"type": "websocket.receive", kind: message})
            await asyncio.sleep(pause)
        await asyncio.wait({serving}, timeout=patience)
        arriving.put_nowait({"type": "websocket.disconnect", "code": 1006})
        async with asyncio.timeout(60):
            await serving  # raises what the route lets through
        return code

    async def harm(self, seed: int) -> None:
        """One hostile recorder, who may hang up at any moment; then its session is erased."""
        session = await self.open()
        messages = list(Hostile(seed, session.recorder_key).messages())
        chance = random.Random(seed)
        if chance.random() < 0.2:
            messages = messages[: chance.randint(0, len(messages))]
        self.closed[await self.line(session.id, messages, 0, chance.choice((0, 0, 0.2)))] += 1
        await self.store.erase(session.id)
        await self.actor.drop(session.id)

    async def talk(self, pcm: Pcm) -> Any:
        """A well-behaved recorder; what is heard of it."""
        session = await self.open()
        hello = Hello(key=session.recorder_key).model_dump_json(exclude_none=True)
        frames = [pcm[start : start + FRAME].tobytes() for start in range(0, len(pcm), FRAME)]
        numbered = [pack_frame(number, data) for number, data in enumerate(frames)]
        assert await self.line(session.id, [hello, *numbered, Stop().model_dump_json()], 0.01, 60) == Close.DONE
        return (await self.store.timeline(session.id)).document()


@pytest.fixture
async def rig(url: str, actors: Actors, store: SessionStore) -> Rig:
    actor = await actors.start()

    def remote(method: Callable[..., Any]) -> Any:
        return SimpleNamespace(remote=lambda *arguments: asyncio.ensure_future(method(*arguments)))

    async def hear(session: str, frame: Frame) -> int:
        ((waiting,), _) = await actor.hear([(session, frame)])
        return waiting

    handle = SimpleNamespace(finish=remote(actor.finish))
    pool = at_ease(
        actor=lambda _: handle,
        cadence=lambda _: 1,
        hear=lambda session, frame: asyncio.ensure_future(hear(session, frame)),
    )
    settings = Settings(redis_url=url, recorders_per_caller=1_000, wrong_keys_per_minute=10_000)
    gate = Gate(settings, redis_at(url))
    context = Context(settings, store, cast(Any, pool), cast(Any, None), cast(Any, None), gate)
    api = FastAPI()
    api.state.context = context
    api.include_router(audio.router)
    return Rig(api, context, actor, store)


async def in_turn(work: Callable[[int], Any], count: int) -> None:
    """So many pieces of work, some of them at once."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await work(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
async def test_thousands_of_hostile_recorders_leave_nothing_behind(
    rig: Rig, small_conversation: Any, count: int, note: Any
) -> None:
    pcm = small_conversation[0][: 60 * FRAME]
    undisturbed = await rig.talk(pcm)
    await in_turn(lambda number: rig.harm(-1 - number), 100)  # what libraries keep for good is there by now
    before = psutil.Process().memory_info().rss
    neighbour = asyncio.create_task(rig.talk(pcm))
    await in_turn(rig.harm, count)
    assert_same(await neighbour, undisturbed)
    grown = (psutil.Process().memory_info().rss - before) / MEGABYTE
    note(f"MB more after {count} hostile recorders", grown)
    assert grown < 100
    assert set(rig.closed) <= CLOSES | {None}
    wanted = {Close.BAD_MESSAGE, Close.TOO_LARGE, Close.UNDECODABLE, Close.DONE, Close.OVER}
    assert wanted - {Close.OVER} <= set(rig.closed), rig.closed
    assert (rig.context.pool.recorders, len(rig.context.waiting)) == (0, 0)
    assert not rig.actor._live
    async with asyncio.timeout(10):
        while any(thread.name == "webm" for thread in threading.enumerate()):  # decoders end by themselves
            await asyncio.sleep(0.1)


async def test_who_says_nothing_keeps_nobody_else_out(rig: Rig) -> None:
    """One address took all the places of those who have not said hello yet, for ten seconds each."""
    session = await rig.open()
    hello = Hello(key=session.recorder_key).model_dump_json(exclude_none=True)
    crowd = rig.context.settings.max_waiting + 8
    silent = [asyncio.create_task(rig.line(session.id, [], 0, 5, "192.0.2.1")) for _ in range(crowd)]
    while len(rig.context.waiting) + sum(one.done() for one in silent) < crowd:
        await asyncio.sleep(0.01)
    assert await rig.line(session.id, [hello, Stop().model_dump_json()], 0, 10, "192.0.2.2") == Close.DONE
    assert Counter(await asyncio.gather(*silent)) == {None: audio.MOST_SILENT, Close.BUSY: crowd - audio.MOST_SILENT}
    assert json.loads(next(said for said in rig.said if "busy" in said))["message"] == audio.TOO_MANY_SILENT
    assert len(rig.context.waiting) == 0
    again = await rig.open()
    hello = Hello(key=again.recorder_key).model_dump_json(exclude_none=True)
    assert await rig.line(again.id, [hello, Stop().model_dump_json()], 0, 10, "192.0.2.1") == Close.DONE


async def test_a_message_that_is_too_long_is_not_understood_at_all(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await rig.open()
    key = {"key": session.recorder_key}
    understood: list[int] = []
    taken = audio.from_recorder.validate_json
    monkeypatch.setattr(
        audio,
        "from_recorder",
        SimpleNamespace(validate_json=lambda text: understood.append(len(text)) or taken(text)),
    )
    hello = Hello.model_validate(key).model_dump_json(exclude_none=True)
    for padded, code in ((audio.LONGEST_TEXT, Close.DONE), (audio.LONGEST_TEXT + 1, Close.BAD_MESSAGE)):
        assert await rig.line(session.id, [hello.ljust(padded), Stop().model_dump_json()], 0, 10) == code
    assert max(understood) == audio.LONGEST_TEXT
    assert "more than 4 KiB" in rig.said[-1]


@pytest.mark.parametrize("message", [b"", pack_frame(0, bytes(64))], ids=["empty", "frame"])
async def test_nothing_but_pings_comes_while_the_rest_is_heard(rig: Rig, message: bytes) -> None:
    """Whatever else was binary was taken for nothing, so there could be any number of it."""
    session = await rig.open()
    never = SimpleNamespace(remote=lambda _: asyncio.get_running_loop().create_future())
    rig.context.pool.actor = lambda _: cast(Any, SimpleNamespace(finish=never))  # type: ignore[method-assign]
    hello = Hello(key=session.recorder_key).model_dump_json(exclude_none=True)
    sent = [hello, Stop().model_dump_json(), Ping().model_dump_json(), message]
    assert await rig.line(session.id, sent, 0, 10) == Close.BAD_MESSAGE
    assert "pong" in rig.said[-2]
    assert "No frame follows stop." in rig.said[-1]


async def test_a_service_outlives_hostile_recorders(service: Service, small_conversation: Any) -> None:
    """Over real wires, where messages may also be too long for the proxy, or no text at all."""
    undisturbed, _, _ = await record(service.api, small_conversation[0])
    replicas = {pid for pid, command in service.processes().items() if "ray::" in command}
    neighbour = asyncio.create_task(record(service.api, small_conversation[0]))
    closed: Counter[int] = Counter()

    async def harm(number: int) -> None:
        created = (await http.post("/v1/sessions", json={"purpose": "research", "consent": True})).json()
        session = Session(service.api, created["id"], created["recorder_key"], created["viewer_key"])
        messages: Iterable[Message] = Hostile(number, session.recorder_key).messages()
        if number == 0:
            messages = [Hello(key=session.recorder_key).model_dump_json(exclude_none=True), bytes(MEGABYTE + 1)]
        with contextlib.suppress(TimeoutError):
            closed[await said_to(session, messages, patience=20 if number == 0 else number % 3 / 5)] += 1

    async with httpx.AsyncClient(base_url=service.api, timeout=60) as http:
        await in_turn(harm, 60)
    assert set(closed) <= CLOSES | PROXYS, closed
    assert {Close.BAD_MESSAGE, 1009} <= set(closed)
    heard, recorder, _ = await neighbour
    assert recorder.reconnects == 0
    assert_same(await heard.get(), await undisturbed.get())
    assert replicas <= service.processes().keys(), "a process was started anew"


async def said_to(session: Session, messages: Iterable[Message], patience: float) -> int:
    """The code that a server closes with after these messages. Raises `TimeoutError` where it does not."""
    async with connect(session.socket, max_size=None) as socket:
        try:
            for message in messages:
                await socket.send(message)
            async with asyncio.timeout(patience):
                while True:
                    await socket.recv()
        except ConnectionClosed as end:
            assert end.rcvd is not None, f"no reason was given: {end}"
            return end.rcvd.code
