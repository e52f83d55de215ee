"""A form with a file in it (multipart/form-data, RFC 7578), read as it arrives: the file never lies in memory whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipeline.plain import one_line

FILE: Final = "file"
MOST_FIELDS: Final = 64
LONGEST_FIELD: Final = 16_384  # bytes, of a field that is not the file, and of a part's headers
LONGEST_NAME: Final = 80  # characters of a field's name

Write = Callable[[bytes], Awaitable[None]]


class BadForm(ValueError):
    """This is not the form that is asked for; the message says why."""


class Form:
    """A form's fields, and the name of the one file in it, whose bytes go to `write`. Raises `BadForm`."""

    def __init__(self, content_type: str, write: Write) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise BadForm("Send a form, multipart/form-data, with the sound in its field 'file'.")
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self._write = write
        self._arrived = bytearray()  # of the file, and not written yet
        self._part = _Part()
        self._whole = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._part.name_header(data[start:end]),
                    "on_header_value": lambda data, start, end: self._part.fill_header(data[start:end]),
                    "on_header_end": lambda: self._part.end_header(),
                    "on_headers_finished": self._know,
                    "on_part_data": self._take,
                    "on_part_end": self._finish,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise BadForm(f"The form is malformed: {error}") from error

    async def read(self, body: AsyncIterator[bytes]) -> None:
        """Take the whole body. Raises `BadForm`, and what `write` and the body raise."""
        async for block in body:
            try:
                self._parser.write(block)
            except FormParserError as error:
                raise BadForm(f"The form is malformed: {error}") from error
            if self._arrived:
                await self._write(bytes(self._arrived))
                self._arrived.clear()
        if not self._whole:
            raise BadForm("The form breaks off before its end; send it again.")
        if self.file_name is None:
            raise BadForm("The form holds no file; send the sound in its field 'file'.")

    def _begin(self) -> None:
        self._part = _Part()

    def _know(self) -> None:
        if self._part.name == FILE:
            if self.file_name is not None:
                raise BadForm("The form holds several files; send each recording in a form of its own.")
            self.file_name = self._part.file_name
        elif self._part.name in self.fields:
            raise BadForm(f"The field '{self._part.name}' comes twice.")
        elif len(self.fields) >= MOST_FIELDS:
            raise BadForm(f"A form has no more than {MOST_FIELDS} fields.")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == FILE:
            self._arrived += data[start:end]
        else:
            self._part.add(data[start:end])

    def _finish(self) -> None:
        if self._part.name != FILE:
            self.fields[self._part.name] = self._part.text

    def _end(self) -> None:
        self._whole = True


class _Part:
    """One part of a form."""

    def __init__(self) -> None:
        self._header, self._content = bytearray(), bytearray()
        self._disposition: dict[bytes, bytes] = {}
        self._value = bytearray()

    def name_header(self, data: bytes) -> None:
        self._header += data

    def fill_header(self, data: bytes) -> None:
        self._content += data
        if len(self._content) + len(self._header) > LONGEST_FIELD:
            raise BadForm("A part of the form has headers that are too long.")

    def end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, self._disposition = parse_options_header(bytes(self._content))
        self._header, self._content = bytearray(), bytearray()

    def add(self, data: bytes) -> None:
        self._value += data
        if len(self._value) > LONGEST_FIELD:
            raise BadForm(f"The field '{self.name}' is too long.")

    @property
    def name(self) -> str:
        """Of the field."""
        return one_line(self._disposition.get(b"name", b"").decode("utf-8", "replace"))[:LONGEST_NAME]

    @property
    def file_name(self) -> str:
        """As its sender calls it, without the folder; for people to read, and for nothing else."""
        name = self._disposition.get(b"filename", b"").decode("utf-8", "replace").replace("\\", "/").rsplit("/", 1)[-1]
        return "".join(c if c.isprintable() else " " for c in name).strip()[:200]

    @property
    def text(self) -> str:
        """What the field says. Raises `BadForm`."""
        try:
            return self._value.decode()
        except UnicodeDecodeError as error:
            raise BadForm(f"The field '{self.name}' is not UTF-8.") from error
