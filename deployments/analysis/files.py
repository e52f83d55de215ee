"""Which recordings there are to analyse, and the folder or bucket that what was heard is written to."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, cast

import fsspec

from pipeline.blobs import READ_AHEAD

# By these a folder's recordings are told from what else is in it; whether they are recordings, their content tells.
AUDIO: Final = {
    *(".3g2", ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".m4b", ".m4v", ".mka"),
    *(".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".oga", ".ogg", ".ogv", ".opus", ".snd", ".spx", ".w64", ".wav", ".wave"),
    *(".weba", ".webm"),
}
BUCKETS: Final = ("s3", "gs", "gcs")


class CannotAnalyse(RuntimeError):
    """Why nothing can be analysed, or something cannot be written, in one sentence."""


@dataclass(frozen=True)
class Task:
    """A recording, by its path or URL, and what is to be written of it: NAME.EXT for each extension."""

    source: str
    name: str
    extensions: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The file's own name, as reports show it."""
        return printable(PurePosixPath(self.source.replace(os.sep, "/")).name)

    @property
    def label(self) -> str:
        """The path or URL, as a terminal may show it."""
        return printable(self.source)

    @property
    def files(self) -> list[str]:
        """What is to be written, below the folder that it is written to."""
        return [f"{self.name}.{extension}" for extension in self.extensions]


class Outputs:
    """A folder or a bucket's prefix that files are written to, each of them whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._local = not is_url(url)
        if self._local:
            self._root = str(Path(url).absolute())
        else:
            self._files, self._root = _bucket(url)
        self._known: set[str] | None = None

    def prepare(self) -> None:
        """Find out whether anything can be written there, before anything is heard. Raises `CannotAnalyse`."""
        try:
            if self._local:
                os.makedirs(self._root, exist_ok=True)
                tempfile.TemporaryFile(dir=self._root).close()
            else:
                probe = f".tonetrack-{secrets.token_hex(8)}"
                self.write(probe, [b"ToneTrack"])
                self._files.rm_file(f"{self._root}/{probe}")
                found = self._files.find(self._root)
                self._known = {path.removeprefix(self._root).lstrip("/") for path in found}
        except OSError as error:
            raise CannotAnalyse(f"Nothing can be written to {self.url}: {error.strerror or error}.") from error

    def has(self, name: str) -> bool:
        """Whether a file is there, which is whole then."""
        if self._local:
            return os.path.isfile(os.path.join(self._root, name))
        return name in (self._known or ())

    def place(self, name: str) -> str:
        """Where a file is or would be."""
        return os.path.join(self._root, name) if self._local else f"{self._root}/{name}"

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file. Raises `CannotAnalyse`, and what the pieces raise; then there is none, or the one before."""
        with self._explained(name):
            file = self._begin(name)
        try:
            for piece in pieces:
                with self._explained(name):
                    file.write(piece)
            with self._explained(name):
                self._commit(file, name)
        except BaseException:
            self._discard(file)
            raise

    def _begin(self, name: str) -> Any:
        path = self.place(name)
        if not self._local:
            return self._files.open(path, "wb", autocommit=False)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(os.path.join(os.path.dirname(path), f".tonetrack-{secrets.token_hex(8)}.part"), "xb")

    def _commit(self, file: Any, name: str) -> None:
        if not self._local:
            file.close()
            file.commit()
            return
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(file.name, self.place(name))

    def _discard(self, file: Any) -> None:
        with suppress(Exception):
            if self._local:
                file.close()
                os.unlink(file.name)
            else:
                file.discard()
                file.closed = True  # or it would be written after all when it is collected

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each kind of bucket has errors of its own
            why = getattr(error, "strerror", None) or error
            raise CannotAnalyse(f"{printable(self.place(name))} cannot be written: {why}") from error


def is_url(place: str) -> bool:
    """Whether it is in a bucket rather than a path of this machine."""
    return "://" in place


def is_many(place: str) -> bool:
    """Whether it may hold several recordings: a folder, or a bucket's prefix."""
    return is_url(place) or os.path.isdir(place)


def find(places: Sequence[str]) -> tuple[list[Task], list[str]]:
    """The recordings at paths and URLs, those of folders by their extensions, and what is wrong with any place.

    A recording from a folder keeps its place below it, so that its outputs do, too.
    """
    tasks: dict[str, Task] = {}
    problems: list[str] = []
    for place in places:
        try:
            found = list(_found(place))
        except CannotAnalyse as error:
            problems.append(str(error))
            continue
        if not found:
            problems.append(f"{printable(place)} holds no recording, by the names of its files.")
        for task in found:
            tasks.setdefault(task.source if is_url(task.source) else os.path.realpath(task.source), task)
    return list(tasks.values()), problems


def planned(tasks: Sequence[Task], formats: Sequence[str], outputs: Outputs, force: bool) -> list[Task]:
    """The tasks with what is still to be written, without those that are done. Raises `CannotAnalyse`.

    Nothing may be written twice, nor over a recording.
    """
    writers: dict[str, str] = {}
    sources = {os.path.realpath(task.source) if not is_url(task.source) else task.source for task in tasks}
    left: list[Task] = []
    for task in tasks:
        whole = Task(task.source, task.name, tuple(formats))
        for file in whole.files:
            if (other := writers.setdefault(file, task.label)) != task.label:
                raise CannotAnalyse(
                    f"{other} and {task.label} would both be written to {printable(file)}; rename one, analyse them "
                    "to different folders (--output), or name the folder above them."
                )
            place = outputs.place(file)
            if place in sources or os.path.realpath(place) in sources:
                raise CannotAnalyse(f"{printable(file)} would be written over the recording {printable(place)}.")
        missing = tuple(e for e in formats if force or not outputs.has(f"{task.name}.{e}"))
        if missing:
            left.append(Task(task.source, task.name, missing))
    return left


def _found(place: str) -> Iterator[Task]:
    if is_url(place):
        files, root = _bucket(place)
        scheme = place.partition("://")[0]
        try:
            paths = sorted(files.find(root))
        except Exception as error:  # each kind of bucket has errors of its own
            raise CannotAnalyse(f"{place} cannot be listed: {error}") from error
        if paths == [root]:
            yield Task(place, _stem(PurePosixPath(root).name))
            return
        found: Mapping[str, str] = {f"{scheme}://{path}": path.removeprefix(root).lstrip("/") for path in paths}
    elif os.path.isdir(place):
        files, root = fsspec.core.url_to_fs(os.path.abspath(place))
        found = {path: os.path.relpath(path, root) for path in sorted(files.find(root))}
    elif os.path.exists(place):
        yield Task(place, _stem(os.path.basename(place)))
        return
    else:
        raise CannotAnalyse(f"There is no file or folder {printable(place)}.")
    for path, name in found.items():
        own = PurePosixPath(name)
        hidden = any(part.startswith(".") for part in own.parts)
        if own.suffix.lower() in AUDIO and not hidden:
            yield Task(path, str(own.with_name(_stem(own.name))))


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _bucket(url: str) -> tuple[Any, str]:
    """A bucket's files, and the path in it. Raises `CannotAnalyse`."""
    if url.partition("://")[0] not in BUCKETS:
        raise CannotAnalyse(f"{url} is no place for recordings: name a path, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.")
    try:
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except (ImportError, ValueError, OSError) as error:
        raise CannotAnalyse(f"{url} cannot be used: {error}") from error
    return files, str(root).rstrip("/")


@contextmanager
def open_source(source: str) -> Iterator[BinaryIO]:
    """A recording's bytes, wherever it lies."""
    if is_url(source):
        files, path = _bucket(source)
        with files.open(path, "rb", block_size=READ_AHEAD, cache_type="readahead") as file:
            yield cast(BinaryIO, file)
    else:
        with open(source, "rb") as file:
            yield cast(BinaryIO, file)


@contextmanager
def opened(source: str) -> Iterator[Path | BinaryIO]:
    """The same as `pipeline.media` takes it: a path is opened there, with care."""
    if is_url(source):
        with open_source(source) as file:
            yield file
    else:
        yield Path(source)


def printable(text: str) -> str:
    """Text as a terminal may show it."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
