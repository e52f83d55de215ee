from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import PROJECTION
from tests.talkers import HIGH, LOW, write_wav
from tests.training.synthetic import write_clip
from training import speaker_sets
from training.folds import RAVDESS_FOLDS
from training.simulate import ORDINARY, Recording
from training.speaker_sets import Simulated, TalkSet, recorded_set, talk_sets

LINE = "SPEAKER {} 1 0.100 0.500 <NA> <NA> {} <NA> <NA>\n"


def recorded(folder: Path, *names: str) -> Path:
    for name in names:
        soundfile.write(folder / name, np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    return folder


def spoken_by(a_set: TalkSet) -> list[list[str]]:
    return [talk.source.load()[1].labels() for talk in a_set.talks]


def test_each_recording_has_a_reference_of_its_own_or_one_for_all(tmp_path: Path) -> None:
    recorded(tmp_path, "one.wav", "two.flac", "three.wav", "four.wav")
    (tmp_path / "one.rttm").write_text(LINE.format("one", "ann"))
    (tmp_path / "two.rttm").write_text(LINE.format("a-name-of-its-own", "ben"))
    (tmp_path / "three.rttm").write_text("")
    (tmp_path / "reference.rttm").write_text(LINE.format("four", "cy") + LINE.format("not-here", "dee"))
    a_set = recorded_set(tmp_path)
    assert [talk.name for talk in a_set.talks] == ["four", "one", "three", "two"]
    assert spoken_by(a_set) == [["cy"], ["ann"], [], ["ben"]]
    assert {talk.projection for talk in a_set.talks} == {PROJECTION}
    audio, _ = a_set.talks[0].source.load()
    assert (audio.dtype, len(audio)) == (np.int16, SAMPLE_RATE)


def test_a_recording_without_a_reference_is_named(tmp_path: Path) -> None:
    recorded(tmp_path, "one.wav", "two.flac", "three.wav")
    (tmp_path / "reference.rttm").write_text(LINE.format("two", "ann"))
    with pytest.raises(ValueError, match=r"no reference for one\.wav, three\.wav: "):
        recorded_set(tmp_path)


def test_a_recording_with_two_references_is_named(tmp_path: Path) -> None:
    recorded(tmp_path, "one.wav")
    for name in ("one", "reference"):
        (tmp_path / f"{name}.rttm").write_text(LINE.format("one", "ann"))
    with pytest.raises(ValueError, match=r"one\.rttm and reference\.rttm both tell who speaks in one"):
        recorded_set(tmp_path)


def test_a_folder_that_is_not_there_or_holds_no_sound_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        recorded_set(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no recordings"):
        recorded_set(tmp_path)


def test_what_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.wav").write_text("not a sound")
    (tmp_path / "one.rttm").write_text(LINE.format("one", "ann"))
    with pytest.raises(ValueError, match=r"one\.wav is not audio"):
        recorded_set(tmp_path).talks[0].source.load()


def test_a_simulated_conversation_and_its_reference(tmp_path: Path) -> None:
    voices = {
        talker.name: [Recording(write_wav(tmp_path / f"{talker.name}.wav", talker.say(4, 1)), talker.name)]
        for talker in (LOW, HIGH)
    }
    audio, speech = Simulated(voices, 3, ORDINARY).load()
    assert audio.dtype == np.int16
    assert speech.labels() == ["high", "low"]
    assert 6 < speech.get_timeline().duration() <= 8
    again, _ = Simulated(voices, 3, ORDINARY).load()
    np.testing.assert_array_equal(audio, again)


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    for reader in range(19, 31):
        path = tmp_path / "librispeech" / f"{reader}-1-1.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    for actor in range(1, 22):
        write_clip(tmp_path / "ravdess", f"{actor:02d}", "sad", 1, 200.0, 0.1)
    return tmp_path


Fits = list[dict[str, set[str]]]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    """Whom every projection was fitted without, by corpus; a projection's path is its number."""
    made: Fits = []

    def without(left_out: Mapping[Path, Collection[str]], cache: Path) -> Path:
        made.append({folder.name: set(speakers) for folder, speakers in left_out.items()})
        return Path(str(len(made) - 1))

    monkeypatch.setattr(speaker_sets, "without", without)
    return made


def test_a_folder_may_be_heard_by_voiceprints_that_know_nobody_in_it(corpora: Path, tmp_path: Path, fits: Fits) -> None:
    folders = []
    for name, speakers in (
        ("read", ("19", "stranger")),
        ("acted", ("actor03", "Actor_04", "05", "actor20", "actor99")),
    ):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        recorded(folders[-1], "one.wav")
        (folders[-1] / "one.rttm").write_text("".join(LINE.format("one", speaker) for speaker in speakers))
    read, acted = talk_sets([], folders, corpora, None, False, 1, corpora, lambda *done: None, unheard=True)
    assert fits == [
        {"librispeech": {"19"}, "ravdess": {"19"}},  # who is meant, nothing tells
        {"librispeech": set(), "ravdess": {"03", "04", "05", "20"}},
    ]
    assert [[str(talk.projection) for talk in one.talks] for one in (read, acted)] == [["0"], ["1"]]
    assert "(4 of ravdess)" in acted.protocol
    assert "the networks are as published" in acted.protocol


def test_where_nobody_is_known_there_is_nobody_to_leave_out(corpora: Path, tmp_path: Path, fits: Fits) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    recorded(folder, "one.wav")
    (folder / "one.rttm").write_text(LINE.format("one", "ann"))
    with pytest.raises(ValueError, match="nobody to leave out"):
        talk_sets(["ravdess"], [folder], corpora, None, False, 1, corpora, lambda *done: None, unheard=True)
    assert fits == []


@pytest.mark.parametrize(("name", "other"), [("librispeech", "ravdess"), ("ravdess", "librispeech")])
def test_no_voiceprint_has_heard_who_talks(name: str, other: str, corpora: Path, fits: Fits) -> None:
    told: list[tuple[int, int]] = []
    (a_set,) = talk_sets([name], [], corpora, 3, False, 1, corpora, lambda *done: told.append(done))
    folds = {"librispeech": 4, "ravdess": len(RAVDESS_FOLDS)}[name]
    assert len(fits) == folds
    assert told == [(number, folds) for number in range(folds + 1)]
    assert len(a_set.talks) == 3 * folds
    for talk in a_set.talks:
        left_out = fits[int(str(talk.projection))]
        assert set(talk.source.voices) <= left_out[name]
        assert left_out[other] == set()
        assert "the networks are as published" in a_set.protocol
        assert 2 <= len(talk.source.voices) <= {"librispeech": 5, "ravdess": 4}[name]
    everybody = set().union(*(one[name] for one in fits))
    assert len(everybody) == sum(len(one[name]) for one in fits) == {"librispeech": 12, "ravdess": 21}[name]


def test_the_seed_alone_decides_and_more_conversations_begin_with_the_same(corpora: Path, fits: Fits) -> None:
    def names(each: int, seed: int) -> list[tuple[str, list[str], int]]:
        (a_set,) = talk_sets(["ravdess"], [], corpora, each, False, seed, corpora, lambda *done: None)
        return [(talk.name, list(talk.source.voices), talk.source.seed) for talk in a_set.talks]

    assert names(2, 1) == names(2, 1) != names(2, 2)
    assert set(map(str, names(2, 1))) < set(map(str, names(3, 1)))


def test_what_is_absent_is_named_before_anything_is_fitted(corpora: Path, tmp_path: Path, fits: Fits) -> None:
    def sets(*names: str, folders: tuple[Path, ...] = ()) -> None:
        talk_sets(names, folders, corpora, None, False, 1, corpora, lambda *done: None)

    with pytest.raises(FileNotFoundError, match=r"no folder .*/ami: put the corpus there"):
        sets("librispeech", "ami")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        sets("librispeech", folders=(tmp_path / "nowhere",))
    assert fits == []


def test_full_is_so_many_times_more(corpora: Path, fits: Fits) -> None:
    few, many = (
        talk_sets(["ravdess"], [], corpora, None, full, 1, corpora, lambda *done: None)[0] for full in (False, True)
    )
    assert len(many.talks) == speaker_sets.FULL * len(few.talks)
