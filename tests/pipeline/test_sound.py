from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.media.undecodable import UndecodableAudio, undecodable
from pipeline.sound import Sound
from tests.service import Pcm


def counted(blocks: list[Pcm], taken: list[int]) -> Iterator[Pcm]:
    for number, block in enumerate(blocks):
        taken.append(number)
        yield block


def ramp(start: int, stop: int) -> Pcm:
    return np.arange(start, stop, dtype=np.int16)


@pytest.mark.parametrize("size", [1, 7, 100, 1_000])
def test_samples_are_where_they_were_however_they_came(size: int) -> None:
    whole = ramp(0, 1_000)
    with Sound([whole[start : start + size] for start in range(0, 1_000, size)]) as sound:
        assert np.array_equal(sound.read(0, 0, 1_000), whole)
        assert np.array_equal(sound.read(0, 990, 2_000), whole[990:])
        assert np.array_equal(sound.read(0, 13, 14), whole[13:14])
        assert np.array_equal(sound.read(0, -5, 3), whole[:3])
        for start, stop in ((5, 5), (6, 5), (1_000, 1_001), (5_000, 6_000)):
            assert len(sound.read(0, start, stop)) == 0
        assert (sound.tracks, sound.samples, sound.seconds) == (1, 1_000, 1_000 / 16_000)


def test_tracks_are_kept_apart() -> None:
    left, right = ramp(0, 500), -ramp(0, 500)
    blocks = np.stack([left, right])
    with Sound([blocks[:, :200], blocks[:, 200:200], blocks[:, 200:]]) as sound:
        assert sound.tracks == 2
        assert np.array_equal(sound.read(1, 150, 250), right[150:250])
        assert np.array_equal(sound.read(0, 0, 500), left)
        assert sound.read(0, 0, 500).flags.c_contiguous
        assert sound.samples == 500


def test_no_more_is_decoded_than_is_asked_for() -> None:
    taken: list[int] = []
    with Sound(counted([ramp(0, 100)] * 10, taken)) as sound:
        assert taken == []
        assert sound.tracks == 1
        assert taken == [0]
        assert sound.reach(250)
        assert taken == [0, 1, 2]
        sound.read(0, 10, 300)
        assert taken == [0, 1, 2]
        assert not sound.reach(1_001)
        assert sound.samples == 1_000


def test_silence_of_no_length_has_a_track() -> None:
    for blocks in ([], [np.zeros((2, 0), np.int16)]):
        with Sound(blocks) as sound:
            assert (sound.tracks, sound.samples, len(sound.read(0, 0, 10))) == (1, 0, 0)


def test_tracks_that_come_and_go_are_refused() -> None:
    with Sound([ramp(0, 10), np.zeros((2, 10), np.int16)]) as sound, pytest.raises(ValueError, match="2 tracks"):
        _ = sound.samples


def test_what_cannot_be_decoded_is_told_to_whoever_needs_it() -> None:
    def broken() -> Iterator[Pcm]:
        yield ramp(0, 100)
        raise undecodable("It breaks off", "truncated")

    with Sound(broken()) as sound:
        assert np.array_equal(sound.read(0, 0, 100), ramp(0, 100))
        with pytest.raises(UndecodableAudio, match="breaks off"):
            sound.reach(101)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="tells open files by /proc")
def test_no_file_of_it_can_be_opened_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def open_here() -> list[str]:
        links = []
        for number in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{number}"))
            except OSError:
                continue
        return [link for link in links if str(tmp_path) in link]

    with Sound([ramp(0, 10_000)]) as sound:
        assert sound.samples == 10_000
        assert list(tmp_path.iterdir()) == []
        assert len(open_here()) == 1
    assert open_here() == []
    gc.collect()


def test_memory_does_not_grow_with_the_recording() -> None:
    import tracemalloc

    def hours() -> Iterator[Pcm]:
        for _ in range(1_000):
            yield np.zeros(16_000, np.int16)

    tracemalloc.start()
    with Sound(hours()) as sound:
        assert sound.seconds == 1_000
        _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20
