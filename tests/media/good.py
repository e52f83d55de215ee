"""Recordings of every kind that people have, for `tests.media`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import av
import numpy as np

from pipeline.timeline import SAMPLE_RATE
from tests.media.medium import Made, Medium, good
from tests.media.sounds import (
    SECONDS,
    Sound,
    encoded,
    extensible,
    pcm16,
    syncsafe,
    tables_first,
    talk,
    wav,
    with_cover,
    written,
)


def good_media() -> Made:
    """Their bytes and what they are, but for where."""
    yield from _uncompressed()
    yield from _compressed()
    yield from _films()
    yield from _odd()


def _uncompressed() -> Made:
    wave = "audio/wav"
    for rate in (8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000):
        medium = good(f"{rate}.wav", f"16 bits at {rate} Hz", "wav", "pcm_s16le", wave, talk(), rate=rate)
        yield written("WAV", "PCM_16", rate), replace(medium, alike=0.75 if rate < SAMPLE_RATE else 0.9)
    for channels in (2, 4, 6, 8):
        made = f"{channels} talkers, a channel each, of no known layout"
        medium = good(f"{channels}-channels.wav", made, "wav", "pcm_s16le", wave, talk(channels), rate=48_000)
        yield written("WAV", "PCM_16", 48_000, channels), medium
    for subtype, codec in (
        ("PCM_U8", "pcm_u8"),
        ("PCM_24", "pcm_s24le"),
        ("PCM_32", "pcm_s32le"),
        ("FLOAT", "pcm_f32le"),
        ("DOUBLE", "pcm_f64le"),
        ("ALAW", "pcm_alaw"),
        ("ULAW", "pcm_mulaw"),
        ("IMA_ADPCM", "adpcm_ima_wav"),
        ("MS_ADPCM", "adpcm_ms"),
    ):
        name = f"{subtype.lower()}.wav"
        yield written("WAV", subtype), good(name, f"{subtype} in wav", "wav", codec, wave, talk(), rate=SAMPLE_RATE)
    for layout, mask in (("extensible", 0x63F), ("extensible-strange", 0x3), ("extensible-unnamed", 0)):
        made = f"eight channels of which the header names those of mask {mask:#x}"
        data = extensible(talk(8), mask)
        yield data, good(f"{layout}.wav", made, "wav", "pcm_s16le", wave, talk(8), rate=SAMPLE_RATE)
    for format, subtype, container, codec, kind in (
        ("AIFF", "PCM_16", "aiff", "pcm_s16be", "audio/aiff"),
        ("AIFF", "FLOAT", "aiff", "pcm_f32be", "audio/aiff"),
        ("CAF", "PCM_24", "caf", "pcm_s24be", "audio/x-caf"),
        ("AU", "ULAW", "au", "pcm_mulaw", "audio/basic"),
        ("W64", "PCM_16", "w64", "pcm_s16le", "audio/x-w64"),
        ("RF64", "PCM_16", "wav", "pcm_s16le", "audio/wav"),
    ):
        name = f"{format.lower()}-{subtype.lower()}.{format.lower()}"
        medium = good(name, f"{subtype} in {format}, in stereo", container, codec, kind, talk(2), rate=44_100)
        yield written(format, subtype, 44_100, 2), medium
    yield (
        encoded("mov", "pcm_s16be", 48_000, 2),
        good("pcm.mov", "QuickTime with PCM", "mov", "pcm_s16be", "video/quicktime", talk(2), rate=48_000),
    )


def _compressed() -> Made:
    for channels, rate in ((1, 22_050), (2, 96_000), (4, 48_000), (6, 48_000), (8, 48_000)):
        name = f"{channels}-channels-{rate}.flac"
        medium = good(name, "flac", "flac", "flac", "audio/flac", talk(channels), rate=rate)
        yield written("FLAC", "PCM_16", rate, channels), medium
    for channels, rate in ((1, 8_000), (1, 11_025), (1, 22_050), (2, 44_100), (2, 48_000)):
        medium = good(f"{channels}-{rate}.mp3", "mp3", "mp3", "mp3", "audio/mpeg", talk(channels), rate=rate)
        yield (
            encoded("mp3", "libmp3lame", rate, channels, write_xing="1"),
            replace(medium, alike=0.7 if rate < SAMPLE_RATE else 0.85),
        )
    yield (
        encoded("mp3", "libmp3lame", 44_100, write_xing="0", id3v2_version="0"),
        good(
            "unmarked.mp3",
            "mp3 that says nowhere how long it is",
            "mp3",
            "mp3",
            "audio/mpeg",
            talk(),
            rate=44_100,
            claimed=None,
        ),
    )
    for channels in (1, 2, 6, 8):
        medium = good(f"{channels}.m4a", "AAC in mp4", "mp4", "aac", "audio/mp4", talk(channels), rate=48_000)
        lowest = 0.35 if channels > 2 else 0.85  # AAC cuts the channel for low frequencies
        yield encoded("ipod", "aac", 48_000, channels), replace(medium, alike=lowest)
    yield (
        encoded("adts", "aac", 44_100, 2),
        good("adts.aac", "AAC without a container", "aac", "aac", "audio/aac", talk(2), rate=44_100, claimed=None),
    )
    yield (
        encoded("ipod", "alac", 44_100, 2),
        good("lossless.m4a", "Apple's lossless codec", "mp4", "alac", "audio/mp4", talk(2), rate=44_100),
    )
    yield (
        encoded("mp4", "aac", 44_100, movflags="empty_moov+frag_every_frame"),
        good(
            "fragments.mp4",
            "mp4 in fragments, as recorded live",
            "mp4",
            "aac",
            "audio/mp4",
            talk(),
            rate=44_100,
            claimed=None,
            alike=0.85,
        ),
    )
    for channels, rate in ((1, 44_100), (2, 48_000)):
        medium = good(
            f"{channels}-vorbis.ogg", "vorbis in ogg", "ogg", "vorbis", "audio/ogg", talk(channels), rate=rate
        )
        yield written("OGG", "VORBIS", rate, channels), replace(medium, alike=0.85)
    for channels in (1, 2, 6):
        medium = good(f"{channels}.opus", "opus in ogg", "ogg", "opus", "audio/ogg", talk(channels), rate=48_000)
        yield encoded("ogg", "libopus", 48_000, channels), replace(medium, alike=0.8)
    yield (
        encoded("webm", "libopus", 48_000),
        good("whole.webm", "opus in webm", "webm", "opus", "audio/webm", talk(), rate=48_000, alike=0.8),
    )
    yield (
        encoded("webm", "libopus", 48_000, live=True, cluster_time_limit="200"),
        good(
            "live.webm",
            "webm as a browser records it",
            "webm",
            "opus",
            "audio/webm",
            talk(),
            rate=48_000,
            claimed=None,
            alike=0.8,
        ),
    )
    yield (
        encoded("matroska", "flac", 44_100, 2),
        good("flac.mka", "flac in Matroska", "matroska", "flac", "audio/x-matroska", talk(2), rate=44_100),
    )
    if "libopencore_amrnb" in av.codecs_available:
        yield (
            encoded("amr", "libopencore_amrnb", 8_000),
            good(
                "phone.amr",
                "AMR, as an old phone records",
                "amr",
                "amr_nb",
                "audio/amr",
                talk(),
                rate=8_000,
                claimed=None,
                alike=0.5,
            ),
        )


def _films() -> Made:
    film = good("film.mp4", "a film with AAC", "mp4", "aac", "video/mp4", talk(2), rate=48_000, alike=0.85)
    yield encoded("mp4", "aac", 48_000, 2, video=True), film
    film = good("film.webm", "a film with opus", "webm", "opus", "video/webm", talk(), rate=48_000, alike=0.8)
    yield encoded("webm", "libopus", 48_000, video=True), film
    film = good("film.mkv", "a film with PCM", "matroska", "pcm_s16le", "video/x-matroska", talk(), rate=48_000)
    yield encoded("matroska", "pcm_s16le", 48_000, video=True), film


def _odd() -> Made:
    """Good ones, against appearances."""
    wave = "audio/wav"

    def plain(name: str, made: str, sound: Sound | None = None, codec: str = "pcm_s16le", **more: Any) -> Medium:
        return good(
            name, made, "wav", codec, wave, talk() if sound is None else sound, **({"rate": SAMPLE_RATE} | more)
        )

    mp3 = encoded("mp3", "libmp3lame", 44_100, tags={"title": "<script>alert(1)</script>", "artist": "\u202e<b>"})
    tagged = good("tags.mp3", "tags that hold HTML", "mp3", "mp3", "audio/mpeg", talk(), rate=44_100, alike=0.85)
    yield mp3, tagged
    yield mp3, replace(tagged, name="mp3.txt", made="an mp3 under a wrong name")
    yield (
        b"ID3\x03\x00\x00" + syncsafe(3 * 2**20) + bytes(3 * 2**20) + mp3,
        replace(tagged, name="cover.mp3", made="an mp3 behind a cover of 3 MB"),
    )
    yield (
        b"\x00\xff\xfa garbage" * 100 + mp3[mp3.index(b"\xff\xfb") :],
        replace(tagged, name="late.mp3", made="an mp3 behind garbage", tolerance=0.2),
    )
    covered = good("cover.flac", "a flac with a picture", "flac", "flac", "audio/flac", talk(), rate=SAMPLE_RATE)
    yield with_cover(written("FLAC", "PCM_16")), covered
    yield (
        encoded("ogg", "libopus", 48_000, tags={"comment": "long " * 400_000}),
        good("wordy.opus", "2 MB of tags", "ogg", "opus", "audio/ogg", talk(), rate=48_000, alike=0.8),
    )
    yield (
        wav(pcm16(talk()))[:12] + b"LIST\x0c\x00\x00\x00INFOICMT\xe4\xff\xfe\x00"[:20] + wav(pcm16(talk()))[12:],
        plain("latin.wav", "tags that are not UTF-8"),
    )
    samples = pcm16(talk())
    yield wav(samples, size=0xFFFFFFFF), plain("streamed.wav", "a wav whose length was not known: all ones")
    yield wav(samples, size=0x7FFFF000), plain("boasting.wav", "a wav that claims 18 hours")
    yield wav(samples, size=0), plain("unfinished.wav", "a wav whose length was never filled in")
    yield wav(samples + b"\x01"), plain("odd.wav", "a wav with half a sample at its end")
    broken = talk()[0].copy()
    broken[[5_000, 12_000, 20_000]] = np.nan, np.inf, -np.inf
    yield (
        wav(broken.astype("<f4").tobytes(), code=3, bits=32),
        plain("not-numbers.wav", "floats, of which some are no numbers", codec="pcm_f32le", alike=0.8),
    )
    loud = np.clip(talk() * 8, -1, 1)
    yield (
        wav((talk() * 8).astype("<f4").tobytes(), code=3, bits=32),
        plain("loud.wav", "floats beyond full scale", loud, "pcm_f32le"),
    )
    silent = np.zeros((2, round(SECONDS * SAMPLE_RATE)), np.float32)
    yield wav(pcm16(silent), channels=2), plain("silent.wav", "silence", silent, kind="silent")
    opposed = np.concatenate([talk(), -talk()])
    yield wav(pcm16(opposed), channels=2), plain("opposed.wav", "a channel wired the wrong way round", opposed)
    first, second = written("OGG", "VORBIS", 44_100), written("OGG", "VORBIS", 48_000, 2)
    yield first + second, good(
        "chain.ogg", "two ogg streams in a row, of other rates and channels", "ogg", "vorbis", "audio/ogg",
        np.concatenate([talk(), talk(2).mean(axis=0, keepdims=True)], axis=1),
        rate=44_100, claimed=None, alike=0.7, tolerance=0.2,
    )  # fmt: skip
    yield (
        tables_first(encoded("mp4", "aac", 48_000, video=True)),
        good(
            "faststart.mp4", "a film with its tables first", "mp4", "aac", "video/mp4", talk(), rate=48_000, alike=0.85
        ),
    )
