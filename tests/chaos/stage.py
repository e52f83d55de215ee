"""A service whose parts can be broken: a Redis that lasts, a disk that can fill up, a clock that can jump."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import redis

from tests.service import Service, free_port, running_redis, running_service

LASTING: Final = ("--appendonly", "yes", "--appendfsync", "everysec")  # as cluster/base/redis has it
DISK_BYTES: Final = 32 * 2**20  # where uploaded sound goes
ABANDON: Final = 30  # s after which a session is given up whose client has vanished
SETTLING_SECONDS: Final = 120.0
SHIM: Final = Path(__file__).with_name("clock.c")
OWN_DISK: Final = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'


class CannotPlay(RuntimeError):
    """Why there can be no chaos here, in a sentence that says what is missing."""


class Clock:
    """The wall clock of those that are started `through` it; see clock.c."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("cc") is None:
            raise CannotPlay("There is no C compiler (cc) here, which makes the clock that can jump; install gcc.")
        self._shift = folder / "clock"
        self.jump(0)
        library = folder / "clock.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True)
        self.through = ("env", f"CHAOS_CLOCK={self._shift}", f"LD_PRELOAD={library}")

    def jump(self, seconds: int) -> None:
        """Set it so many seconds ahead of the kernel's."""
        data = seconds.to_bytes(8, "little", signed=True)
        with open(self._shift, "r+b" if self._shift.exists() else "wb") as file:
            file.write(data)


@dataclass
class Store:
    """A Redis that writes down what it is told, and can be killed and started again."""

    folder: Path
    through: tuple[str, ...]
    url: str = ""
    pid: int = 0
    port: int = field(default_factory=free_port)
    _running: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        self.url = self._running.enter_context(
            running_redis(self.folder, *LASTING, port=self.port, through=self.through)
        )
        with redis.Redis.from_url(self.url) as client:
            self.pid = int(client.info("server")["process_id"])

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._running.close()

    def close(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self._running.close()


@dataclass(frozen=True)
class Stage:
    """A running service and what it stands on. `disk`: the folder of uploaded sound, as the service sees it.

    `killed`: the ids of the processes that have been.
    """

    service: Service
    store: Store
    clock: Clock
    disk: Path
    killed: set[int] = field(default_factory=set)

    def kill(self, part: str, rng: random.Random) -> None:
        """SIGKILL for a process whose command line holds `part`, one of several by chance."""
        matching = sorted(pid for pid, command in self.service.processes().items() if part in command)
        assert matching, f"no process is called {part}"
        self.killed.add(pid := rng.choice(matching))
        os.kill(pid, signal.SIGKILL)

    @contextmanager
    def full_disk(self) -> Iterator[Callable[[], None]]:
        """Yields what fills the disk of uploaded sound up, again and again, for what is erased makes room."""
        ballast = Path(f"/proc/{self.service.process.pid}/root{self.disk}") / "ballast"
        with ballast.open("wb", buffering=0) as file:

            def fill() -> None:
                with suppress(OSError):  # it is full
                    while file.write(bytes(2**18)):
                        pass

            try:
                fill()
                yield fill
            finally:
                ballast.unlink()

    def page_answers(self) -> bool:
        """Whether the page gives out documents."""
        try:
            return httpx.get(self.service.page, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def controlled(self) -> bool:
        """Whether Serve has a controller that was not killed, of whom the service learns what runs."""
        controllers = {pid for pid, command in self.service.processes().items() if "ServeController" in command}
        return bool(controllers - self.killed) and not self._amiss()

    async def settle(self) -> None:
        """Wait until everything is whole again. Raises `AssertionError`."""
        deadline = time.monotonic() + SETTLING_SECONDS
        wrong = "no answer"
        while time.monotonic() < deadline:
            wrong = await asyncio.to_thread(self._amiss)
            if not wrong and await asyncio.to_thread(self.page_answers):
                return
            await asyncio.sleep(0.25)
        raise AssertionError(f"not whole again after {SETTLING_SECONDS:.0f} s: {wrong or 'the page does not answer'}")

    def _amiss(self) -> str:
        """What the service says is the matter with its parts; empty where nothing is."""
        try:
            parts = httpx.get(f"{self.service.api}/readyz", timeout=10).json()["parts"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            return repr(error)
        return ", ".join(f"{name} is {state}" for name, state in parts.items() if state != "ok")


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A service in a mount namespace of its own, with what it needs in `folder`. Raises `CannotPlay`."""
    clock, disk = Clock(folder), folder / "sound"
    disk.mkdir()
    own_disk = (
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        OWN_DISK,
        "sh",
        str(DISK_BYTES),
        str(disk),
    )
    if subprocess.run([*own_disk, "true"], check=False, capture_output=True).returncode:
        raise CannotPlay(
            "This machine gives no user and mount namespaces (unshare), which hold the disk that fills up."
        )
    store = Store(folder, clock.through)
    store.start()
    settings = {"redis_url": store.url, "blobs": str(disk), "abandon": ABANDON, "heartbeat": 2, "log_format": "json"}
    try:
        with running_service(through=(*own_disk, *clock.through), **settings) as service:
            yield Stage(service, store, clock, disk)
    finally:
        store.close()
