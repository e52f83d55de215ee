"""`tonetrack record`: a file or a microphone sent to a running service, with what it hears shown as it comes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import av
import httpx
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deployments.client import Recorder, RecordingRefused, Session, open_session
from pipeline import tasks
from pipeline.audio import UndecodableAudio, decode
from pipeline.events import Event
from pipeline.plain import one_line
from pipeline.timeline import SAMPLE_RATE, Timeline

FRAME_SECONDS: Final = 0.5  # a hop: shorter ones are heard no sooner, and cost as much again on their way
FRAME: Final = round(FRAME_SECONDS * SAMPLE_RATE)
OPUS_BITS_PER_SECOND: Final = 24_000

Pcm = NDArray[np.int16]


class CannotRecord(RuntimeError):
    """Why nothing can be recorded, in one sentence."""


def record_live(
    file: Path | None,
    server: str,
    api_key: str | None,
    purpose: str,
    name: str,
    pace: float,
    codec: str,
    stats: bool,
    output: Path | None,
    keys: Path | None,
    hints: dict[str, Any],
    console: Console,
) -> None:
    """Record to the end (a file's, or Ctrl-C), showing the speakers meanwhile. Raises `CannotRecord`.

    `output` gets the timeline at the end, `keys` the session's keys at the beginning, so that they can be used
    meanwhile. `hints`: what the session is told of its speakers, by the names of `pipeline.session.SessionRequest`.
    """

    async def run() -> Any:
        called = name or (file.name if file else "microphone")
        session = await open_session(server, purpose, called, api_key=api_key, **hints)
        console.print(f"session {session.id}   viewer key {session.viewer_key}", highlight=False, markup=False)
        if keys:
            keep_keys(session, keys)
        interrupted = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
        blocks = _until(interrupted, paced(file_frames(file), pace) if file else microphone_frames())
        frames = webm_frames(blocks) if codec == "webm" else pcm_frames(blocks)
        watching = asyncio.create_task(_watch(session, console))
        recorder = Recorder(session, "webm" if codec == "webm" else "pcm16")
        try:
            seconds = await recorder.record(frames)
            lags = await watching
        finally:
            await tasks.end(watching)
        console.print(f"{seconds:.1f} s heard, {recorder.reconnects} reconnects", highlight=False)
        if stats:
            console.print(describe_lags(lags), highlight=False)
        return await session.get()

    try:
        _check(file, output, keys)
        with explained(server):
            timeline = asyncio.run(run())
    except UndecodableAudio as error:
        raise CannotRecord(str(error)) from error
    except RecordingRefused as error:
        raise CannotRecord(f"The server refused the recording: {error}") from error
    if output:
        output.write_text(json.dumps(timeline, indent=1) + "\n")


@contextmanager
def explained(server: str) -> Iterator[None]:
    """Turns what can go wrong on the way to a server into `CannotRecord`."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise CannotRecord(f"{server} answered {error.response.status_code}: {_detail(error.response)}") from error
    except httpx.HTTPError as error:
        raise CannotRecord(f"No service answers at {server} ({error}); is `tonetrack up` running?") from error


def _detail(answer: httpx.Response) -> str:
    """The server's own sentence, where it says one."""
    with suppress(ValueError, LookupError, TypeError):
        return str(answer.json()["detail"])
    return answer.text


def keep_keys(session: Session, path: Path) -> None:
    """Write a session's id and keys as JSON that nobody else may read: the recorder key may do anything.

    Raises `CannotRecord`.
    """
    known = {"id": session.id, "recorder_key": session.recorder_key, "viewer_key": session.viewer_key}
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o600)  # of a file that was there already, too, and before anything is in it
            file.write(json.dumps(known, indent=1) + "\n")
    except OSError as error:
        raise CannotRecord(f"{path} cannot be written: {error.strerror}") from error


def _check(file: Path | None, *written: Path | None) -> None:
    """Find out what cannot be recorded or kept before a session is opened for it."""
    for path in filter(None, written):
        if not os.access(path.parent, os.W_OK):
            raise CannotRecord(f"{path} cannot be written: there is no folder {path.parent} that you may write to.")
        if path.is_dir():
            raise CannotRecord(f"{path} cannot be written: it is a folder.")
    if file:
        next(decode(file), None)
    else:
        _sounddevice()


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise CannotRecord("Recording the microphone here needs `pip install sounddevice` (and PortAudio).") from error
    return sounddevice


def file_frames(file: Path) -> Iterator[Pcm]:
    """A file as blocks of FRAME samples (int16), the last one shorter. Raises `UndecodableAudio`."""
    rest = np.zeros(0, np.int16)
    for block in decode(file):
        rest = np.concatenate([rest, block])
        while len(rest) >= FRAME:
            yield rest[:FRAME]
            rest = rest[FRAME:]
    if len(rest):
        yield rest


async def paced(blocks: Iterator[Pcm], pace: float) -> AsyncIterator[Pcm]:
    """The blocks at the moments at which a microphone would give them, `pace` times as fast; 0: at once."""
    start, sent = time.monotonic(), 0
    for block in blocks:
        sent += len(block)
        if pace > 0:
            await asyncio.sleep(max(0.0, start + sent / SAMPLE_RATE / pace - time.monotonic()))
        yield block


async def microphone_frames() -> AsyncIterator[Pcm]:
    """The default microphone in blocks of FRAME samples, without end. Raises `CannotRecord`."""
    sounddevice = _sounddevice()
    loop = asyncio.get_running_loop()
    blocks: asyncio.Queue[Pcm] = asyncio.Queue()

    def hear(data: Pcm, *_: object) -> None:
        loop.call_soon_threadsafe(blocks.put_nowait, data.reshape(-1).copy())

    try:
        with sounddevice.InputStream(SAMPLE_RATE, FRAME, channels=1, dtype="int16", callback=hear):
            while True:
                yield await blocks.get()
    except sounddevice.PortAudioError as error:
        raise CannotRecord(f"The microphone cannot be opened: {error}") from error


async def _until(over: asyncio.Event, blocks: AsyncIterator[Pcm]) -> AsyncIterator[Pcm]:
    """Blocks until an event is set: Ctrl-C ends a recording, it does not throw it away."""
    async for block in blocks:
        if over.is_set():
            return
        yield block


async def pcm_frames(blocks: AsyncIterator[Pcm]) -> AsyncIterator[bytes]:
    """Blocks as little-endian PCM16."""
    async for block in blocks:
        yield block.astype("<i2").tobytes()


async def webm_frames(blocks: AsyncIterator[Pcm]) -> AsyncIterator[bytes]:
    """Blocks as one webm/opus stream, cut wherever a block ends, as MediaRecorder cuts its own."""
    written = _Written()
    with av.open(written, "w", format="webm", options={"live": "1", "cluster_time_limit": "200"}) as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono", bit_rate=OPUS_BITS_PER_SECOND)
        to_opus = AudioResampler("s16", "mono", 48_000)
        async for block in blocks:
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "s16", "mono")
            frame.sample_rate = SAMPLE_RATE
            for resampled in to_opus.resample(frame):
                container.mux(stream.encode(resampled))
            if data := written.take():
                yield data
        for resampled in to_opus.resample(None):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
    if data := written.take():
        yield data


def describe_lags(lags: list[float]) -> str:
    """Percentiles of seconds from the arrival of the last sample to the event that rests on it."""
    if not lags:
        return "no events, no percentiles"
    p50, p95, p99 = np.percentile(lags, (50, 95, 99))
    percentiles = f"p50 {p50:.3f} s, p95 {p95:.3f} s, p99 {p99:.3f} s, most {max(lags):.3f} s"
    return f"arrival to event: {percentiles} ({len(lags)} hops)"


class _Written(io.RawIOBase):
    """A file that hands out what was written to it; not seekable, like a network."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


async def _watch(session: Session, console: Console) -> list[float]:
    """Show the speakers until the session ends, and each kind of warning once; returns each hop's lag, in seconds."""
    timeline, lags = Timeline(), []
    warned: set[str] = set()
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
        async for _, event in session.events():
            event.apply(timeline)
            if event.type == "warning" and event.code not in warned:
                warned.add(event.code)
                console.print(one_line(event.message), style="yellow", soft_wrap=True, highlight=False, markup=False)
            if (lag := lag_of(event)) is not None:
                lags.append(lag)
                live.update(_table(timeline))
    if not console.is_terminal:
        console.print(_table(timeline))
    return lags


def lag_of(event: Event) -> float | None:
    """Seconds from the arrival of a hop's last sample to its event; None for other events."""
    if event.type != "hop.heard" or event.arrived_at is None or event.published_at is None:
        return None
    return event.published_at - event.arrived_at


def _table(timeline: Timeline) -> Table:
    """Who talks. A name is what somebody typed, and a server may be anybody's: neither is taken for markup."""
    table = Table("speaker", "sounds", "confidence", "talked", title=f"{timeline.heard_until:.1f} s heard")
    for speaker in timeline.speakers:
        readings = timeline.readings_of(speaker)
        mood = (readings[-1].label, f"{readings[-1].confidence:.2f}") if readings else ("", "")
        cells = (timeline.name_of(speaker), *mood, f"{timeline.talk_seconds(speaker):.1f} s")
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    return table
