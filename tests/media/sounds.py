"""The bytes of recordings and of what is none, for `tests.media`.

What cannot be had from an encoder is made by hand: FFmpeg's own writers refuse to write what FFmpeg must survive.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import cache, lru_cache
from math import gcd
from typing import Any

import av
import numpy as np
import soundfile
from av.stream import Disposition
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pipeline.timeline import SAMPLE_RATE
from tests.talkers import Talker

SECONDS = 2.0  # of most of them
LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}

Sound = NDArray[np.float32]

# What is lost on the way is measured: voices with much at the low end, and none that begins with a pause.
TALKERS = (
    Talker("low", pitch=75, tract=0.86, liveliness=2.2, tilt=1600, breathiness=0.05, roughness=0.0),
    Talker("high", pitch=248, tract=1.3, liveliness=1.2, tilt=4000, breathiness=0.15, roughness=0.0),
    Talker("soft", pitch=145, tract=1.3, liveliness=1.0, tilt=2600, breathiness=0.05),
    Talker("bright", pitch=265, tract=1.09, liveliness=2.1, tilt=400),
)


@cache
def talk(channels: int = 1, seconds: float = SECONDS) -> Sound:
    """Somebody else talking in each channel: float32 (channels, n) at 16 kHz."""
    return np.stack([TALKERS[number % 4].say(seconds, seed=number) for number in range(channels)])


@lru_cache(32)
def _talk_at(rate: int, channels: int, seconds: float) -> Sound:
    common = gcd(rate, SAMPLE_RATE)
    sound = resample_poly(talk(channels, seconds), rate // common, SAMPLE_RATE // common, axis=1)
    return np.asarray(sound, np.float32)


def written(format: str, subtype: str | None, rate: int = SAMPLE_RATE, channels: int = 1, sound: Any = None) -> bytes:
    """By libsndfile. `sound`: float (channels, n) at that rate, instead of the talkers."""
    file = io.BytesIO()
    sound = _talk_at(rate, channels, SECONDS) if sound is None else sound
    soundfile.write(file, sound.T, rate, format=format, subtype=subtype)
    return file.getvalue()


def encoded(
    container: str,
    codec: str,
    rate: int = 48_000,
    channels: int = 1,
    sound: Any = None,
    video: bool = False,
    live: bool = False,
    tags: dict[str, str] | None = None,
    jump: float = 0.0,
    **options: str,
) -> bytes:
    """By FFmpeg, `video` with a few black pictures beside it, `live` into a file that cannot go back.

    `jump`: seconds by which the timestamps leap in the middle.
    """
    file = _Pipe() if live else io.BytesIO()
    sound = _talk_at(rate, channels, SECONDS) if sound is None else sound
    with av.open(file, "w", format=container, options=options) as output:
        output.metadata.update(tags or {})
        pictures: Any = output.add_stream("mpeg4" if container != "webm" else "libvpx", rate=10) if video else None
        if pictures:
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        stream: Any = output.add_stream(codec, rate=rate, layout=LAYOUTS[channels], options={"strict": "-2"})
        if codec not in ("flac", "alac") and not codec.startswith("pcm"):
            stream.bit_rate = min(64_000 * channels, 12_000 if "amr" in codec else 10**6)
        packed = np.ascontiguousarray(sound.T, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, "flt", LAYOUTS[channels])
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        for number in range(round(sound.shape[1] / rate * 10) if video else 0):
            picture = av.VideoFrame(32, 32, "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            output.mux(pictures.encode(picture))
        if pictures:
            output.mux(pictures.encode(None))
        packets = _encode(stream, frame)
        for number, packet in enumerate(packets):
            if jump and number >= len(packets) // 2:
                packet.pts = packet.dts = packet.pts + round(jump / packet.time_base)
            output.mux(packet)
    return file.getvalue()


def _encode(stream: Any, frame: av.AudioFrame) -> list[av.Packet]:
    to_codec = av.AudioResampler(stream.format, stream.layout, stream.rate)
    return [packet for part in (*to_codec.resample(frame), None) for packet in stream.encode(part)]


def with_two_tracks(container: str, default: int) -> bytes:
    """Two tracks, with a talker each, of which players play the one of this number by themselves."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams = [output.add_stream("aac", rate=48_000, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.disposition = Disposition.default if number == default else Disposition(0)
        packets = []
        for stream, sound in zip(streams, _talk_at(48_000, 2, SECONDS), strict=True):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), "flt", "mono")
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
            packets += _encode(stream, frame)
        for packet in sorted(packets, key=lambda packet: packet.dts):
            output.mux(packet)
    return file.getvalue()


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def wav(
    data: bytes, code: int = 1, channels: int = 1, rate: int = SAMPLE_RATE, bits: int = 16, size: int = -1
) -> bytes:
    """A wav by hand, of these bytes of samples, whatever the header says of them."""
    size = len(data) if size < 0 else size
    step = channels * bits // 8
    header = struct.pack("<HHIIHH", code, channels & 0xFFFF, rate, rate * step & 0xFFFFFFFF, step & 0xFFFF, bits)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + body


def pcm16(sound: Sound) -> bytes:
    """Float (channels, n) as interleaved samples of 16 bits."""
    return np.clip(np.rint(sound.T * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def extensible(sound: Sound, mask: int) -> bytes:
    guid = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    step = 2 * len(sound)
    header = struct.pack("<HHIIHH", 0xFFFE, len(sound), SAMPLE_RATE, SAMPLE_RATE * step, step, 16)
    header += struct.pack("<HHI", 22, 16, mask) + guid
    data = pcm16(sound)
    body = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tables_first(mp4: bytes) -> bytes:
    """An mp4 whose tables come last, with them before its sound, as it is put on the web."""
    boxes = dict(top_boxes(mp4))
    tables = bytearray(boxes.pop(b"moov"))
    at = tables.find(b"stco")
    while at >= 0:
        count = int.from_bytes(tables[at + 8 : at + 12], "big")
        for place in range(at + 12, at + 12 + 4 * count, 4):
            moved = int.from_bytes(tables[place : place + 4], "big") + len(tables)
            tables[place : place + 4] = moved.to_bytes(4, "big")
        at = tables.find(b"stco", at + 4)
    return b"".join([boxes.pop(b"ftyp"), tables, *boxes.values()])


def with_reference(mov: bytes, path: str) -> bytes:
    """A QuickTime file, its tables last, whose samples are said to be in another file."""
    name = path.encode()
    alias = bytes(10) + b"\0" * 28 + bytes(12) + bytes(64) + bytes(16) + bytes(4) + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + b"\0" * (len(name) % 2) + b"\xff\xff\0\0"
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    boxes = dict(top_boxes(mov))
    tables = bytearray(boxes[b"moov"])
    at = tables.index(b"dref") - 4
    size = int.from_bytes(tables[at : at + 4], "big")
    reference = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        where = tables.rindex(parent, 0, at) - 4
        longer = int.from_bytes(tables[where : where + 4], "big") + len(reference) - size
        tables[where : where + 4] = longer.to_bytes(4, "big")
    tables[at : at + size] = reference
    return mov.replace(boxes[b"moov"], bytes(tables))


def top_boxes(mp4: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and bytes of the outermost boxes."""
    at = 0
    while at < len(mp4):
        size = int.from_bytes(mp4[at : at + 4], "big")
        yield mp4[at + 4 : at + 8], mp4[at : at + size]
        at += size


def syncsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def with_cover(flac: bytes) -> bytes:
    """A flac with a picture of 300 kB before its sound."""
    size = int.from_bytes(flac[5:8], "big") + 8
    picture = b"\x89PNG\r\n\x1a\n" + bytes(300_000)
    block = struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">IIIIII", 0, 1, 1, 24, 0, len(picture)) + picture
    return (
        flac[:4]
        + bytes([flac[4] & 0x7F])
        + flac[5:size]
        + bytes([0x06])
        + len(block).to_bytes(3, "big")
        + block
        + flac[size:]
    )


def playlists(path: str, url: str) -> dict[str, bytes]:
    """Texts that make FFmpeg open a path and a URL, by name."""
    begins = "#EXTM3U\n#EXT-X-TARGETDURATION:2"
    return {
        "list.m3u8": f"{begins}\n#EXTINF:2,\n{path}\n#EXTINF:2,\n{url}\n#EXT-X-ENDLIST\n".encode(),
        "list.wav": f"{begins}\n#EXTINF:2,\n{url}\n#EXT-X-ENDLIST\n".encode(),
        "list.ffconcat": f"ffconcat version 1.0\nfile '{path}'\nfile '{url}'\n".encode(),
        "list.mpd": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="audio/wav"><Representation id="1" '
            f"bandwidth=\"1\"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>"
        ).encode(),
        "list.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    }  # fmt: skip


def element(name: str, content: bytes) -> bytes:
    """An EBML element, its name in hexadecimal."""
    return bytes.fromhex(name) + (len(content) | 1 << 28).to_bytes(4, "big") + content


def encrypted_webm() -> bytes:
    encryption = element("5035", element("47e1", b"\x05") + element("47e2", bytes(16)))
    encodings = element("6d80", element("6240", element("5033", b"\x01") + encryption))
    audio = element("e1", element("b5", struct.pack(">d", 48_000.0)) + element("9f", b"\x01"))
    track = b"".join(
        [
            element("d7", b"\x01"),
            element("73c5", b"\x01"),
            element("83", b"\x02"),
            element("86", b"A_OPUS"),
            encodings,
            audio,
        ]
    )
    header = element("1a45dfa3", element("4282", b"webm"))
    return header + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + element("1654ae6b", element("ae", track))


def flac_silence(seconds: int, claimed: bool) -> bytes:
    """Frames of 65,535 zeros at 8 kHz, 13 to 16 bytes each."""
    size, rate = 65_535, 8_000
    frames = -(-seconds * rate // size)
    packed = rate << 44 | 0 << 41 | 15 << 36 | (frames * size if claimed else 0)
    info = struct.pack(">HH", size, size) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    out = [b"fLaC\x80\x00\x00\x22", info]
    for number in range(frames):
        head = b"\xff\xf8\x74\x08" + chr(number).encode() + struct.pack(">H", size - 1)
        frame = head + bytes([_crc(head, 8, 0x07)]) + b"\x00\x00\x00"
        out.append(frame + struct.pack(">H", _crc(frame, 16, 0x8005)))
    return b"".join(out)


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> bits - 1 else 0)) & ((1 << bits) - 1)
    return value
