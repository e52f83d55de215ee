"""What the benchmark uploads, and who waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import httpx
import psutil

from pipeline.timeline import SAMPLE_RATE
from tests.benchmarks.usage import kind_of, processes
from tests.service import Pcm, Service

BIT_RATE = 64_000
SAMPLE_EVERY = 0.25  # s between two looks at the memory


def mp3(minutes: float, folder: Path, talk: Pcm) -> Path:
    """An mp3 of so many minutes of a talk, over and over."""
    path = folder / f"{minutes:g}.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3", rate=SAMPLE_RATE, layout="mono", bit_rate=BIT_RATE)
        left = round(minutes * 60 * SAMPLE_RATE)
        while left > 0:
            for start in range(0, min(left, len(talk)), SAMPLE_RATE):
                block = talk[start : min(start + SAMPLE_RATE, left)]
                frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "s16p", "mono")
                frame.sample_rate = SAMPLE_RATE
                container.mux(stream.encode(frame))
            left -= len(talk)
        container.mux(stream.encode(None))
    return path


class Uploader:
    """Uploads, waits, erases."""

    def __init__(self, service: Service) -> None:
        self._http = httpx.Client(base_url=service.api, timeout=600)

    def upload(self, path: Path) -> tuple[str, dict[str, str]]:
        """The recording's id, and the headers that open it."""
        with path.open("rb") as file:
            answer = self._http.post(
                "/v1/recordings", files={"file": (path.name, file)}, data={"purpose": "research", "consent": "true"}
            )
        job = answer.raise_for_status().json()
        return job["id"], {"Authorization": f"Bearer {job['key']}"}

    def job(self, recording: str, headers: dict[str, str]) -> Any:
        """What is known of it."""
        return self._http.get(f"/v1/recordings/{recording}", headers=headers).raise_for_status().json()

    def hear(self, path: Path) -> None:
        """Upload a file, wait until its timeline is there, erase it. Raises `RuntimeError` where it fails."""
        recording, headers = self.upload(path)
        while (job := self.job(recording, headers))["state"] in ("queued", "running"):
            time.sleep(0.1)
        if job["state"] != "done":
            raise RuntimeError(f"{path.name} is {job['state']}: {job['error']}")
        self.erase(recording, headers)

    def hear_together(self, path: Path, files: int) -> float:
        """Upload a file so many times at once; seconds until the last timeline is there."""
        began = time.monotonic()
        with ThreadPoolExecutor(files) as pool:
            list(pool.map(self.hear, [path] * files))
        return time.monotonic() - began

    def erase(self, recording: str, headers: dict[str, str]) -> None:
        """Whatever is being done with it, it goes."""
        self._http.delete(f"/v1/recordings/{recording}", headers=headers).raise_for_status()


@contextmanager
def peaks(service: Service) -> Iterator[dict[str, float]]:
    """The most memory, in MB, that a worker, and all processes together, have taken while the block lasts.

    Of a process that is the memory that nobody else has (USS); of all it is the proportional set size.
    """
    most = {"worker_mb": 0.0, "all_mb": 0.0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_EVERY):
            total = 0.0
            for pid, command in processes(service).items():
                try:
                    taken = psutil.Process(pid).memory_full_info()
                except psutil.Error:
                    continue
                total += taken.pss / 1e6
                if kind_of(command) == "recording worker":
                    most["worker_mb"] = max(most["worker_mb"], taken.uss / 1e6)
            most["all_mb"] = max(most["all_mb"], total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()
