"""Recordings analysed by a server: sent, followed, fetched."""

from __future__ import annotations

import asyncio
import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from deployments.analysis import Asked, Outcome
from deployments.analysis.display import Display, length
from deployments.analysis.files import CannotAnalyse, Outputs, Task, open_source
from deployments.recordings_client import NoServer, Recordings, Refused, idempotency_key, keep_private
from training.console import say

HANDFUL: Final = 4  # recordings that are sent, or followed, at once
GOODBYE_SECONDS: Final = 10.0  # that a server has to erase what was under way when somebody stops


def on_server(
    tasks: Sequence[Task],
    asked: Asked,
    outputs: Outputs,
    server: str,
    key: str | None,
    api_key: str | None,
    keys: Path | None,
    erase: bool,
    display: Display,
) -> Iterator[Outcome]:
    """Have a server hear recordings, a handful at once, from a thread of its own, so that outcomes are told here."""

    outcomes: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with Recordings(server, key, api_key=api_key) as recordings:
            await recordings.check()
            sending = _Sending(recordings, asked, outputs, keys, erase, display)
            await sending.all(tasks, outcomes.put)

    def work() -> None:
        try:
            loop.run_until_complete(running)
        except (asyncio.CancelledError, KeyboardInterrupt):
            pass
        except BaseException as error:
            outcomes.put(error)
        outcomes.put(None)

    running = loop.create_task(run())
    thread = threading.Thread(target=work, name="uploads")
    thread.start()
    try:
        while (outcome := outcomes.get()) is not None:
            match outcome:
                case Refused() | NoServer():
                    raise CannotAnalyse(str(outcome)) from outcome
                case BaseException():
                    raise outcome
            yield outcome
    finally:
        loop.call_soon_threadsafe(running.cancel)
        thread.join()
        loop.close()


class _Sending:
    """Recordings on their way to a server and back. The first makes the key that all the others come under."""

    def __init__(
        self,
        recordings: Recordings,
        asked: Asked,
        outputs: Outputs,
        keys: Path | None,
        erase: bool,
        display: Display,
    ) -> None:
        self._recordings = recordings
        self._asked = asked
        self._outputs = outputs
        self._keys = keys
        self._erase = erase
        self._display = display
        self._run = secrets.token_hex(16)
        self._first = asyncio.Lock()
        self._handful = asyncio.Semaphore(HANDFUL)
        self._there: list[dict[str, str]] = []
        if keys:
            self._keep()
        said = {"purpose": asked.purpose, "consent": "true", "channels": asked.channels}
        said |= {"remark": asked.remark} if asked.remark else {}
        said |= {"min_speakers": str(asked.at_least)} if asked.at_least else {}
        said |= {"max_speakers": str(asked.at_most)} if asked.at_most else {}
        voices = json.dumps([voice.model_dump() for voice in asked.voices])
        self._said = said | ({"voices": voices} if asked.voices else {})

    async def all(self, tasks: Sequence[Task], tell: Callable[[Outcome], None]) -> None:
        """Have all of them heard; each outcome as it comes."""

        async def one(task: Task) -> None:
            async with self._handful:
                tell(await self._one(task))

        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(one(task))

    async def _one(self, task: Task) -> Outcome:

        began = time.monotonic()
        recording: list[str] = []
        try:
            seconds = await self._heard(task, recording)
            return Outcome(task.source, seconds, time.monotonic() - began)
        except CannotAnalyse as error:
            return Outcome(task.source, problem=str(error))
        except (Refused, NoServer, _NotHeard) as error:
            return Outcome(task.source, problem=f"{task.label}: {error}")
        except OSError as error:
            return Outcome(task.source, problem=f"{task.label} cannot be read: {error.strerror or error}")
        finally:
            if self._erase and recording:
                with suppress(Refused, NoServer, TimeoutError):
                    async with asyncio.timeout(GOODBYE_SECONDS):
                        await self._recordings.erase(recording[0])

    async def _heard(self, task: Task, recording: list[str]) -> float:
        """Upload, follow, fetch; the recording's seconds. `recording` gets its id as soon as there is one."""
        taken = await self._uploaded(task)
        recording.append(taken["id"])
        job = None
        async for job in self._recordings.followed(taken["id"]):
            if job.position is not None:
                self._display.tell(task, f"in the queue, number {job.position}")
            elif job.step:
                of = f" of {length(job.seconds)}" if job.seconds else ""
                self._display.tell(task, f"{job.step}, {length(job.done)}{of}", job.progress)
        assert job is not None
        if job.state.value != "done":
            raise _NotHeard(job.error or f"it was {job.state.value}")
        if job.warning:
            say(f"{task.label}: {job.warning}")
        for extension in task.extensions:
            content = await self._recordings.fetched(job.id, extension)
            await asyncio.to_thread(self._outputs.write, f"{task.name}.{extension}", [content])
        return job.seconds or 0.0

    async def _uploaded(self, task: Task) -> dict[str, Any]:
        if self._recordings.key is not None:
            return self._known(task, await self._upload(task))
        async with self._first:
            new = self._recordings.key is None
            taken = self._known(task, await self._upload(task))
            if new and not self._keys:
                say(f"The recordings on the server are under the key {self._recordings.key}")
            return taken

    async def _upload(self, task: Task) -> dict[str, Any]:
        def sent(bytes_sent: int, size: int) -> None:
            self._display.tell(task, f"uploading, {bytes_sent / 2**20:.1f} of {size / 2**20:.1f} MiB")

        def waiting(reason: str) -> None:
            self._display.tell(task, f"waiting: {reason}")

        with open_source(task.source) as file:
            known_by = idempotency_key(self._run, task.source)
            return await self._recordings.upload(file, task.file_name, self._said, known_by, sent, waiting)

    def _known(self, task: Task, taken: dict[str, Any]) -> dict[str, Any]:
        self._there.append({"file": task.label, "id": taken["id"], "viewer_key": taken["viewer_key"]})
        if self._keys:
            self._keep()
        return taken

    def _keep(self) -> None:
        assert self._keys is not None
        known = {"server": self._recordings.server, "key": self._recordings.key, "recordings": self._there}
        try:
            keep_private(known, self._keys)
        except OSError as error:
            raise CannotAnalyse(f"{self._keys} cannot be written: {error.strerror}") from error


class _NotHeard(RuntimeError):
    """Why a server gave a recording up, in its words."""
