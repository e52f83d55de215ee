"""What goes on while things break: conversations that are recorded and watched, and uploads, one after another."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import httpx
import numpy as np

from deployments.client import Recorder, Session, open_session
from deployments.recorder import FRAME, FRAME_SECONDS, paced, pcm_frames
from pipeline import tasks
from pipeline.events import Event
from pipeline.timeline import SAMPLE_RATE
from tests.chaos.holds import (
    arrived_wrong,
    hops_of,
    hops_wrong,
    refused_wrong,
    silences,
    telling_wrong,
    timeline_wrong,
    turns_wrong,
)
from tests.chaos.wire import Wire
from tests.service import Pcm, record
from tests.talkers import HIGH, LOW, conversation, small_talk
from tests.uploads import Json, Uploaded, send, taken_in, tiled, upload, wav_of

ODD_END: Final = 0.3  # s beyond the last whole hop, so that the last hop is known from the one before
AGAIN_SECONDS: Final = 0.25  # before somebody whose line broke comes back
UPLOAD_SECONDS: Final = 120.0
AWAY: Final = (httpx.HTTPError, AssertionError)  # no answer, or one that says that something is away


@dataclass(frozen=True)
class Said:
    """A conversation as int16 samples (n,), and its timeline when nothing happens."""

    pcm: Pcm
    timeline: Json

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.pcm) / SAMPLE_RATE


@dataclass(frozen=True)
class Script:
    """What is said in all rounds: conversations, the first half of one, and a recording with its timeline."""

    talks: list[Said]
    half: Said
    wav: bytes
    recording: Json


def spoken(seconds: float, seed: int) -> Pcm:
    """A synthetic conversation of two."""
    audio, _ = conversation((LOW, HIGH), small_talk(talkers=2, seconds=seconds + 2, seed=seed), seed=seed)
    return np.round(audio * 32_767).astype(np.int16)[: round((seconds + ODD_END) * SAMPLE_RATE)]


async def undisturbed(api: str, pcm: Pcm) -> Said:
    """What is heard of a conversation while nothing breaks."""
    session, _, _ = await record(api, pcm)
    return Said(pcm, await session.get())


async def rehearse(api: str, seconds: float, conversations: int, seed: int) -> Script:
    """Have everything heard once without disturbance, in conversations of so many seconds."""
    pcms = [spoken(seconds, seed + number) for number in range(conversations)]
    half = pcms[0][: round(seconds / 2) * SAMPLE_RATE]
    *talks, first_half = await asyncio.gather(*(undisturbed(api, pcm) for pcm in (*pcms, half)))
    wav = wav_of(tiled(pcms[0], UPLOAD_SECONDS))
    recording = await (await upload(api, wav)).heard()
    return Script(talks, first_half, wav, recording)


@dataclass(eq=False)
class Talk:
    """A live session: one who records it, and one who watches.

    `pace`: times real time. `vanishes`: the client falls silent in the middle, on a line that stays open; what
    `said` is then is what had arrived. `sent`: seconds that the recorder was given so far; `heard`: those of which
    the watcher knows that they are heard, and `heard_at` the moments at which it got to know. `refused`: statuses
    that the watcher got. `struck_at`: when a fault began. `recovered`: seconds until this session published again,
    counted from then, or from the end of a fault that lasts.
    """

    said: Said
    pace: float = 1.0
    vanishes: bool = False
    events: list[Event] = field(default_factory=list)
    sent: float = 0.0
    heard: float = 0.0
    heard_at: list[float] = field(default_factory=list)
    struck_at: float | None = None
    recovered: float | None = None
    recorder: Recorder | None = None
    timeline: Json | None = None
    refused: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _acknowledged: float = 0.0  # s
    _told: list[tuple[float, str]] = field(default_factory=list)  # when, and what: warnings and close codes

    async def run(self, api: str, after: float = 0.0) -> None:
        """From opening to the end, which begins after so many seconds."""
        await asyncio.sleep(after)
        session = await self._opened(api)
        async with Wire(api) as wire:
            await self._talk(session, wire)
        while self.timeline is None:
            with suppress(httpx.HTTPError):
                self.timeline = await session.get()
        if self.vanishes:
            arrived = self.timeline["heard_until"]
            self.lost = arrived_wrong(arrived, self._acknowledged, self.sent)
            self.said = await undisturbed(api, self.said.pcm[: round(arrived * SAMPLE_RATE)])

    async def _talk(self, session: Session, wire: Wire) -> None:
        self.recorder = Recorder(replace(session, api=wire.api) if self.vanishes else session)
        self.recorder.breaks = _Breaks(self._tell)
        watching = asyncio.create_task(self._watch(session))
        recording = asyncio.create_task(self.recorder.record(pcm_frames(self._blocks())))
        try:
            if self.vanishes:
                while self.sent < self.said.seconds / 2:
                    await asyncio.sleep(0.02)
                self._acknowledged = (self.recorder._first or 0) * FRAME_SECONDS
                wire.cut()
                self.recorder.interrupt()  # before it is ended, which would wait for an answer
                await tasks.end(recording)
            else:
                await recording
            await watching
        finally:
            await tasks.end(recording, watching)

    def strike(self) -> None:
        """A fault begins: what was told before is not about it."""
        self.struck_at = time.monotonic()
        self._told.clear()

    def interrupt(self) -> None:
        """Break the recorder's line."""
        if self.recorder:
            self.recorder.interrupt()

    @property
    def breaks(self) -> int:
        """How often the recorder's line has broken."""
        return len(self.recorder.breaks) if self.recorder else 0

    async def recover(self, since: float) -> None:
        """Wait until it publishes what is said from now on; `since`: the moment from which that is counted."""
        said = min(self.sent, self.said.seconds - 2 * ODD_END)
        while self.heard <= said:
            await asyncio.sleep(0.02)
        self.recovered = time.monotonic() - since

    @property
    def told(self) -> list[str]:
        """What its client was told since a fault began: warnings and close codes, each kind once."""
        return sorted({what for _, what in self._told})

    @property
    def over(self) -> bool:
        """Whether the session has ended, as far as the watcher knows."""
        return bool(self.events) and self.events[-1].type == "session.ended"

    def wrong(self) -> list[str]:
        """All that does not hold."""
        if self.timeline is None:
            return ["the session did not come to its end"]
        wrong = hops_wrong(hops_of(self.events), self.said.seconds) + timeline_wrong(self.timeline, self.said.timeline)
        wrong += self.lost + refused_wrong("watchers", self.refused)
        if self.struck_at is None:
            return wrong
        return wrong + telling_wrong(silences(self.struck_at, self.heard_at), [at for at, _ in self._told])

    def _tell(self, what: object) -> None:
        self._told.append((time.monotonic(), str(what)))

    async def _opened(self, api: str) -> Session:
        while True:
            with suppress(httpx.HTTPError):
                return await open_session(api, "research")
            await asyncio.sleep(AGAIN_SECONDS)

    async def _watch(self, session: Session) -> None:
        entry = "0"
        while not self.over:
            try:
                async for told, event in session.events(entry):
                    entry = told  # where the next connection goes on, should this one break
                    self.events.append(event)
                    if event.type == "warning":
                        self._tell(event.code)
                    if event.heard_until > self.heard:
                        self.heard = event.heard_until
                        self.heard_at.append(time.monotonic())
            except httpx.HTTPStatusError as error:
                self.refused.append(error.response.status_code)
            except httpx.HTTPError:
                pass  # the line broke
            await asyncio.sleep(AGAIN_SECONDS)

    async def _blocks(self) -> AsyncIterator[Pcm]:
        pcm = self.said.pcm
        async for block in paced((pcm[start : start + FRAME] for start in range(0, len(pcm), FRAME)), self.pace):
            self.sent += FRAME_SECONDS
            yield block


class _Breaks(list[int]):
    """The close codes of a recorder's lines, each told as soon as it is known."""

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell

    def append(self, code: int) -> None:
        super().append(code)
        self._tell(code)


@dataclass
class Uploads:
    """One upload after another, each sent again until it is taken in, until somebody says that it is enough."""

    script: Script
    enough: bool = False
    done: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)  # the statuses of answers that took nothing in
    progress: float = 0.0  # of all of them together: 2.5 in the middle of the third
    looks: int = 0  # how often that was asked for and told

    async def run(self, api: str) -> None:
        """Until it is enough, and the last is heard."""
        while not self.enough:
            await self._one(api)
            self.done += 1

    async def further(self, since: float) -> float:
        """Wait until the one that is under way gets further; the seconds that this took since a moment."""
        looks = self.looks
        while self.looks < looks + 2:  # the first may have been asked for before now
            await asyncio.sleep(0.02)
        known = self.progress
        while self.progress <= known:
            await asyncio.sleep(0.02)
        return time.monotonic() - since

    async def _one(self, api: str) -> None:
        recording = await self._sent(api, str(uuid.uuid4()))
        job: Json = {"state": "queued"}
        while job["state"] in ("queued", "running"):
            with suppress(*AWAY):
                job = await recording.job()
                self.progress = self.done + job["progress"]
                self.looks += 1
            await asyncio.sleep(0.1)
        if job["state"] != "done":
            self.wrong.append(f"a recording was not heard: {job['error']}")
            return
        told: list[Json] = []
        while not told:
            with suppress(*AWAY):
                timeline = (await recording.get("/timeline")).json()
                told = await _events(recording)
        self.wrong += timeline_wrong(timeline, self.script.recording) + turns_wrong(told, timeline)

    async def _sent(self, api: str, key: str) -> Uploaded:
        while True:
            with suppress(httpx.HTTPError):
                answer = await send(api, self.script.wav, idempotency=key)
                if answer.status_code == 202:
                    return taken_in(api, answer)
                self.refused.append(answer.status_code)
            await asyncio.sleep(AGAIN_SECONDS)


async def _events(recording: Uploaded) -> list[Json]:
    async with recording.client() as http:
        answer = await http.get(f"{recording.api}/v1/sessions/{recording.id}/events")
    lines = answer.raise_for_status().text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
