"""The whole service as a process of its own, as `tonetrack up` starts it, and what tests do with it."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from deployments.client import Recorder, Session, open_session
from deployments.recorder import FRAME, paced, pcm_frames, webm_frames
from deployments.up import redis_server
from pipeline.timeline import SAMPLE_RATE

ROOT = Path(__file__).parents[1]
READY = re.compile(r"ToneTrack listens at (\S+)")
STARTUP_SECONDS = 150

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class Service:
    """A running service: base URLs of its API and its page, its process, and the file that its messages go to.

    `metrics`: where it exports them, if it was told to.
    """

    api: str
    page: str
    process: subprocess.Popen[str]
    log: Path
    metrics: str = ""

    def processes(self) -> dict[int, str]:
        """Command lines of everything that it started, by process id. The Redis and the page are its children too."""
        import psutil

        alive = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                alive[child.pid] = " ".join(child.cmdline())
            except psutil.NoSuchProcess:
                continue
        return alive

    def redis(self) -> redis.Redis:
        """The embedded Redis, as its owner may open it."""
        found = re.search(r"unixsocket:(\S+)", " ".join(self.processes().values()))
        assert found
        return redis.Redis(unix_socket_path=found[1])

    def logs_folder(self) -> Path:
        """Where its Ray logs, which its processes are told when they are started."""
        found = re.search(r"--logs?[-_]dir=(\S+)", " ".join(self.processes().values()))
        assert found
        return Path(found[1])

    def logs(self) -> dict[str, str]:
        """All that it has logged so far, Ray's own files included, by the files' names."""
        files = [self.log, *(file for file in self.logs_folder().rglob("*") if file.is_file())]
        return {file.name: file.read_text(errors="replace") for file in files}

    def kill(self, part: str) -> int:
        """SIGKILL for the one process of this service whose command line holds `part`; returns its id."""
        matching = [pid for pid, command in self.processes().items() if part in command]
        assert len(matching) == 1, f"{part}: {matching}"
        os.kill(matching[0], signal.SIGKILL)
        return matching[0]


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lasting_port() -> int:
    """A TCP port to listen on again and again: below those that connections take by themselves (32768 on Linux)."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


@contextmanager
def running_redis(folder: Path, *options: str, port: int = 0, through: Sequence[str] = ()) -> Iterator[str]:
    """A Redis on a port, or one that is free, with further options; yields its URL. `through`: what starts it."""
    port = port or free_port()
    usual = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([*through, redis_server(), *usual, *options], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, retry=Retry(ConstantBackoff(0.05), retries=200)) as client:
            client.ping()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def running_service(module: str = "deployments.cli", through: Sequence[str] = (), **settings: Any) -> Iterator[Service]:
    """`tonetrack up` on free ports, with further settings; ended by Ctrl-C, as a person ends it.

    `module`: what is run in place of the command's own; `through`: a command that becomes the one that follows it, such
    as `env`. It takes whatever it is asked for, though the machine that runs the tests be slow.
    """
    settings = {"max_lag": 1_000, "max_busy": 1} | settings
    port, ui_port = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TONETRACK_")}
    environment |= {f"TONETRACK_{name.upper()}": str(value) for name, value in settings.items()}
    command = [*through, sys.executable, "-m", module, "up", "--port", str(port), "--ui-port", str(ui_port)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "messages"
        with log.open("w") as messages:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=messages, stderr=messages, text=True, start_new_session=True
            )
        try:
            page = _await_url(process, log)
            metrics = f"http://127.0.0.1:{settings.get('metrics_port', 0)}/metrics"
            yield Service(f"http://127.0.0.1:{port}", page, process, log, metrics)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _await_url(process: subprocess.Popen[str], log: Path) -> str:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        if found := READY.search(log.read_text()):
            return found[1].rstrip("/")
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise AssertionError(f"the service is not up (status {process.poll()}):\n{log.read_text()}")


async def record(
    api: str, pcm: Pcm, codec: str = "pcm16", pace: float = 4.0, session: Session | None = None
) -> tuple[Session, Recorder, float]:
    """Record int16 samples (n,) to the end; returns the session, its recorder and the seconds heard."""
    session = session or await open_session(api, "research", "a test")
    recorder = Recorder(session, "webm" if codec == "webm" else "pcm16")
    seconds = await recorder.record(frames(pcm, codec, pace))
    return session, recorder, seconds


def frames(pcm: Pcm, codec: str = "pcm16", pace: float = 4.0) -> AsyncIterator[bytes]:
    """What a recorder sends for int16 samples (n,), `pace` times as fast as they were spoken; 0: at once."""
    blocks = paced((pcm[start : start + FRAME] for start in range(0, len(pcm), FRAME)), pace)
    return webm_frames(blocks) if codec == "webm" else pcm_frames(blocks)


def silence(seconds: float) -> Pcm:
    """Silence as int16 samples (n,)."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.int16)


def assert_same(timeline: Any, undisturbed: Any) -> None:
    """Same turns, speakers and labels; times within a hop, probabilities within .01."""

    def turns(of: Any) -> list[tuple[int, int]]:
        return [(turn["id"], turn["speaker"]) for turn in of["turns"]]

    assert turns(timeline) == turns(undisturbed)
    for mine, theirs in zip(timeline["turns"], undisturbed["turns"], strict=True):
        assert abs(mine["start"] - theirs["start"]) <= 0.5
        assert abs(mine["end"] - theirs["end"]) <= 0.5
    for mine, theirs in zip(timeline["readings"], undisturbed["readings"], strict=True):
        assert (mine["turn"], mine["label"]) == (theirs["turn"], theirs["label"])
        assert abs(mine["start"] - theirs["start"]) <= 0.5
        assert abs(mine["end"] - theirs["end"]) <= 0.5
        assert np.abs(np.subtract(mine["probabilities"], theirs["probabilities"])).max() <= 0.01
    assert timeline["heard_until"] == undisturbed["heard_until"]
