"""A file as FFmpeg may see it: without a name, without what comes before the sound, and no more than is reasonable."""

from __future__ import annotations

import re
from copy import copy
from typing import BinaryIO, Final

READ_AHEAD: Final = 64 * 2**20  # bytes for the header, or for one packet: far more than either needs
MOST_TAGS: Final = 16  # ID3 tags before the sound
EINVAL: Final = 22


class Window:
    """A file object for FFmpeg, over a file that can seek.

    It ends early for whoever reads READ_AHEAD bytes without having got a packet from them. It never raises for what
    FFmpeg asks: PyAV would keep such an exception and raise it out of another call.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0, 2)
        self._end = file.tell()
        self._position = 0
        self._unused = 0  # bytes read since the last packet
        self.start = 0
        self.start = self._after_tags()

    def part(self, start: int, end: int) -> Window:
        """A window on less of the file, in offsets of this one."""
        less = copy(self)
        less.start, less._end = self.start + start, self.start + end
        less._position = less._unused = 0
        return less

    def __len__(self) -> int:
        return self._end - self.start

    def read(self, size: int) -> bytes:
        """The next `size` bytes at most."""
        if self._unused >= READ_AHEAD:
            return b""
        data = self.at(self._position, size)
        self._position += len(data)
        self._unused += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file's, but for -EINVAL before the start."""
        target = offset + (0, self._position, len(self))[whence]
        if target < 0:
            return -EINVAL
        self._position = target
        return target

    def tell(self) -> int:
        """As a file's."""
        return self._position

    def got_packet(self) -> None:
        """What was read has been of use."""
        self._unused = 0

    def at(self, offset: int, size: int) -> bytes:
        """Bytes at an offset, fewer at the end. Raises OSError."""
        size = max(0, min(size, len(self) - offset))
        self._file.seek(self.start + offset)
        return (self._file.read(size) or b"")[:size]  # FFmpeg has room for no more

    def _after_tags(self) -> int:
        """Where the sound begins. An ID3 tag holds pictures of any size, in which FFmpeg would look for frames."""
        start = 0
        for _ in range(MOST_TAGS):
            head = self.at(start, 10)
            if not re.fullmatch(rb"ID3[\x02-\x04][^\xff].[\x00-\x7f]{4}", head, re.DOTALL):
                break
            size = sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:]))
            start += size + (20 if head[5] & 0x10 else 10)
        return min(start, self._end)
