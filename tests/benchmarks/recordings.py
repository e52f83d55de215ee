"""What uploads cost, beside the same work in one plain process: part of `make bench`.

    .venv/bin/python -m tests.benchmarks.recordings --quick

Starts a service of its own, uploads synthetic conversations as mp3, and prints a table: real-time factors for one file
and for several at once, peak memory for a short and a long one, and the seconds that pass between the death of a worker
and the first new segment after it. Everything is measured in one run on one machine, so that ratios mean something.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import psutil
from rich.table import Table

from deployments.up import QUIET_WORKERS
from pipeline.timeline import SAMPLE_RATE
from tests.benchmarks.sessions import Say, command_line, lags, talked
from tests.service import Pcm, Service, running_service

PIECE_SECONDS = 300.0  # of synthetic conversation, which longer recordings repeat
SAMPLE_EVERY = 0.25  # s between two looks at the memory
LIVE_STREAMS, LIVE_SECONDS = 4, 20.0
WORKER = "ServeReplica:tonetrack:RecordingWorker"


def recorded(minutes: float, folder: Path, piece: Pcm) -> Path:
    """An mp3 of so many minutes."""
    path = folder / f"{minutes:g}.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3", rate=SAMPLE_RATE, layout="mono", bit_rate=64_000)
        left = round(minutes * 60 * SAMPLE_RATE)
        while left > 0:
            for start in range(0, min(left, len(piece)), SAMPLE_RATE):
                block = piece[start : min(start + SAMPLE_RATE, left)]
                frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "s16p", "mono")
                frame.sample_rate = SAMPLE_RATE
                container.mux(stream.encode(frame))
            left -= len(piece)
        container.mux(stream.encode(None))
    return path


class Client:
    """Uploads, and waits."""

    def __init__(self, service: Service) -> None:
        self._http = httpx.Client(base_url=service.api, timeout=600)

    def upload(self, path: Path) -> tuple[str, dict[str, str]]:
        """The id and the headers that open it."""
        with path.open("rb") as file:
            answer = self._http.post(
                "/v1/recordings", files={"file": (path.name, file)}, data={"purpose": "research", "consent": "true"}
            )
        answer.raise_for_status()
        job = answer.json()
        return job["id"], {"Authorization": f"Bearer {job['key']}"}

    def job(self, recording: str, headers: dict[str, str]) -> Any:
        """What is known of it."""
        return self._http.get(f"/v1/recordings/{recording}", headers=headers).raise_for_status().json()

    def finished(self, recording: str, headers: dict[str, str]) -> Any:
        """What is known of it once it is over."""
        while (job := self.job(recording, headers))["state"] in ("queued", "running"):
            time.sleep(0.1)
        if job["state"] != "done":
            raise RuntimeError(f"{job['state']}: {job['error']}")
        return job

    def erase(self, recording: str, headers: dict[str, str]) -> None:
        """Whatever is being done with it, it goes."""
        self._http.delete(f"/v1/recordings/{recording}", headers=headers).raise_for_status()

    def hear(self, path: Path) -> Any:
        """Upload, wait until it is done."""
        return self.finished(*self.upload(path))


@contextmanager
def peaks(service: Service) -> Iterator[dict[str, float]]:
    """The most memory, in MB, that the worker, and all processes together, have taken while the block lasts.

    Of a process that is the memory that nobody else has (USS); of all it is the proportional set size.
    """
    most = {"worker": 0.0, "all": 0.0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_EVERY):
            total = 0.0
            for pid, command in service.processes().items():
                try:
                    taken = psutil.Process(pid).memory_full_info()
                except psutil.Error:
                    continue
                total += taken.pss / 1e6
                if WORKER in command:
                    most["worker"] = max(most["worker"], taken.uss / 1e6)
            most["all"] = max(most["all"], total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def in_one_process(path: str, answer: Any) -> None:
    """The same models and the same engine in a loop of one plain process; puts seconds of wall and of CPU."""
    os.environ.update(QUIET_WORKERS)
    from pipeline.audio import decode
    from pipeline.diarisation.local import LocalDiariser
    from pipeline.emotion import EmotionHead, EmotionModel
    from pipeline.recording import hear
    from pipeline.segments import ears_here
    from pipeline.sound import Sound

    diariser, model, head = LocalDiariser(), EmotionModel.load(), EmotionHead.load()
    diariser.warm_up()
    model.warm_up()
    wall, cpu = time.perf_counter(), time.process_time()
    with Sound(decode(Path(path))) as sound:
        timeline = hear(sound, ears_here(diariser, model), head)
    answer.put((time.perf_counter() - wall, time.process_time() - cpu, len(timeline.readings)))


def plain(path: Path) -> tuple[float, float]:
    """Seconds of wall and of CPU that a plain process takes."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=in_one_process, args=(str(path), answer))
    process.start()
    wall, cpu, _ = answer.get(timeout=3_600)
    process.join()
    return wall, cpu


def recovery(service: Service, client: Client, path: Path) -> tuple[float, float, float]:
    """Kill the worker in the middle of a recording: seconds until another holds it, and until it gets further; whether
    progress went back, as the share that was lost.
    """
    recording, headers = client.upload(path)
    while (before := client.job(recording, headers))["progress"] < 0.3:
        time.sleep(0.02)
    tries = before["tries"]
    service.kill(WORKER)
    killed = time.monotonic()
    held = further = 0.0
    lowest = before["progress"]
    while not further:
        job = client.job(recording, headers)
        if not held and job["tries"] > tries:
            held = time.monotonic() - killed
        lowest = min(lowest, job["progress"])
        if held and (job["progress"] > before["progress"] or job["state"] == "done"):
            further = time.monotonic() - killed
        time.sleep(0.02)
    client.finished(recording, headers)
    return held, further, before["progress"] - lowest


def beside(service: Service, client: Client, path: Path, piece: Pcm) -> dict[str, float]:
    """How late live sessions are alone, and while two recordings are being heard."""

    def p95() -> float:
        return float(np.percentile(asyncio.run(lags(service.api, piece, LIVE_STREAMS, LIVE_SECONDS)), 95))

    alone = p95()
    uploads = [client.upload(path) for _ in range(2)]
    time.sleep(1)
    busy = p95()
    under_way = sum(client.job(*upload)["state"] in ("queued", "running") for upload in uploads)
    for upload in uploads:
        client.erase(*upload)
    return {"p95_alone": alone, "p95_beside": busy, "still_heard": under_way}


def measure(quick: bool, folder: Path, say: Say) -> dict[str, Any]:
    """All figures."""
    piece = talked(PIECE_SECONDS)
    minutes = {"short": 2 if quick else 10, "hour": 6 if quick else 60, "long": 12 if quick else 240}
    say("making recordings")
    paths = {name: recorded(length, folder, piece) for name, length in minutes.items()}
    figures: dict[str, Any] = {"minutes": minutes, "cores": os.cpu_count(), "at": datetime.now(UTC).isoformat()}
    with running_service() as service:
        client = Client(service)
        client.hear(recorded(0.5, folder, piece))  # what is only done the first time
        for name, path in paths.items():
            say(f"{minutes[name]} minutes, uploaded")
            with peaks(service) as most:
                began = time.monotonic()
                job = client.hear(path)
                seconds = time.monotonic() - began
            figures[name] = {
                "seconds": seconds,
                "heard_in": job["finished_at"] - job["started_at"],
                "factor": seconds / (60 * minutes[name]),
                "worker_mb": most["worker"],
                "all_mb": most["all"],
            }
            say(f"  {seconds:.1f} s")
        say(f"{LIVE_STREAMS} live sessions, alone and beside two uploads")
        figures["live"] = beside(service, client, paths["long"], piece)
        say("a killed worker")
        held, further, lost = recovery(service, client, paths["hour"])
        figures["recovery"] = {"held_after": held, "further_after": further, "progress_lost": lost}
        for at_once in (4,):
            say(f"{at_once} files at once")
            began = time.monotonic()
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(client.hear, [paths["short"]] * at_once))
            seconds = time.monotonic() - began
            figures[f"{at_once} at once"] = {"factor": seconds / (at_once * 60 * minutes["short"])}
    say("the same in one plain process")
    wall, cpu = plain(paths["hour"])
    figures["plain"] = {"seconds": wall, "cpu": cpu, "factor": wall / (60 * minutes["hour"])}
    return figures


def table(figures: dict[str, Any]) -> Table:
    """The figures, for people."""
    minutes = figures["minutes"]
    title = f"Recordings on {figures['cores']} cores ({platform.machine()}), {figures['at'][:10]}"
    shown = Table("", "real-time factor", "seconds", "worker, MB", "all, MB", title=title)
    for name in ("short", "hour", "long"):
        row = figures[name]
        shown.add_row(
            f"{minutes[name]} min, uploaded",
            f"1/{1 / row['factor']:.0f}",
            f"{row['seconds']:.1f}",
            f"{row['worker_mb']:.0f}",
            f"{row['all_mb']:.0f}",
        )
    for name in (name for name in figures if name.endswith("at once")):
        shown.add_row(f"{minutes['short']} min, {name}", f"1/{1 / figures[name]['factor']:.0f}", "", "", "")
    row = figures["plain"]
    shown.add_row(
        f"{minutes['hour']} min, one plain process", f"1/{1 / row['factor']:.0f}", f"{row['seconds']:.1f}", "", ""
    )
    live = figures["live"]
    p95 = f"p95 {live['p95_alone']:.3f} alone, {live['p95_beside']:.3f} beside two uploads"
    shown.add_row(f"{LIVE_STREAMS} live sessions, arrival to event", "", p95, "", "")
    lost = figures["recovery"]
    after = f"{lost['held_after']:.1f} until another holds it, {lost['further_after']:.1f} until it gets further"
    shown.add_row("a worker killed in the middle", "", after, "", "")
    return shown


def run(quick: bool, say: Say) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(quick, Path(folder), say)


if __name__ == "__main__":
    command_line(__doc__, "a twentieth of the sound: two minutes instead of fifteen", run, table)
