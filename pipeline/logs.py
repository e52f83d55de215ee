"""What is logged: as text for people, or as JSON for whatever collects it, a line an event.

A line about a session or a recording carries its id. No line holds sound, words, names or keys. What an error says may:
Redis repeats the command that it refuses, pydantic the value. So of an error its kind is logged and where it came from,
and its words only where they are our own, or the system's on a connection or a file.

An id is a random number that leads to nothing once what it names is erased, but whoever has an old link could still
find when that was heard and how long it took. So it is struck out of the service's own files (`strike_out`).
"""

from __future__ import annotations

import json
import logging
import mmap
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pipeline.plain import one_line

Form = Literal["text", "json"]

SERVE: Final = "ray.serve"  # Ray Serve's logger, and the deployments'
ASYNCIO: Final = "asyncio"  # tells of errors that nobody has asked about
LONGEST_ID: Final = 40  # characters of an id that are logged; ours have 16, and what a URL says may be anything
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


class Plain(Exception):
    """An error whose words are ours and hold nothing of anybody's: they may be logged."""


def about(**ids: str) -> None:
    """From here on, what this task or thread logs, and the tasks that it begins, is about a session or recording.

    An id is a stranger's word until it is looked up: it is logged short and in one line, so that it forges no other.
    """
    said = {kind: one_line(identity)[:LONGEST_ID] for kind, identity in ids.items()}
    _about.set(MappingProxyType({**_about.get(), **said}))


def why(error: BaseException | None) -> str:
    """The kind of an error, and what it says where that may be logged."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    systems = isinstance(error, OSError) and type(error).__module__ == "builtins"
    said = str(error) if systems or isinstance(error, Plain | RedisConnectionError | RedisTimeoutError) else ""
    return f"{kind}: {said}" if said else kind


def trace(error: BaseException) -> str:
    """Where an error came from and what had caused it, as Python prints it but for the words."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link and link not in seen:
        seen.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n".join("".join(traceback.format_tb(one.__traceback__)) + why(one) for one in reversed(seen))


class Formatter(logging.Formatter):
    """`part`: of the service, whose process this is."""

    def __init__(self, form: Form, part: str) -> None:
        super().__init__()
        self._form = form
        self._part = part

    def format(self, record: logging.LogRecord) -> str:
        """A line; as text, more of them where there is an error."""
        record.message = record.getMessage()
        if record.name == ASYNCIO:  # its further lines repeat what errors say
            record.message = record.message.partition("\n")[0]
        error = record.exc_info[1] if record.exc_info else None
        told = trace(error) if error else ""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        if self._form == "text":
            ids = "".join(f"{kind} {value}: " for kind, value in _about.get().items())
            line = f"{record.levelname} {at} {self._part} -- {ids}{record.message}"
            return f"{line}\n{told}" if told else line
        line_of: dict[str, Any] = {"time": at, "level": record.levelname, "part": self._part, "logger": record.name}
        line_of |= _about.get()
        if request := getattr(record, "request_id", None):  # Serve's filter has put it there
            line_of["request_id"] = request
        line_of["message"] = record.message
        if told:
            line_of["error"] = told
        return json.dumps(line_of)


def own_folder() -> Path | None:
    """Where this process and those beside it log: Ray's folder on this machine, or None outside of a Serve replica."""
    for handler in logging.getLogger(SERVE).handlers:
        if file := getattr(getattr(handler, "target", handler), "baseFilename", None):
            return Path(file).parents[1]
    return None


def strike_out(identity: str, place: Path) -> int:
    """Write dashes over every mention of an id in a file, or in all files below a folder; returns how many there were.

    In place and of the same length: what logs appends, and does not notice. Raises `OSError` at the end where a file
    could not be written to: the id may still stand there.
    """
    found = 0
    trouble: OSError | None = None
    for path in [place] if place.is_file() else place.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        try:
            with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as text:
                at = -1
                while (at := text.find(identity.encode(), at + 1)) >= 0:
                    text[at : at + len(identity)] = b"-" * len(identity)
                    found += 1
        except (FileNotFoundError, ValueError):  # it went meanwhile, or is empty
            continue
        except OSError as error:
            trouble = error
    if trouble:
        raise trouble
    return found


def speak(part: str, form: Form, level: str) -> None:
    """Have this process log so, Serve's own lines included. Libraries are heard from warnings on.

    To be called when Serve has set up its handlers: when a deployment or an actor is made.
    """
    formatter = Formatter(form, part)
    own = logging.StreamHandler()
    own.setFormatter(formatter)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:  # of a library that had something to say before this
            root.removeHandler(handler)
    root.addHandler(own)
    serve = logging.getLogger(SERVE)
    serve.setLevel(level)
    for handler in serve.handlers:
        getattr(handler, "target", handler).setFormatter(formatter)  # its file is behind a buffer
