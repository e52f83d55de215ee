"""A container without an engine: what compose asks of one, by bubblewrap (Linux, as root).

A root of its own that cannot be written to, with nothing of this machine but its system and its Python; a user who is
not root, without capabilities; processes, memory and network of its own. What is not as in an engine: the system is
this machine's and not the image's base, all services share one network, and nothing limits memory and cores.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.compose import Service
from tests.cluster.image import CONTAINER, environment, words
from tests.conftest import missing

TOOLS = ("bwrap", "ip", "tini", "wget")
CADDY = {"XDG_DATA_HOME": "/data", "XDG_CONFIG_HOME": "/config"}  # as its image sets them
SIZES = {"k": 2**10, "m": 2**20, "g": 2**30}
PATH = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"


def bytes_of(size: str) -> int:
    """`512m` as bytes."""
    return int(size[:-1]) * SIZES[size[-1]]


@dataclass(frozen=True)
class Sandbox:
    """A network without a way out, and folders that stand for images and volumes."""

    network: str
    folder: Path

    def build(self, command: str, host: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command of the Dockerfile, which may write to the image and reach the network, as on `host`."""
        image = [option for place in ("opt", "app", "build") for option in ("--bind", self._made(place), f"/{place}")]
        resolver = ["--ro-bind", os.path.realpath("/etc/resolv.conf"), os.path.realpath("/etc/resolv.conf")]
        config = [option for path in host.values() if Path(path).is_file() for option in ("--ro-bind", path, path)]
        settings = [option for item in host.items() for option in ("--setenv", *item)]
        inside = [*self._system(0), *image, *resolver, *config, *settings, "--setenv", "PATH", PATH]
        return subprocess.run(
            ["bwrap", *inside, "--", "sh", "-c", command], capture_output=True, text=True, check=False, timeout=580
        )

    def command(self, service: Service, ours: bool, inner: list[str], init: bool = False) -> list[str]:
        """The command line that runs `inner` as compose would run it in a service, whose image may be `ours`."""
        user, _, group = service["user"].partition(":")
        options = [*self._system(int(user), int(group)), *self._mounts(service)]
        options += self._image(service) if ours else self._other_image()
        for name, value in service.get("environment", {}).items():
            options += ["--setenv", name, value]
        options += ["--remount-ro", "/", "--unshare-pid", "--unshare-ipc", "--new-session", "--die-with-parent"]
        entry = ["--as-pid-1", "--", *words("cpu", "ENTRYPOINT")] if init else ["--"]
        return ["ip", "netns", "exec", self.network, "bwrap", *options, *entry, *inner]

    def _mounts(self, service: Service) -> Iterator[str]:
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost redis tonetrack\n")
        yield from ("--ro-bind", str(hosts), "/etc/hosts")
        for mount in service.get("tmpfs", []):
            place, _, how = mount.partition(":")
            size = dict(option.split("=") for option in how.split(","))["size"]
            yield from ("--size", str(bytes_of(size)), "--tmpfs", place)
        for volume in service.get("volumes", []):
            source, target = (volume["source"], volume["target"]) if isinstance(volume, dict) else volume.split(":")[:2]
            if source.startswith(".") and (CONTAINER / source).is_file():
                yield from ("--ro-bind", str((CONTAINER / source).resolve()), target)
            else:
                yield from ("--bind", self._made(f"volumes/{Path(source).name}"), target)
        for secret in service.get("secrets", []):
            yield from ("--ro-bind", str(self.folder / "secrets" / secret), f"/run/secrets/{secret}")

    def _image(self, service: Service) -> Iterator[str]:
        for place in ("opt", "app"):
            yield from ("--ro-bind", self._made(place), f"/{place}")
        yield from ("--size", str(bytes_of(service["shm_size"])), "--tmpfs", "/dev/shm", "--chdir", "/app")
        for name, value in (environment("cpu", PATH) | {"HOME": "/tmp"}).items():
            yield from ("--setenv", name, value)

    def _other_image(self) -> Iterator[str]:
        tools = self._made("bin")
        yield from ("--ro-bind", tools, tools, "--setenv", "PATH", f"{tools}:{PATH}")
        for name, value in CADDY.items():
            yield from ("--setenv", name, value)

    def _system(self, user: int, group: int = 0) -> list[str]:
        links = [
            option for name in ("bin", "lib", "lib64", "sbin") for option in ("--symlink", f"usr/{name}", f"/{name}")
        ]
        bound = [option for path in ("/usr", "/etc", sys.base_prefix) for option in ("--ro-bind", path, path)]
        who = ["--unshare-user", "--uid", str(user), "--gid", str(group), "--cap-drop", "ALL", "--clearenv"]
        return [*who, *bound, *links, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]

    def _made(self, place: str) -> str:
        path = self.folder / place
        path.mkdir(parents=True, exist_ok=True)
        return str(path)


@contextmanager
def sandbox(folder: Path) -> Iterator[Sandbox]:
    """A sandbox; skips where its tools are missing."""
    if lacking := [tool for tool in TOOLS if shutil.which(tool) is None]:
        missing(f"no {', '.join(lacking)} here to run what the image would run")
    network = f"tt{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", network], check=True)
    try:
        subprocess.run(["ip", "-n", network, "link", "set", "lo", "up"], check=True)
        # As Docker has it in its containers: nobody needs to be root for a port.
        ports = "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start"
        subprocess.run(["ip", "netns", "exec", network, "sh", "-c", ports], check=True)
        yield Sandbox(network, folder)
    finally:
        subprocess.run(["ip", "netns", "del", network], check=True)
