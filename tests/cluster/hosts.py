"""Hosts of our own on this machine: namespaces on a bridge, each with an address of its own (Linux, as root).

What runs on one has every port to itself, sees no process of another, and can lose its network or its power without a
word to the others.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import missing


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@dataclass
class Host:
    """A host; `folder` is where its processes find `/tmp/ray`, and where their messages go."""

    name: str
    address: str
    folder: Path
    starts: int = 0
    _mine: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> subprocess.Popen[bytes]:
        """Run a command here."""
        self.starts += 1
        ray = self.folder / "ray"
        ray.mkdir(exist_ok=True)
        apart = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        alone = [*apart, "sh", "-c", f'mount --bind "{ray}" /tmp/ray && exec "$@"', "sh"]
        with (self.folder / "messages").open("ab") as messages:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *alone, *command],
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                start_new_session=True,
            )
        self._mine.append(process)
        return process

    def run(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, seconds: float) -> int:
        """Run a command among those that run here already, to its end; returns its status. Raises `TimeoutExpired`."""
        (_unshare, inside, *_) = _ip("netns", "pids", self.name).split()
        entered = ["nsenter", "--target", inside, "--mount", "--pid", "--net", f"--wd={cwd}", *command]
        with (self.folder / "messages").open("ab") as messages:
            return subprocess.run(
                entered, env=dict(environment), stdout=messages, stderr=messages, timeout=seconds, check=False
            ).returncode

    def messages(self) -> str:
        """What the commands said."""
        return (self.folder / "messages").read_text(errors="replace")

    def failed(self) -> bool:
        """Whether a command has ended by itself."""
        return any(process.poll() is not None for process in self._mine)

    def end(self) -> None:
        """SIGKILL for all that runs here."""
        while pids := _ip("netns", "pids", self.name).split():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            for process in self._mine:
                process.wait(10)
        self._mine = []

    def unplug(self) -> None:
        """Pull all plugs: the power's, and the network's first, so that nobody is told by a closed connection."""
        _ip("-n", self.name, "link", "set", "eth0", "down")
        self.end()

    def plug_in(self) -> None:
        """Give the host its network back; nothing runs on it yet."""
        _ip("-n", self.name, "link", "set", "eth0", "up")


class Network:
    """Hosts as they are needed, on one bridge. `here` is this machine's own address on it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._tag = secrets.token_hex(3)
        self._folder = folder
        self._stack = stack
        self._bridge = f"tt{self._tag}"
        self._hosts = 1
        # A network out of those for tests between networks (RFC 2544), so that it hides nobody's own.
        self._prefix = f"198.18.{secrets.randbelow(256)}"
        self.here = f"{self._prefix}.1"
        _ip("link", "add", self._bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", self._bridge)
        _ip("addr", "add", f"{self.here}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def host(self, name: str) -> Host:
        """A new host."""
        self._hosts += 1
        address, space = f"{self._prefix}.{self._hosts}", f"{self._bridge}-{name}"
        _ip("netns", "add", space)
        self._stack.callback(_ip, "netns", "del", space)
        end = f"{self._bridge}.{self._hosts}"
        _ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", end, "master", self._bridge, "up")
        _ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")
        folder = self._folder / name
        folder.mkdir()
        host = Host(space, address, folder)
        self._stack.callback(host.end)
        return host


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A network of our own, and everything on it ended afterwards; skips the test where this machine allows none."""
    if os.name != "posix" or shutil.which("ip") is None or shutil.which("unshare") is None:
        missing("hosts of our own need Linux with iproute2 and util-linux")
    Path("/tmp/ray").mkdir(exist_ok=True)
    with ExitStack() as stack:
        try:
            made = Network(folder, stack)
            made.host("probe").start(["true"], os.environ, folder).wait(10)
        except subprocess.CalledProcessError as error:
            missing(f"this machine lets us make no hosts of our own: {error.stderr.strip()}")
        yield made
