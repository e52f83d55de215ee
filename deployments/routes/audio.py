"""The recorder's WebSocket: hello, frames in, acknowledgements out. See PROTOCOL.md."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, MutableMapping
from contextlib import ExitStack, suppress
from math import inf
from typing import Any, Final

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ValidationError
from redis.exceptions import RedisError

from deployments.context import FULL, Context
from deployments.gate import Caller, Limited
from deployments.metrics import LIVE_RECORDERS, REFUSED
from deployments.origins import welcome
from deployments.protocol import (
    Ack,
    Close,
    Failed,
    FromRecorder,
    Hello,
    Ping,
    Pong,
    Refused,
    Stop,
    Stopped,
    Welcome,
    from_recorder,
    unpack_frame,
)
from deployments.recording import Recording, open_recording
from deployments.room import Crowded, NoPlace
from deployments.routes.access import TheContext, address_of
from deployments.routes.errors import UNKNOWN
from pipeline import tasks
from pipeline.audio import UndecodableAudio
from pipeline.keys import WrongKey
from pipeline.logs import about
from pipeline.plain import one_line
from pipeline.quotas import from_address
from pipeline.session import Codec, FrameGap, OtherCodec, Role, SessionOver, TakenOver, UnknownSession

HELLO_SECONDS = 10.0  # from connecting to hello
MOST_SILENT: Final = 16  # connections of one address to a replica that have not said hello: it is said within a trip
MOST_LINES: Final = 8  # connections that record one session: a network may break some before anybody notices
LONGEST_TEXT: Final = 4_096  # bytes of a message that is no frame; a hello has some 200
SEND_SECONDS = 10.0  # a recorder that does not take an answer for so long is gone
LONGEST_MISTAKE = 300  # characters of what is said of a message, some of which may be its sender's
STORE_SECONDS = 5.0  # that a frame may take into the journal before its recorder is told to come back
TOO_MANY_SILENT: Final = (
    f"{MOST_SILENT} connections from this address have not said hello yet, and no more may wait; come back shortly."
)
TOO_MANY_LINES: Final = (
    f"{MOST_LINES} connections record this session, and no more may; close one, or come back shortly."
)
STORE_AWAY = "The store does not answer. Come back; nothing acknowledged is lost."

logger = logging.getLogger("ray.serve")
router = APIRouter()


@router.websocket("/v1/sessions/{session}/audio")
async def record(socket: WebSocket, session: str, context: TheContext) -> None:
    """Record a session. Ends with one of the close codes of `deployments.protocol.Close`."""
    about(session=session)
    await socket.accept()
    line = _Line(socket, context, session)
    try:
        await line.serve()
    except Refused as refusal:
        await line.refuse(refusal)
    except (WebSocketDisconnect, TimeoutError):
        pass  # gone without a word: what was acknowledged is safe, and the session waits for a recorder
    except RedisError:
        logger.exception("the journal could not be written")
        await line.refuse(Refused(Close.TROUBLE, STORE_AWAY))
    finally:
        await line.leave()


class _Line:
    """One recorder's connection, from hello to close."""

    def __init__(self, socket: WebSocket, context: Context, session: str) -> None:
        self._socket = socket
        self._context = context
        self._session = session
        self._recording: Recording | None = None
        self._admitted = False
        self._stay = ExitStack()  # what it holds among this session's lines
        self._caller: Caller | None = None  # whose place this takes
        self._id = secrets.token_hex(8)
        self._held_at = 0.0

    async def serve(self) -> None:
        """Answer the recorder until it stops. Raises `Refused` where it must not go on."""
        try:
            hello, caller = await self._admit()
            codec = Codec[hello.codec.upper()]
            self._recording = await open_recording(self._context, self._session, codec, hello.recorder)
            await self._hold(caller, takes_over=True)
            await self._say(
                Welcome(
                    next_frame=self._recording.next_frame,
                    heartbeat=self._context.settings.heartbeat,
                    max_frame_bytes=self._context.settings.max_frame_bytes,
                )
            )
            while not isinstance(message := await self._receive(), Stop):
                match message:
                    case bytes():
                        await self._take(self._recording, message)
                    case Ping():
                        await self._say(Pong())
                    case Hello():
                        raise Refused(Close.BAD_MESSAGE, "hello is said once, at the beginning.")
            await self._bid_farewell(await self._patiently(self._recording.stop()))
        except UnknownSession as error:
            raise Refused(Close.UNKNOWN_SESSION, UNKNOWN) from error
        except SessionOver:
            if self._recording:
                raise Refused(Close.OVER, "This session was stopped; open a new one to record more.") from None
            await self._bid_farewell(await self._patiently(self._hear_the_rest()))
        except TakenOver as error:
            raise Refused(Close.TAKEN_OVER, "Another recorder has taken this session over.") from error
        except FrameGap as gap:
            raise Refused(Close.BAD_MESSAGE, f"{gap}; frames are numbered one by one from welcome on.") from gap
        except OtherCodec as other:
            raise Refused(Close.UNDECODABLE, f"{other}; a session keeps its codec.") from other
        except UndecodableAudio as error:
            raise Refused(Close.UNDECODABLE, f"The audio cannot be decoded: {error}.") from error

    async def refuse(self, refusal: Refused) -> None:
        """Say why, then close."""
        REFUSED.inc(1, {"reason": refusal.code.name.lower()})
        logger.info("refused: %s", refusal.code.name.lower())
        try:
            await self._say(Failed(code=refusal.code.name.lower(), message=refusal.message))
            await self._socket.close(refusal.code, refusal.reason)
        except (RuntimeError, WebSocketDisconnect, TimeoutError):
            pass  # nobody is there to hear it

    async def leave(self) -> None:
        """Let go of what this connection held."""
        self._stay.close()
        self._context.door.left(self._id)
        self._context.pool.recorders -= self._admitted
        LIVE_RECORDERS.set(self._context.pool.recorders)
        if self._recording:
            await self._recording.leave()
        if self._caller:
            with suppress(RedisError):  # or it is free again by itself
                await self._context.gate.let_go(self._caller, self._session, self._id)

    async def _hear_the_rest(self) -> float:
        seconds: float = await self._context.pool.actor(self._session).finish.remote(self._session)
        return seconds

    async def _patiently(self, ending: Coroutine[Any, Any, float]) -> float:
        """Wait for an end that may take long, and go on answering pings meanwhile."""
        task, pings = asyncio.create_task(ending), asyncio.create_task(self._answer_pings())
        try:
            await asyncio.wait({task, pings}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                pings.result()  # raises what ended the line; the actor hears the rest all the same
            return await task
        finally:
            await tasks.end(task, pings)

    async def _answer_pings(self) -> None:
        while True:
            match await self._receive():
                case Ping():
                    await self._say(Pong())
                case bytes():  # taken for nothing, they could go on for as long as there is much to hear
                    raise Refused(Close.BAD_MESSAGE, "No frame follows stop.")

    async def _bid_farewell(self, seconds: float) -> None:
        await self._say(Stopped(seconds=round(seconds, 3)))
        await self._socket.close(Close.DONE)

    async def _admit(self) -> tuple[Hello, Caller]:
        if not welcome(self._socket.headers, self._context.settings):
            raise Refused(Close.WRONG_KEY, "Pages from this origin may not record; see TONETRACK_ALLOWED_ORIGINS.")
        hello = await self._hello()
        address = address_of(self._socket)
        try:
            async with self._context.gate.guarded(address):
                if await self._context.store.role(self._session, hello.key) is not Role.RECORDER:
                    raise WrongKey("This key may not record in this session; use its recorder key.")
            await self._context.gate.answer(hello.key, address)
        except WrongKey as error:
            raise Refused(Close.WRONG_KEY, str(error)) from error
        except Limited as error:
            raise Refused(Close.BUSY, str(error)) from error
        try:
            self._stay.enter_context(self._context.lines.place(self._session, inf, MOST_LINES))
        except Crowded as error:
            raise Refused(Close.BUSY, TOO_MANY_LINES) from error
        caller = Caller(await self._context.store.opened_with(self._session), address)
        await self._hold(caller)
        if await self._no_room():
            raise Refused(Close.BUSY, FULL)
        self._context.pool.recorders += 1
        self._admitted = True
        return hello, caller

    async def _no_room(self) -> bool:
        """Whether this recorder must come another time. Who comes back after a broken line is no newcomer."""
        context = self._context
        if context.taken:
            return True
        newcomer = await context.store.waits(self._session, 0)
        if newcomer and (await context.gate.nearly_full() or not await context.door.admits(self._id, context.pool)):
            return True
        return context.taken  # by those who came meanwhile

    async def _hold(self, caller: Caller, takes_over: bool = False) -> None:
        """Take a place of those that a caller has, or go on holding it."""
        try:
            held = await self._context.gate.hold(caller, self._session, self._id, takes_over)
        except WrongKey as error:
            raise Refused(Close.WRONG_KEY, str(error)) from error
        if not held:
            most = self._context.settings.recorders_per_caller
            raise Refused(
                Close.BUSY, f"As many as may be are recorded from {caller}: {most} at once; stop one of them."
            )
        self._caller, self._held_at = caller, time.monotonic()

    async def _hello(self) -> Hello:
        """The first message. Who says nothing takes no recorder's place."""
        address, most = address_of(self._socket), self._context.settings.max_waiting
        try:
            with self._context.waiting.place(from_address(address), most, MOST_SILENT):
                hello = await self._receive(HELLO_SECONDS)
        except Crowded as error:
            raise Refused(Close.BUSY, TOO_MANY_SILENT) from error
        except NoPlace as error:
            raise Refused(Close.BUSY, FULL) from error
        if not isinstance(hello, Hello):
            raise Refused(Close.BAD_MESSAGE, "The first message must be hello.")
        return hello

    async def _take(self, recording: Recording, message: bytes) -> None:
        LIVE_RECORDERS.set(self._context.pool.recorders)
        limit = self._context.settings.max_frame_bytes
        if len(message) > limit + 4:
            raise Refused(
                Close.TOO_LARGE,
                f"A frame may hold {limit} bytes of audio; this one holds {len(message) - 4}.",
            )
        number, payload = unpack_frame(message)
        try:
            async with asyncio.timeout(STORE_SECONDS):
                next_frame = await recording.take(number, payload, time.time())
        except TimeoutError as error:
            raise Refused(Close.TROUBLE, STORE_AWAY) from error
        await self._say(Ack(next_frame=next_frame))
        await recording.keep_pace()

    async def _receive(self, patience: float | None = None) -> FromRecorder | bytes:
        """The next message. Raises `Refused` for nonsense, and after three silent heartbeats or `patience` seconds."""
        try:
            async with asyncio.timeout(patience or 3 * self._context.settings.heartbeat):
                message: MutableMapping[str, Any] = await self._socket.receive()
        except TimeoutError as error:
            raise Refused(Close.SILENT, "No sign of life for too long; come back and go on.") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        if self._caller and time.monotonic() - self._held_at > self._context.settings.heartbeat:
            if not await self._context.store.keys(self._session):  # erased, and its place with it
                raise UnknownSession(self._session)
            await self._hold(self._caller)
        if (data := message.get("bytes")) is not None:
            return bytes(data)
        text = message.get("text") or ""
        if len(text.encode()) > LONGEST_TEXT:  # before it is understood, which costs many times its length
            raise Refused(
                Close.BAD_MESSAGE, f"This message is not understood: it has more than {LONGEST_TEXT // 1_024} KiB."
            )
        try:
            return from_recorder.validate_json(text)
        except ValidationError as error:
            raise Refused(Close.BAD_MESSAGE, _first_mistake(error)) from error

    async def _say(self, message: BaseModel) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_text(message.model_dump_json())


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in mistake["loc"])
    told = one_line(f"{where + ': ' if where else ''}{mistake['msg']}")[:LONGEST_MISTAKE]
    return f"This message is not understood: {told}."
