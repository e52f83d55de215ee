"""Where uploaded sound lies until it has been heard: a local folder, or a bucket (s3://, gs://), by fsspec.

A blob's name is its recording's id; until it is kept, it has one of the attempt to upload it (ID.arriving.ATTEMPT), for
several may be under way. Nothing that a stranger says ever becomes a part of a path.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import fsspec
from fsspec.spec import AbstractBufferedFile

from pipeline.logs import Plain

READ_AHEAD: Final = 5 * 2**20  # bytes; what one request to a bucket brings
ARRIVING: Final = ".arriving"  # what follows the id, or a local file's name, until all of it is there
BUCKET: Final = {"block_size": 5 * 2**20}  # bytes of an upload that are in memory: the least that S3 takes at once
SPARE: Final = 1 / 20, 2**30  # of a disk that uploads leave to all else: this share of it, or so many bytes
_ID: Final = re.compile(r"[0-9a-f]{16}")


Answer = TypeVar("Answer")


class BlobTrouble(Plain, RuntimeError):
    """The blob store cannot be used; the message says which and why."""


class DiskFull(BlobTrouble):
    """There is no room for more sound, but what others on that disk may need."""


class Writable(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take some more."""
        ...


class Blobs:
    """Blobs under a URL that fsspec understands. Its credentials come from where each service looks for its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            # Its caches would know of a file that another process has erased.
            files, root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        except (ImportError, ValueError, OSError) as error:
            raise BlobTrouble(f"The blob store {url} cannot be used: {error}") from error
        self._files: Any = files
        self._root = str(root).rstrip("/")
        local = "file" in (self._files.protocol if isinstance(self._files.protocol, tuple) else (self._files.protocol,))
        self._local = local
        self._probe = secrets.token_hex(8)  # of our own: several may check at once
        self._reading: dict[str, Any] = {} if local else {"block_size": READ_AHEAD, "cache_type": "readahead"}

    @contextmanager
    def write(self, recording: str, attempt: str = "") -> Iterator[Writable]:
        """A file for a recording's sound, which is there once the block has ended well, and else never.

        `attempt`: a token of whoever uploads it; what it writes is its own until `keep`.
        """
        path = self._path(recording, attempt)
        with self._explained():
            if self._local:  # a bucket that is not there would be made, whoever's its name is
                self._files.makedirs(self._root, exist_ok=True)
            file = _Arriving(path) if self._local else self._files.open(path, "wb", autocommit=False, **BUCKET)
        try:
            yield _Explained(file, self._explained)
            with self._explained():
                file.close()
                file.commit()
        except BaseException:
            with suppress(Exception):
                file.discard()
            if isinstance(file, AbstractBufferedFile):
                file.closed = True  # or it would be written after all when it is collected
            raise

    @contextmanager
    def read(self, recording: str, attempt: str = "") -> Iterator[Blob]:
        """A recording's sound. Raises `FileNotFoundError` where there is none any more.

        Whoever hands it to a library that makes something of its own of what goes wrong asks its `trouble` afterwards.
        """
        path = self._path(recording, attempt)
        with self._explained(missing=True):
            file = self._files.open(path, "rb", **self._reading)
        with file:
            yield Blob(file, self._explained)

    def size(self, recording: str, attempt: str = "") -> int:
        """Bytes of a recording's sound. Raises `FileNotFoundError`."""
        path = self._path(recording, attempt)
        with self._explained(missing=True):
            return int(self._files.size(path))

    def keep(self, recording: str, attempt: str) -> None:
        """Make what an attempt has written the recording's sound. Raises `FileNotFoundError` where it is gone."""
        written, path = self._path(recording, attempt), self._path(recording)
        with self._explained(missing=True):
            if self._local:
                os.replace(written, path)
            else:
                self._files.mv(written, path)

    def discard(self, recording: str, attempt: str) -> None:
        """Erase what an attempt has written, if there is anything and it was not kept."""
        self._remove(self._path(recording, attempt))

    def erase(self, recording: str) -> None:
        """Erase a recording's sound, if there is any, and what attempts to upload it have left."""
        path = self._path(recording)
        with self._explained():
            if self._local:
                left = [str(one) for one in Path(self._root).glob(f"{recording}{ARRIVING}*")]
            else:
                left = self._files.find(self._root, prefix=f"{recording}{ARRIVING}")
        self._remove(path, *left)

    def check_room(self, size: int) -> None:
        """Raises `DiskFull` where so many bytes more would leave too little of the disk. A bucket has no end."""
        if not self._local:
            return
        disk = shutil.disk_usage(self._root)
        if disk.free - size < min(SPARE[0] * disk.total, SPARE[1]):
            raise DiskFull(f"The disk of {self.url} has {disk.free / 2**20:,.0f} MiB left, too little for an upload.")

    def check(self) -> None:
        """Write, read and erase something. Raises `BlobTrouble`."""
        with self.write(self._probe) as file:
            file.write(b"ToneTrack")
        try:
            with self.read(self._probe) as file:
                back = file.read()
        except FileNotFoundError:
            back = b""
        finally:
            self.erase(self._probe)
        if back != b"ToneTrack":
            raise BlobTrouble(f"The blob store {self.url} does not give back what it was given.")

    def _remove(self, *paths: str) -> None:
        with self._explained():
            for path in paths:
                with suppress(FileNotFoundError):
                    self._files.rm_file(path)

    def _path(self, recording: str, attempt: str = "") -> str:
        if not _ID.fullmatch(recording):
            raise ValueError(f"{recording!r} is no recording's id")
        if attempt and not _ID.fullmatch(attempt):
            raise ValueError(f"{attempt!r} is no attempt's token")
        return f"{self._root}/{recording}" + (f"{ARRIVING}.{attempt}" if attempt else "")

    @contextmanager
    def _explained(self, missing: bool = False) -> Iterator[None]:
        """Turns what can go wrong into `BlobTrouble`; that a blob is missing stays what it is, where asked."""
        try:
            yield
        except Exception as error:  # each service has errors of its own
            if missing and isinstance(error, FileNotFoundError):
                raise
            raise BlobTrouble(f"The blob store {self.url} does not do as it is asked: {error}") from error


class _Arriving:
    """A local file of this user alone, beside its place until all of it is there: whoever may erase the one finds it.

    fsspec's own lies wherever temporary files do, for good where the process is killed, and is copied from there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = open(path + ARRIVING, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()

    def commit(self) -> None:
        os.replace(self._path + ARRIVING, self._path)

    def discard(self) -> None:
        self._file.close()
        os.remove(self._path + ARRIVING)


class Blob:
    """A recording's sound, open for reading, whose `trouble` is the blob store's and not the recording's."""

    def __init__(self, file: Any, explained: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._explained = explained
        self.trouble: BlobTrouble | None = None

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes, all that are left by default. Raises `BlobTrouble`."""
        return self._told(lambda: bytes(self._file.read(size)))

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; returns where that is. Raises `BlobTrouble`."""
        return self._told(lambda: int(self._file.seek(offset, whence)))

    def tell(self) -> int:
        """The place that is read from next."""
        return int(self._file.tell())

    def _told(self, ask: Callable[[], Answer]) -> Answer:
        try:
            with self._explained():
                return ask()
        except BlobTrouble as error:
            self.trouble = error
            raise


class _Explained:
    """A file whose trouble with writing is the blob store's."""

    def __init__(self, file: Any, explained: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._explained = explained

    def write(self, data: bytes) -> int:
        with self._explained():
            return int(self._file.write(data))
