"""A form as it arrives, cut wherever networks cut it, and forms that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from deployments.multipart import LONGEST_FIELD, MOST_FIELDS, BadForm, Form

BOUNDARY = "----a-boundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
SOUND = bytes(range(256)) * 4 + b"\r\n------a-boundar" + b"\r\n--" + b"\r" * 30 + b"\n"
Part = tuple[str, bytes]


def field(name: str, value: bytes) -> Part:
    return f'Content-Disposition: form-data; name="{name}"', value


def file(value: bytes = SOUND, name: str = 'filename="talk.wav"') -> Part:
    return f'Content-Disposition: form-data; name="file"; {name}\r\nContent-Type: audio/wav', value


def body(*parts: Part, end: bytes = b"--\r\n") -> bytes:
    begin = b"--" + BOUNDARY.encode()
    written = (begin + b"\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n" for head, value in parts)
    return b"".join(written) + begin + end


async def blocks_of(data: bytes, cuts: Sequence[int]) -> AsyncIterator[bytes]:
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[start:stop]


async def read(data: bytes, cuts: Sequence[int] = (), content_type: str = CONTENT_TYPE) -> tuple[Form, bytes]:
    taken = bytearray()

    async def write(block: bytes) -> None:
        taken.extend(block)

    form = Form(content_type, write)
    await form.read(blocks_of(data, cuts))
    return form, bytes(taken)


WHOLE = body(field("purpose", b"therapy"), file(), field("consent", b"true"))


async def test_a_form_is_read_whole() -> None:
    form, sound = await read(WHOLE)
    assert (form.fields, form.file_name, sound) == ({"purpose": "therapy", "consent": "true"}, "talk.wav", SOUND)


async def test_byte_by_byte_it_is_the_same_form() -> None:
    form, sound = await read(WHOLE, range(1, len(WHOLE)))
    assert (form.fields, form.file_name, sound) == ({"purpose": "therapy", "consent": "true"}, "talk.wav", SOUND)


async def test_it_is_the_same_form_wherever_it_is_cut() -> None:
    whole = body(field("purpose", "Gespräch".encode()), file(b"\r\n--x\r\n"), field("consent", b"true"))
    for cut in range(1, len(whole)):
        form, sound = await read(whole, [cut])
        assert (form.fields["purpose"], form.file_name, sound) == ("Gespräch", "talk.wav", b"\r\n--x\r\n"), cut


@pytest.mark.parametrize("size", [2, 3, 7, 64, 1_000])
async def test_it_is_the_same_form_in_blocks_of_any_size(size: int) -> None:
    _, sound = await read(WHOLE, range(size, len(WHOLE), size))
    assert sound == SOUND


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_the_file_may_come_first_or_last(place: int) -> None:
    parts = [field("purpose", b"therapy"), field("consent", b"true")]
    parts.insert(place, file())
    form, sound = await read(body(*parts))
    assert (form.fields, sound) == ({"purpose": "therapy", "consent": "true"}, SOUND)


async def test_the_file_is_handed_on_as_it_arrives() -> None:
    sound = bytes(100_000)
    written: list[int] = []
    arrived = 0

    async def arriving() -> AsyncIterator[bytes]:
        nonlocal arrived
        whole = body(file(sound))
        for start in range(0, len(whole), 10_000):
            block = whole[start : start + 10_000]
            yield block
            arrived += len(block)
            assert arrived - 300 <= sum(written) <= arrived

    async def write(block: bytes) -> None:
        written.append(len(block))

    await Form(CONTENT_TYPE, write).read(arriving())
    assert sum(written) == len(sound)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ('filename="talk.wav"', "talk.wav"),
        ("filename=talk.wav", "talk.wav"),
        ('filename=""', ""),
        ('filename="../../etc/passwd"', "passwd"),
        ('filename="/etc/passwd"', "passwd"),
        ('filename="C:\\x\\y.wav"', "y.wav"),
        ('filename="C:\\\\x\\\\y.wav"', "y.wav"),
        ('filename="..\\..\\y.wav"', "y.wav"),
        ('filename=".."', ".."),
        ('filename="Gespräch 1.wav"', "Gespräch 1.wav"),
        ('filename="🎙️.wav"', "🎙️.wav"),
        ('filename="a\tb\x07c\x7f.wav"', "a b c .wav"),
        ('filename="\u202egpj.wav"', "gpj.wav"),
        ('filename="<img src=x onerror=alert(1)>.wav"', "<img src=x onerror=alert(1)>.wav"),
        ("filename*=UTF-8''Gespr%C3%A4ch.wav", ""),  # forms do not have it: RFC 7578, section 4.2
        ("filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", ""),
        ("filename=\"plain.wav\"; filename*=UTF-8''Gespr%C3%A4ch.wav", "plain.wav"),
        ('filename="' + "n" * 2_000 + '"', "n" * 200),
        ("", ""),
    ],
)
async def test_a_files_name_is_for_people_and_leads_nowhere(said: str, name: str) -> None:
    form, sound = await read(body(file(name=said)))
    assert (form.file_name, sound) == (name, SOUND)


@pytest.mark.parametrize("head", ['form-data; name="file"; filename="a.wav', "form-data; name=file; filename", "x"])
async def test_headers_that_are_no_headers_are_no_crash(head: str) -> None:
    try:
        form, _ = await read(body((f"Content-Disposition: {head}", b"x")))
    except BadForm:
        return
    assert form.file_name is not None


@pytest.mark.parametrize(
    ("content_type", "why"),
    [
        ("", "Send a form"),
        ("application/json", "Send a form"),
        ("application/x-www-form-urlencoded", "Send a form"),
        ("multipart/form-data", "Send a form"),
        ("multipart/mixed; boundary=x", "Send a form"),
        ("multipart/form-data; boundary=", "."),
        ("multipart/form-data; boundary=another", "malformed"),
        ("multipart/form-data; boundary=" + "b" * 5_000, "malformed"),
        ("multipart/form-data; boundary=\xff", "malformed"),
    ],
)
async def test_what_is_no_form_is_refused(content_type: str, why: str) -> None:
    with pytest.raises(BadForm, match=why):
        await read(WHOLE, content_type=content_type)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "breaks off"),
        (WHOLE[:-4], "breaks off"),
        (WHOLE[:200], "breaks off"),
        (body(file(), end=b""), "breaks off"),
        (body(field("purpose", b"therapy")), "holds no file"),
        (body(), "."),
        (b"no form at all", "malformed"),
        (body(file(), file()), "several files"),
        (body(field("purpose", b"a"), field("purpose", b"b"), file()), "'purpose' comes twice"),
        (body(field("purpose", b"a" * (LONGEST_FIELD + 1)), file()), "'purpose' is too long"),
        (body(field("purpose", b"\xff\xfe"), file()), "'purpose' is not UTF-8"),
        (body(*(field(f"f{n}", b"") for n in range(MOST_FIELDS + 1)), file()), "no more than 64 fields"),
        (body((f"X-Long: {'h' * (LONGEST_FIELD + 1)}", b"")), "headers that are too long|malformed"),
        (body((f"{'h' * (LONGEST_FIELD + 1)}: x", b"")), "headers that are too long|malformed"),
    ],
)
@pytest.mark.parametrize("size", [10**6, 13])
async def test_what_is_wrong_with_a_form_is_said(data: bytes, why: str, size: int) -> None:
    with pytest.raises(BadForm, match=why):
        await read(data, range(size, len(data), size))


async def test_the_longest_field_and_the_most_fields_are_taken() -> None:
    parts = [field(f"f{number}", b"x" * LONGEST_FIELD) for number in range(MOST_FIELDS)]
    form, _ = await read(body(*parts, file()))
    assert len(form.fields) == MOST_FIELDS
    assert set(form.fields.values()) == {"x" * LONGEST_FIELD}


async def test_what_follows_the_end_is_nothing() -> None:
    form, sound = await read(WHOLE + b"an epilogue" * 1_000, [len(WHOLE) - 1, len(WHOLE) + 5])
    assert (form.fields["consent"], sound) == ("true", SOUND)


async def test_what_goes_wrong_with_writing_is_no_fault_of_the_form() -> None:
    async def full(block: bytes) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        await Form(CONTENT_TYPE, full).read(blocks_of(WHOLE, []))


async def test_an_empty_file_is_a_file() -> None:
    form, sound = await read(body(file(b"")))
    assert (form.file_name, sound) == ("talk.wav", b"")
