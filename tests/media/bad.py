"""Recordings that are damaged, and files that are none, for `tests.media`."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import replace

import av
import numpy as np

from pipeline.timeline import SAMPLE_RATE
from tests.media.medium import Made, good, refused
from tests.media.sounds import (
    SECONDS,
    encoded,
    encrypted_webm,
    flac_silence,
    pcm16,
    playlists,
    syncsafe,
    tables_first,
    talk,
    wav,
    written,
)

HOURS = 10  # of the bombs


def bad_media() -> Made:
    """Their bytes and what they are, but for where."""
    yield from _damaged()
    yield from _refused()
    yield from _bombs()


def _damaged() -> Made:
    for suffix, data, codec, media_type, rate in (
        ("wav", written("WAV", "PCM_16"), "pcm_s16le", "audio/wav", SAMPLE_RATE),
        ("flac", written("FLAC", "PCM_16", 44_100), "flac", "audio/flac", 44_100),
        ("mp3", encoded("mp3", "libmp3lame", 44_100), "mp3", "audio/mpeg", 44_100),
        ("ogg", encoded("ogg", "libopus", page_duration="100000"), "opus", "audio/ogg", 48_000),
        ("webm", encoded("webm", "libopus"), "opus", "audio/webm", 48_000),
        ("mp4", tables_first(encoded("mp4", "aac")), "aac", "audio/mp4", 48_000),
    ):
        whole = good("", "", suffix, codec, media_type, talk(), rate=rate)
        for share in (10, 50, 90):
            heard = SECONDS * share / 100
            claimed = {"wav": heard, "ogg": heard}.get(suffix, SECONDS)
            yield data[: len(data) * share // 100], replace(
                whole, name=f"cut-{share}.{suffix}", made=f"{share} % of a {suffix}", seconds=heard, claimed=claimed,
                tolerance=0.35,
            )  # fmt: skip
        damaged = bytearray(data)
        rng = np.random.default_rng(len(data))
        for at in rng.integers(len(data) // 3, len(data) * 2 // 3, 8):
            damaged[at] ^= 1 << int(rng.integers(8))
        yield (
            bytes(damaged),
            replace(
                whole,
                name=f"flipped.{suffix}",
                made=f"a {suffix} with 8 bits of its middle turned round",
                tolerance=0.7,
                alike=0.4,
            ),
        )
    moov_last = encoded("ipod", "aac")
    yield moov_last[: len(moov_last) // 2], refused("cut.m4a", "an m4a cut off before its tables", "truncated")
    yield wav(b""), refused("nothing.wav", "a wav of no length", "truncated")
    yield wav(b"")[:30], refused("header.wav", "less than the header of a wav", "truncated")
    yield written("FLAC", "PCM_16")[:42], refused("header.flac", "the header of a flac", "truncated")
    yield encoded("webm", "libopus")[:40], refused("header.webm", "the header of a webm", "truncated")
    yield written("OGG", "VORBIS")[:80], refused("header.ogg", "the header of an ogg", "truncated")
    yield b"ID3\x03\x00\x00" + syncsafe(100) + bytes(100), refused("tags.mp3.mp3", "tags without a sound", "truncated")


def _refused() -> Made:
    yield b"", refused("empty.mp3", "an empty file", "not_audio")
    yield "Grüezi mitenand.\n".encode() * 50, refused("text.txt", "text", "not_audio")
    yield "Grüezi mitenand.\n".encode("utf-16") * 50, refused("wide.txt", "text in UTF-16", "not_audio")
    yield (
        b"<!DOCTYPE html><html><script>alert(1)</script></html>",
        refused("page.wav", "a web page called wav", "not_audio"),
    )
    yield b"%PDF-1.7\n" + bytes(500), refused("paper.pdf", "a PDF document", "not_audio")
    yield b"\x89PNG\r\n\x1a\n" + bytes(500), refused("picture.png", "a picture", "not_audio")
    yield b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(500), refused("picture.mp3", "a picture called mp3", "not_audio")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("talk.wav", written("WAV", "PCM_16"))
    yield archive.getvalue(), refused("talk.zip", "a recording in an archive", "not_audio")
    yield np.random.default_rng(1).bytes(2**20), refused("noise.mp3", "1 MB of random bytes", "not_audio")
    yield b"\xff" * 2**20, refused("ones.mp3", "1 MB of ones", "not_audio")
    yield bytes(2**20), refused("zeros.mp3", "1 MB of zeros", "not_audio")
    for name, content in playlists("other.wav", "http://127.0.0.1:9/other.wav").items():
        yield content, refused(name, "a playlist", "not_audio")
    yield b"MThd\x00\x00\x00\x06" + bytes(100), refused("notes.mid", "notes", "not_audio")
    yield (
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(500),
        refused("old.wma", "Windows Media", "unsupported"),
    )
    silent_film = io.BytesIO()
    with av.open(silent_film, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=5, width=16, height=16, pix_fmt="yuv420p")
        output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        output.mux(stream.encode(None))
    yield silent_film.getvalue(), refused("mute.mp4", "a film without sound", "no_audio")
    mp4 = encoded("ipod", "aac")
    at = mp4.index(b"stsd") + 16
    for code in (b"enca", b"drms"):
        yield (
            mp4[:at] + code + mp4[at + 4 :],
            refused(f"{code.decode()}.m4a", f"an m4a encrypted as {code.decode()}", "encrypted"),
        )
    yield encrypted_webm(), refused("encrypted.webm", "an encrypted webm", "encrypted")
    samples = pcm16(talk())
    yield wav(samples, channels=40), refused("40-channels.wav", "40 channels", "absurd")
    yield wav(samples, channels=0), refused("0-channels.wav", "no channels", "absurd")
    yield wav(samples, channels=9), refused("9-channels.wav", "9 channels", "absurd")
    for rate in (0, 1, 4_000, 384_000, 2**31 + 1):
        yield wav(samples, rate=rate), refused(f"{rate}-hertz.wav", f"{rate} samples a second", "absurd")
    at = mp4.index(b"stsz") + 12
    yield (
        mp4[: at - 4] + struct.pack(">II", 1, 2**31) + mp4[at + 4 :],
        refused("packets.m4a", "an m4a that claims two billion packets", "absurd"),
    )


def _bombs() -> Made:
    """Hours of silence in little; `test_media` has their limits."""
    hours = np.zeros((1, 0), np.float32)
    common = {"kind": "silent", "rate": 8_000, "channels": 1, "seconds": HOURS * 3_600.0, "tolerance": 10.0}
    for name, claimed in (("bomb.flac", HOURS * 3_600.0), ("secret-bomb.flac", None)):
        made = f"{HOURS} h of silence in a flac of some kB" + ("" if claimed else ", which does not say so")
        data = flac_silence(HOURS * 3_600, bool(claimed))
        yield (
            data,
            replace(good(name, made, "flac", "flac", "audio/flac", hours, **common), claimed=claimed, sound=None),
        )
    frame = b"\xff\xe3\x18\xc4" + bytes(68)  # MPEG-2.5, 8 kbit/s at 8 kHz: 72 ms
    bomb = good("bomb.mp3", f"{HOURS} h of silence in an mp3", "mp3", "mp3", "audio/mpeg", hours, **common)
    yield frame * round(HOURS * 3_600 / 0.072), replace(bomb, claimed=None, sound=None)
