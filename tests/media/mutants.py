"""Files that were made to be hard to read: cut, flipped, patched and spliced recordings, absurd headers, and bombs.

All of it is drawn from a seed, so that a file that breaks something is there again tomorrow.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from functools import cache

from tests.media.good import good_media
from tests.media.sounds import element, encoded, flac_silence, pcm16, talk, wav

Named = Iterator[tuple[str, bytes]]
LARGEST = 2**19  # bytes of a recording that mutants are made of
EXTREMES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
HOURS = 30  # of what is small and decodes to much


def mutants(seed: int = 1, of_each: int = 43) -> Named:
    """Their names, each of its own, and their bytes: four kinds of so many, and those that are made by hand."""
    chance = random.Random(seed)
    whole = [(medium.name, data) for data, medium in good_media() if len(data) < LARGEST]
    for number in range(of_each):
        name, data = chance.choice(whole)
        yield f"cut-{number}-{name}", data[: chance.randrange(len(data))]
        name, data = chance.choice(whole)
        yield f"flipped-{number}-{name}", flipped(data, chance)
        name, data = chance.choice(whole)
        yield f"patched-{number}-{name}", patched(data, chance)
        yield f"spliced-{number}.bin", spliced([data for _, data in chance.choices(whole, k=2)], chance)
    yield from absurd()
    yield from bombs()


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Some bits turned round; every second time all of them in the header, where lengths and tables are."""
    bits, reach = bytearray(data), len(data) if chance.random() < 0.5 else min(len(data), 400)
    for _ in range(chance.randint(1, 60)):
        bits[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    return bytes(bits)


def patched(data: bytes, chance: random.Random) -> bytes:
    """The largest and the smallest numbers where some number may be."""
    patches = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(min(len(data), 600))
        patches[at : at + 4] = chance.choice(EXTREMES)
    return bytes(patches)


def spliced(parts: Sequence[bytes], chance: random.Random) -> bytes:
    """The beginning of one recording and the end of another."""
    first, second = parts
    return first[: chance.randrange(1, len(first))] + second[chance.randrange(len(second)) :]


def absurd() -> Named:
    """Headers of wav that claim what nobody has."""
    samples = pcm16(talk())[:4_000]
    for channels in (0, 9, 64, 255, 1_024, 65_535):
        yield f"{channels}-channels.wav", wav(samples, channels=channels)
    for rate in (0, 1, 7, 2**31 - 1, 2**32 - 1):
        yield f"{rate}-hertz.wav", wav(samples, rate=rate)
    for bits in (0, 1, 7, 128, 65_535):
        yield f"{bits}-bits.wav", wav(samples, bits=bits)
    for code in (0, 0x11, 0x55, 0xFFFE, 0xFFFF):
        yield f"code-{code}.wav", wav(samples, code=code)
    for size in (0, 1, 2**31, 2**32 - 1):
        yield f"{size}-bytes.wav", wav(samples, size=size)


def bombs() -> Named:
    """Some kB or MB that decode to days."""
    yield "bomb.flac", flac_silence(HOURS * 3_600, claimed=True)
    yield "secret-bomb.flac", flac_silence(HOURS * 3_600, claimed=False)
    yield "bomb.mp3", (b"\xff\xe3\x18\xc4" + bytes(68)) * 2**17
    yield "bomb.webm", silent_webm(HOURS * 3_600)
    yield "nested.m4a", struct.pack(">I4s", 16, b"ftyp") + b"M4A \0\0\0\0" + _nested(3_000)


def silent_webm(seconds: float) -> bytes:
    """Webm of opus in which 120 ms of silence take 11 bytes."""
    return webm_head() + b"".join(silent_cluster(start) for start in range(0, int(seconds), 30))


def silent_cluster(start: float) -> bytes:
    """30 s of it, from a second on."""
    block = b"\x1b\x02"  # two frames of 60 ms without anything in them (RFC 6716, section 3.2.5)
    blocks = (element("a3", b"\x81" + (120 * number).to_bytes(2, "big") + b"\x80" + block) for number in range(250))
    return element("1f43b675", element("e7", round(1_000 * start).to_bytes(4, "big")) + b"".join(blocks))


@cache
def webm_head() -> bytes:
    """What a browser's webm begins with."""
    whole = encoded("webm", "libopus", 48_000, live=True, cluster_time_limit="200")
    return whole[: whole.index(bytes.fromhex("1f43b675"))]


def _nested(depth: int) -> bytes:
    """Boxes of an mp4 within boxes."""
    return b"".join(struct.pack(">I4s", 8 * (depth - level), b"moov") for level in range(depth))
