from __future__ import annotations

import asyncio
import io
import queue
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from pipeline.audio import Pcm, UndecodableAudio, WebmDecoder, decode
from pipeline.timeline import SAMPLE_RATE
from tests.media.sounds import playlists
from tests.service import frames
from tests.talkers import LOW


@pytest.fixture(scope="module")
def speech() -> Pcm:
    return np.round(LOW.say(4.0, seed=1) * 32_767).astype(np.int16)


def collect(chunks: list[bytes]) -> list[Pcm | UndecodableAudio | None]:
    delivered: queue.Queue[Pcm | UndecodableAudio | None] = queue.Queue()
    decoder = WebmDecoder(delivered.put)
    for chunk in chunks:
        decoder.feed(chunk)
    decoder.finish()
    items = [delivered.get(timeout=10)]
    while isinstance(items[-1], np.ndarray):
        items.append(delivered.get(timeout=10))
    return items


def webm(pcm: Pcm) -> list[bytes]:
    async def gather() -> list[bytes]:
        return [chunk async for chunk in frames(pcm, "webm", pace=0)]

    return asyncio.run(gather())


@pytest.mark.parametrize("piece", [97, 1_024, 10_000])
def test_webm_is_decoded_alike_however_it_arrives(speech: Pcm, piece: int) -> None:
    stream = b"".join(webm(speech))
    whole = np.concatenate([block for block in collect([stream]) if isinstance(block, np.ndarray)])
    pieces = collect([stream[start : start + piece] for start in range(0, len(stream), piece)])
    assert pieces[-1] is None
    assert np.array_equal(np.concatenate([block for block in pieces if isinstance(block, np.ndarray)]), whole)
    assert len(whole) / SAMPLE_RATE == pytest.approx(4.0, abs=0.1)
    envelope = np.abs(whole[: 3 * SAMPLE_RATE].astype(float)).reshape(-1, 800).mean(1)
    original = np.abs(speech[: 3 * SAMPLE_RATE].astype(float)).reshape(-1, 800).mean(1)
    assert np.corrcoef(envelope, original)[0, 1] > 0.9


def test_what_is_not_webm_is_said_to_be_so() -> None:
    (only,) = collect([b"garbage" * 1_000])
    assert isinstance(only, UndecodableAudio)


def test_a_stream_cannot_name_what_else_is_to_be_opened(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "other.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    for playlist in playlists(str(tmp_path / "other.wav"), f"file:{tmp_path / 'other.wav'}").values():
        (only,) = collect([playlist])
        assert isinstance(only, UndecodableAudio)


def test_tags_in_whatever_encoding_are_no_error(speech: Pcm) -> None:
    stream = b"".join(webm(speech))
    assert stream.count(b"Lavf") > 0
    strange = stream.replace(b"Lavf", b"\xe4\xff\xfe\x80")
    assert collect([strange])[-1] is None


def test_a_stream_without_a_byte_is_only_empty() -> None:
    assert collect([]) == [None]


@pytest.mark.parametrize(("rate", "channels", "suffix"), [(8_000, 1, "wav"), (48_000, 2, "flac"), (44_100, 2, "ogg")])
def test_files_come_out_at_the_rate_of_the_house(tmp_path: Path, rate: int, channels: int, suffix: str) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, np.stack([tone] * channels, axis=1), rate)
    pcm = np.concatenate(list(decode(path)))
    assert pcm.dtype == np.int16
    assert len(pcm) == pytest.approx(SAMPLE_RATE, abs=200)
    spectrum = np.abs(np.fft.rfft(pcm[: SAMPLE_RATE // 2]))
    assert int(np.argmax(spectrum)) * 2 == pytest.approx(440, abs=4)


def test_a_file_that_is_no_audio(tmp_path: Path) -> None:
    (tmp_path / "no.wav").write_bytes(b"not audio at all" * 100)
    with pytest.raises(UndecodableAudio, match=r"no\.wav is not audio"):
        list(decode(tmp_path / "no.wav"))


def test_sound_in_memory_is_decoded_as_from_a_file(tmp_path: Path, speech: Pcm) -> None:
    for suffix in ("wav", "flac", "ogg"):
        path = tmp_path / f"speech.{suffix}"
        soundfile.write(path, speech, SAMPLE_RATE)
        assert np.array_equal(
            np.concatenate(list(decode(io.BytesIO(path.read_bytes())))), np.concatenate([*decode(path)])
        )
    for nothing in (b"", b"not audio at all" * 100):
        with pytest.raises(UndecodableAudio, match="this file is not audio"):
            list(decode(io.BytesIO(nothing)))


def test_a_film_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5, width=16, height=16, pix_fmt="yuv420p")
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(UndecodableAudio, match="no audio track"):
        list(decode(path))
