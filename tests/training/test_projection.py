from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.talkers import TALKERS, write_wav
from training.projection import cached_embeddings, fit, without


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two corpora that call other voices by the same names."""
    root = tmp_path_factory.mktemp("corpora")
    for corpus, talkers in (("reading", TALKERS), ("acting", TALKERS[::-1])):
        for number, talker in enumerate(talkers):
            (root / corpus / str(number)).mkdir(parents=True)
            write_wav(root / corpus / str(number) / "said.wav", talker.say(2.0, seed=number))
    return root / "reading", root / "acting"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_who_is_left_out_of_one_corpus_is_not_of_the_other(corpora: tuple[Path, Path], cache: Path) -> None:
    reading, acting = corpora
    path = without({reading: (), acting: ("1",)}, cache)
    everybody, actors = cached_embeddings(reading, cache), dict(cached_embeddings(acting, cache))
    del actors["1"]
    mean, axes = fit([everybody, actors])
    with np.load(path) as projection:
        np.testing.assert_array_equal(projection["mean"], mean)
        np.testing.assert_array_equal(projection["axes"], axes)


def test_a_projection_is_kept_for_its_speakers_and_its_sound(corpora: tuple[Path, Path], cache: Path) -> None:
    reading, acting = corpora
    path = without({reading: (), acting: ("1", "2")}, cache)
    made = path.stat().st_mtime_ns
    assert without({reading: (), acting: ("2", "1")}, cache) == path
    assert path.stat().st_mtime_ns == made
    others = ({reading: (), acting: ("1",)}, {reading: ("1", "2"), acting: ()}, {reading: (), acting: ()})
    assert len({path, *(without(left_out, cache) for left_out in others)}) == 4
    before = cached_embeddings(reading, cache)["0"]
    sound = reading / "0" / "said.wav"
    write_wav(sound, TALKERS[1].say(1.5, seed=9))
    assert without({reading: (), acting: ("1", "2")}, cache) != path
    assert len(cached_embeddings(reading, cache)["0"]) < len(before)


def test_nobody_of_another_name_can_be_left_out(corpora: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds nobody called 09, to be left out"):
        without({corpora[0]: ("0", "09"), corpora[1]: ()}, tmp_path)
