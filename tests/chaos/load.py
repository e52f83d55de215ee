"""What goes on while things break: conversations that are recorded and watched, and uploads, one after another."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import httpx
import numpy as np

from deployments.client import Recorder, Session, open_session
from deployments.recorder import FRAME, FRAME_SECONDS, paced, pcm_frames
from pipeline import tasks
from pipeline.events import Event
from pipeline.timeline import SAMPLE_RATE
from tests.chaos.holds import hops_of, hops_wrong, telling_wrong, timeline_wrong, turns_wrong
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


async def rehearse(api: str, seconds: float, conversations: int, seed: int) -> Script:
    """Have everything heard once without disturbance, in conversations of so many seconds."""

    async def heard(pcm: Pcm) -> Said:
        session, _, _ = await record(api, pcm)
        return Said(pcm, await session.get())

    pcms = [spoken(seconds, seed + number) for number in range(conversations)]
    half = pcms[0][: round(seconds / 2) * SAMPLE_RATE]  # whole hops: when the last is heard, everything has arrived
    *talks, first_half = await asyncio.gather(*(heard(pcm) for pcm in (*pcms, half)))
    wav = wav_of(tiled(pcms[0], UPLOAD_SECONDS))
    recording = await (await upload(api, wav)).heard()
    return Script(talks, first_half, wav, recording)


@dataclass(eq=False)
class Talk:
    """A live session: one who records it, and one who watches.

    `pace`: times real time. `vanishes`: the client goes when all is said, without a word. `sent`: seconds that the
    recorder was given so far; `heard`: those of which the watcher knows that they are heard. `recovered`: seconds from
    a fault until this session published again.
    """

    said: Said
    pace: float = 1.0
    vanishes: bool = False
    events: list[Event] = field(default_factory=list)
    sent: float = 0.0
    heard: float = 0.0
    recovered: float | None = None
    recorder: Recorder | None = None
    timeline: Json | None = None

    async def run(self, api: str, after: float = 0.0) -> None:
        """From opening to the end, which begins after so many seconds."""
        await asyncio.sleep(after)
        session = await self._opened(api)
        self.recorder = Recorder(session)
        watching = asyncio.create_task(self._watch(session))
        recording = asyncio.create_task(self.recorder.record(pcm_frames(self._blocks())))
        try:
            if self.vanishes:
                while self.heard < self.said.seconds:
                    await asyncio.sleep(0.1)
                await tasks.end(recording)
                self.recorder.interrupt()
            else:
                await recording
            await watching
        finally:
            await tasks.end(recording, watching)
        while self.timeline is None:
            with suppress(httpx.HTTPError):
                self.timeline = await session.get()

    async def recover(self, since: float) -> None:
        """Wait until it publishes what is said from now on; `since`: the moment from which that is counted."""
        said = min(self.sent, self.said.seconds - 2 * ODD_END)
        while self.heard <= said:
            await asyncio.sleep(0.02)
        self.recovered = time.monotonic() - since

    @property
    def told(self) -> list[str]:
        """What its client was told: warnings and close codes, each kind once."""
        warnings = [event.code for event in self.events if event.type == "warning"]
        breaks = [str(code) for code in (self.recorder.breaks if self.recorder else [])]
        return sorted({*warnings, *breaks})

    def wrong(self, struck: bool) -> list[str]:
        """All that does not hold. `struck`: whether something happened while it was being recorded."""
        if self.timeline is None:
            return ["the session did not come to its end"]
        wrong = hops_wrong(hops_of(self.events), self.said.seconds) + timeline_wrong(self.timeline, self.said.timeline)
        return wrong + (telling_wrong(self.recovered, self.told) if struck else [])

    async def _opened(self, api: str) -> Session:
        while True:
            with suppress(httpx.HTTPError):
                return await open_session(api, "research")
            await asyncio.sleep(AGAIN_SECONDS)

    async def _watch(self, session: Session) -> None:
        entry = "0"
        while not (self.events and self.events[-1].type == "session.ended"):
            with suppress(httpx.HTTPError):
                async for told, event in session.events(entry):
                    entry = told  # where the next connection goes on, should this one break
                    self.events.append(event)
                    self.heard = max(self.heard, event.heard_until)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _blocks(self) -> AsyncIterator[Pcm]:
        pcm = self.said.pcm
        async for block in paced((pcm[start : start + FRAME] for start in range(0, len(pcm), FRAME)), self.pace):
            self.sent += FRAME_SECONDS
            yield block
        if self.vanishes:
            await asyncio.Event().wait()


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
