"""What the Dockerfile says, as data: its stages, and what an image of one of them would run."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.cluster.overlays import CLUSTER
from tests.service import ROOT

CONTAINER = CLUSTER / "container"
DOCKERFILE = CONTAINER / "Dockerfile"

Step = tuple[str, str]  # an instruction and what follows it


@dataclass(frozen=True)
class Stage:
    """A stage, and the one that it goes on from."""

    of: str
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True)
class Copied:
    """A COPY: from the repository, or from the stage that it names."""

    sources: list[str]
    target: str
    stage: str | None


def stages() -> dict[str, Stage]:
    """All stages by name, as they stand."""
    made: dict[str, Stage] = {}
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            of, _, name = rest.split()
            made[name] = current = Stage(of)
        elif word:
            current.steps.append((word, rest.strip()))
    return made


def steps(target: str) -> list[Step]:
    """All that makes an image, the stages that it copies from included, in the order of a build."""
    known = stages()
    stage, made = known[target], []
    for step in (steps(stage.of) if stage.of in known else []) + stage.steps:
        copied = copy(step)
        if copied and copied.stage:
            made += [other for other in steps(copied.stage) if other not in made]
        if step not in made:
            made.append(step)
    return made


def copy(step: Step) -> Copied | None:
    """What a step copies, if it does."""
    word, rest = step
    if word != "COPY":
        return None
    words = shlex.split(rest)
    stage = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
    *sources, target = (word for word in words if not word.startswith("--"))
    return Copied(sources, target, stage)


def environment(target: str, path: str) -> dict[str, str]:
    """The image's environment on a base whose PATH is `path`."""
    found = {"PATH": path}
    for word, rest in steps(target):
        if word == "ENV":
            found |= {
                name: value.replace("$PATH", path) for name, _, value in (w.partition("=") for w in shlex.split(rest))
            }
    return found


def last(target: str, word: str) -> str:
    """What the image's last such instruction says."""
    return [rest for step, rest in steps(target) if step == word][-1]


def words(target: str, word: str) -> list[str]:
    """The same where it is a JSON list, options before it left out."""
    found: list[str] = json.loads("[" + last(target, word).partition("[")[2])
    return found


def sent(path: str) -> bool:
    """Whether the build gets to see a path of the repository: the last pattern of .dockerignore that fits decides."""
    shown = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!").rstrip("/")
        if not pattern or line.startswith("#"):
            continue
        parts = path.split("/")
        above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        if any(_fits(part, pattern) for part in above):
            shown = line.startswith("!")
    return shown


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.rpartition("/")[2], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)
