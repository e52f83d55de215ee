"""Every kind of recording is heard as it is; whatever else people send is refused in one sentence."""

from __future__ import annotations

import io
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from pipeline.media import Pcm, UndecodableAudio, decode, decode_channels, probe
from pipeline.media.undecodable import ADVICE
from pipeline.timeline import SAMPLE_RATE
from tests.media import Medium, make_media
from tests.media.sounds import encoded, flac_silence, pcm16, talk, wav, with_two_tracks, written

MOST_LAG = SAMPLE_RATE // 10  # samples that a codec may put before the sound


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> list[Medium]:
    return make_media(tmp_path_factory.mktemp("media"))


def heard(source: Path | io.BytesIO, most_seconds: float | None = None) -> Pcm:
    """All of a recording: int16 (channels, n)."""
    blocks = list(decode_channels(source, most_seconds))
    assert {block.dtype.name for block in blocks} == {"int16"}
    assert {block.shape[1] for block in blocks[:-1]} <= {SAMPLE_RATE}
    return np.concatenate(blocks, axis=1)


def mixed(source: Path | io.BytesIO) -> Pcm:
    """All of a recording, mixed: int16 (n,)."""
    return np.concatenate(list(decode(source)))


def likeness(found: NDArray, sound: NDArray) -> NDArray:
    """The correlations (channels, channels) of two sounds (channels, n), one of which may be some milliseconds late."""
    samples = min(found.shape[1], sound.shape[1])
    size = next_fast_len(samples + MOST_LAG, real=True)
    levels = [
        np.maximum(np.sqrt(np.square(each[:, :samples], dtype=float).sum(axis=1)), 1e-9) for each in (found, sound)
    ]
    spectra = [
        np.fft.rfft(each[:, :samples] / level[:, None], size)
        for each, level in zip((found, sound), levels, strict=True)
    ]
    products = np.fft.irfft(spectra[0][:, None] * np.conj(spectra[1]), size)
    return np.maximum(products[..., :MOST_LAG].max(axis=-1), products[..., -MOST_LAG:].max(axis=-1))


def decibels(found: NDArray, sound: NDArray) -> float:
    """How much louder one sound is than another, both in the same unit."""
    levels = [np.sqrt(np.mean(np.square(each, dtype=float))) for each in (found, sound)]
    return float(20 * np.log10(levels[0] / levels[1]))


def recordings(media: list[Medium]) -> list[Medium]:
    return [medium for medium in media if medium.kind != "refused" and "bomb" not in medium.name]


def test_there_are_many_and_no_two_of_a_name(media: list[Medium]) -> None:
    assert len({medium.name for medium in media}) == len(media) >= 60
    assert all(medium.path.is_file() for medium in media)


def test_what_recordings_say_of_themselves(media: list[Medium]) -> None:
    for medium in (medium for medium in media if medium.kind != "refused"):
        found = probe(medium.path)
        says = (found.channels, found.rate, found.codec, found.container, found.media_type)
        expected = (medium.channels, medium.rate, medium.codec, medium.container, medium.media_type)
        assert says == expected, medium.name
        assert found.seconds == (medium.claimed and pytest.approx(medium.claimed, abs=medium.tolerance)), medium.name


def test_every_channel_of_every_recording_is_heard(media: list[Medium]) -> None:
    for medium in recordings(media):
        found = heard(medium.path)
        assert len(found) == medium.channels, medium.name
        assert found.shape[1] / SAMPLE_RATE == pytest.approx(medium.seconds, abs=medium.tolerance), medium.name
        assert medium.sound is not None
        if medium.kind == "silent":
            assert not found.any()
            continue
        alike = likeness(found, medium.sound)
        assert np.diag(alike).min() >= medium.alike, (medium.name, alike)
        if medium.name != "opposed.wav":
            assert (alike - np.diag(np.diag(alike))).max() < 0.4, (medium.name, alike)


def test_loudness_is_kept_and_nothing_clips(media: list[Medium]) -> None:
    for medium in recordings(media):
        if medium.kind == "silent" or medium.alike < 0.8 or medium.rate < SAMPLE_RATE or medium.sound is None:
            continue
        if medium.name.startswith(("cut", "flipped")):
            continue
        found, samples = heard(medium.path), round(medium.seconds * SAMPLE_RATE)
        for channel, sound in zip(found, medium.sound[:, :samples] * 32_768, strict=True):
            assert decibels(channel, sound) == pytest.approx(0, abs=1), medium.name
        assert np.abs(found.astype(int)).max() < 32_000 or medium.name == "loud.wav", medium.name


def test_the_mix_holds_every_channel_at_the_same_level(media: list[Medium]) -> None:
    for medium in recordings(media):
        if medium.channels < 2 or medium.kind == "silent" or medium.alike < 0.35 or medium.sound is None:
            continue
        found, sound = mixed(medium.path), medium.sound
        if medium.name.startswith("opposed"):
            sound = sound[:1]
        mean = [row for number, row in enumerate(sound) if number != 3 or not _has_low_channel(medium)]
        assert likeness(found[None], np.mean(mean, axis=0, keepdims=True)) > 0.8, medium.name
        assert decibels(found, np.mean(mean, axis=0) * 32_768) == pytest.approx(0, abs=1), medium.name


def _has_low_channel(medium: Medium) -> bool:
    named = medium.container != "wav" or medium.name == "extensible.wav"
    return medium.channels in (6, 8) and named


def test_silence_is_no_error(media: list[Medium]) -> None:
    (silent,) = (medium for medium in recordings(media) if medium.kind == "silent")
    assert not mixed(silent.path).any()


def test_what_is_refused_is_refused_in_one_sentence_that_says_what_to_do(media: list[Medium]) -> None:
    for medium in (medium for medium in media if medium.kind == "refused"):
        for source in (medium.path, io.BytesIO(medium.path.read_bytes())):
            with pytest.raises(UndecodableAudio) as refusal:
                list(decode(source))
            assert refusal.value.reason == medium.reason, (medium.name, str(refusal.value))
            assert str(refusal.value).startswith(medium.name if source is medium.path else "this file")
            assert str(refusal.value).endswith(ADVICE[refusal.value.reason])
            assert "\n" not in str(refusal.value)
            try:
                probe(source)
            except UndecodableAudio as error:
                assert error.reason == medium.reason, medium.name


def test_a_refusal_travels_between_processes() -> None:
    arrived = pickle.loads(pickle.dumps(UndecodableAudio("x.wav is encrypted", "encrypted")))
    assert (str(arrived), arrived.reason) == ("x.wav is encrypted", "encrypted")


def test_a_file_is_looked_at_in_no_time(media: list[Medium]) -> None:
    for medium in media:
        start = time.monotonic()
        try:
            probe(medium.path)
        except UndecodableAudio:
            assert medium.kind == "refused"
        assert time.monotonic() - start < 5, medium.name


def test_an_open_file_is_read_from_its_start_and_left_open(media: list[Medium]) -> None:
    for medium in recordings(media)[::5]:
        file = io.BytesIO(medium.path.read_bytes())
        file.seek(17)
        assert np.array_equal(heard(file), heard(medium.path)), medium.name
        assert not file.closed


@pytest.mark.parametrize("most", [60, 180])
def test_bombs_are_stopped_while_they_are_decoded(media: list[Medium], most: float) -> None:
    bombs = [medium for medium in media if "bomb" in medium.name]
    assert len(bombs) == 3
    for medium in bombs:
        assert medium.path.stat().st_size < 40 * 2**20
        sizes: list[int] = []
        start = time.monotonic()
        with pytest.raises(UndecodableAudio, match=r"no more than .* of sound are taken; cut it") as refusal:
            sizes.extend(len(block) for block in decode(medium.path, most))
        assert refusal.value.reason == "too_long"
        samples = sum(sizes)
        assert samples <= (most + 10) * SAMPLE_RATE
        assert (samples == 0) == (medium.claimed is not None)
        assert time.monotonic() - start < 50


def test_a_recording_as_long_as_is_taken_is_taken() -> None:
    for data in (wav(pcm16(talk())), encoded("mp3", "libmp3lame", 44_100), written("OGG", "VORBIS", 44_100)):
        assert heard(io.BytesIO(data), 2.0).shape[1] == pytest.approx(2 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
        with pytest.raises(UndecodableAudio, match=r"no more than 1 s of sound are taken"):
            heard(io.BytesIO(data), 1.0)


def test_a_frame_is_cut_into_blocks() -> None:
    sizes = [block.shape for block in decode_channels(io.BytesIO(flac_silence(60, claimed=False)))]
    assert sizes[:-1] == [(1, SAMPLE_RATE)] * (len(sizes) - 1)


def test_decoding_is_lazy(media: list[Medium]) -> None:
    (bomb,) = (medium for medium in media if medium.name == "bomb.mp3")
    start = time.monotonic()
    assert len(next(decode(bomb.path))) == SAMPLE_RATE
    assert time.monotonic() - start < 5


def test_gaps_that_timestamps_claim_are_not_filled() -> None:
    for container in ("webm", "ogg", "matroska"):
        data = encoded(container, "libopus", jump=3_600 * 24)
        start = time.monotonic()
        assert heard(io.BytesIO(data)).shape[1] == pytest.approx(2 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_the_track_that_is_played_by_default_is_heard(container: str) -> None:
    for default in (0, 1):
        data = with_two_tracks(container, default)
        alike = likeness(heard(io.BytesIO(data)), talk(2))[0]
        assert alike[default] > 0.85
        assert alike[1 - default] < 0.4


@pytest.mark.parametrize("seconds", [2, 1_200])
def test_quicktime_counts_samples_of_pcm_as_packets(seconds: int) -> None:
    data = encoded("mov", "pcm_s16be", 8_000, 1, sound=np.zeros((1, 8_000 * seconds), np.float32))
    assert sum(map(len, decode(io.BytesIO(data)))) == seconds * SAMPLE_RATE


def test_links_of_an_ogg_chain_that_cannot_be_heard_are_left_out() -> None:
    link = written("OGG", "VORBIS", 44_100)
    chain = link + link[:200] + b"noise" * 1_000 + link + encoded("ogg", "flac", 48_000, 2)
    (found,) = heard(io.BytesIO(chain))
    assert len(found) == pytest.approx(6 * SAMPLE_RATE, abs=0.3 * SAMPLE_RATE)


def test_a_pipe_or_a_folder_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", tmp_path):
        with pytest.raises(UndecodableAudio, match="cannot be opened: it is not a file") as refusal:
            probe(path)
        assert refusal.value.reason == "unreadable"
    with pytest.raises(UndecodableAudio, match=r"^none\.wav cannot be opened: No such file or directory; name a file"):
        probe(tmp_path / "none.wav")


class Faulty(io.BytesIO):
    """A file that fails in the ways of files, once its beginning has been read."""

    def __init__(self, data: bytes, fault: str) -> None:
        super().__init__(data)
        self.fault = fault
        self.reads = 0

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        self.reads += 1
        if self.reads > 3 and self.fault == "none":
            return None  # type: ignore[return-value]
        if self.reads > 3 and self.fault == "error":
            raise OSError(5, "Input/output error")
        if self.reads > 3 and self.fault == "bug":
            raise KeyError("bug")
        return super().read(-1 if self.fault == "greedy" else size)


@pytest.mark.parametrize("fault", ["none", "error", "bug", "greedy"])
def test_files_that_fail_are_undecodable_and_nothing_else(fault: str) -> None:
    for data in (wav(pcm16(talk())), encoded("mp3", "libmp3lame", 44_100), encoded("webm", "libopus")):
        file = Faulty(data * (1 if fault == "greedy" else 3), fault)
        try:
            found = heard(file)
        except UndecodableAudio as error:
            assert fault != "greedy"
            assert "Input/output error" in str(error) or fault != "error"
        else:
            assert fault == "none" or found.any()
