from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from pipeline.timeline import EMOTIONS
from training.corpora import CORPORA, Clip, CremaD, EmoDb, Labelled, Ravdess, default_data, open_corpus


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def labelled(root: Path, *lines: str) -> list[Clip]:
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return list(Labelled(root).clips())


def test_a_file_name_tells_emotion_and_actor(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "Actor_03/03-01-06-02-01-02-03.flac",
        "Actor_12/03-01-02-01-02-01-12.wav",
        "Actor_12/notes.txt",
    )
    assert list(Ravdess(tmp_path).clips()) == [
        Clip(tmp_path / "Actor_03/03-01-06-02-01-02-03.flac", speaker="03", emotion="fear", sex="male"),
        Clip(tmp_path / "Actor_12/03-01-02-01-02-01-12.wav", speaker="12", emotion="calm", sex="female"),
    ]


def test_emodb_tells_speaker_emotion_and_sex_and_leaves_boredom_and_laryngograms_out(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "wav/16b10Td.wav",
        "wav/03a01Fa.wav",
        "wav/03a01La.wav",
        "deeper/wav/08b02Wb.flac",
        "laryngo/03a01Fa.wav",
        "wav/03a02N.wav",
        "silb/03a01Fa.silb",
        "wav/test.wav",
    )
    assert list(EmoDb(tmp_path).clips()) == [
        Clip(tmp_path / "wav/03a01Fa.wav", speaker="03", emotion="happy", sex="male"),
        Clip(tmp_path / "wav/03a02N.wav", speaker="03", emotion="neutral", sex="male"),
        Clip(tmp_path / "deeper/wav/08b02Wb.flac", speaker="08", emotion="angry", sex="female"),
        Clip(tmp_path / "wav/16b10Td.wav", speaker="16", emotion="sad", sex="female"),
    ]


def test_emodb_has_as_many_women_as_men() -> None:
    assert len(EmoDb.men) == len(EmoDb.women) == len(EmoDb.men | EmoDb.women) / 2


def test_crema_d_tells_actor_and_emotion_and_the_sex_where_its_table_does(tmp_path: Path) -> None:
    touch(tmp_path, "AudioWAV/1002_IEO_SAD_HI.wav", "AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1001_DFA_XXX_XX.wav")
    first, second = tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav", tmp_path / "AudioWAV/1002_IEO_SAD_HI.wav"
    assert list(CremaD(tmp_path).clips()) == [Clip(first, "1001", "angry"), Clip(second, "1002", "sad")]
    (tmp_path / "VideoDemographics.csv").write_text("ActorID,Age,Sex,Race\n1001,51,Male,\n1003,21,Female,\n")
    assert list(CremaD(tmp_path).clips()) == [Clip(first, "1001", "angry", "male"), Clip(second, "1002", "sad")]


def test_a_labelled_folder_is_read_in_the_order_of_its_lines(tmp_path: Path) -> None:
    touch(tmp_path, "b.wav", "anna/a, loud.wav", "c.flac")
    assert labelled(
        tmp_path,
        "path,emotion,remark,speaker,sex",
        "b.wav,calm,,ben,male",
        '"anna/a, loud.wav",angry,shouts,anna,female',
        "c.flac,sad,,carol,",
    ) == [
        Clip(tmp_path / "b.wav", "ben", "calm", "male"),
        Clip(tmp_path / "anna/a, loud.wav", "anna", "angry", "female"),
        Clip(tmp_path / "c.flac", "carol", "sad"),
    ]


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("b.wav,ben,bored,", "emotion 'bored' is none of angry, calm, disgust, fear, happy, neutral, sad, surprise"),
        ("b.wav,ben,calm,m", "sex 'm' is none of female, male, or empty"),
        ("b.wav,,calm,", "no speaker"),
        (",ben,calm,", "no path"),
        ("b.wav,ben", "emotion '' is none of"),
        ("b.wav,ben,calm,male,old", "more fields than columns"),
        ("../b.wav,ben,calm,", "'../b.wav' leads out of the folder"),
        ("/b.wav,ben,calm,", "'/b.wav' leads out of the folder"),
        ("c.wav,ben,calm,", "no file "),
        ("./a.wav,ben,calm,", "'./a.wav' is here for the second time"),
    ],
)
def test_what_is_wrong_with_a_label_is_said_with_its_line(line: str, trouble: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    with pytest.raises(ValueError, match=rf"labels\.csv, line 3: {re.escape(trouble)}"):
        labelled(tmp_path, "path,speaker,emotion,sex", "a.wav,anna,happy,female", line)


def test_labels_without_a_column_or_a_recording_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.csv, line 1: no column emotion, speaker"):
        labelled(tmp_path, "path,label")
    with pytest.raises(ValueError, match=r"labels\.csv names no recordings"):
        labelled(tmp_path, "path,speaker,emotion")


@pytest.mark.parametrize("corpus", [Ravdess, EmoDb, CremaD])
def test_every_code_is_an_emotion_of_ours(corpus: type[Ravdess | EmoDb | CremaD]) -> None:
    assert set(corpus.emotion_of_code.values()) <= set(EMOTIONS)


def test_ravdess_has_all_emotions_of_ours() -> None:
    assert sorted(Ravdess.emotion_of_code.values()) == sorted(EMOTIONS)


@pytest.mark.parametrize("name", CORPORA)
def test_a_folder_without_speech_is_an_error_that_says_what_was_expected_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"^no .*{re.escape(str(tmp_path))}"):
        list(open_corpus(name, tmp_path).clips())


def test_a_corpus_opens_by_name_where_the_data_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONETRACK_DATA", str(tmp_path))
    touch(tmp_path, "emo-db/wav/03a01Fa.wav")
    corpus = open_corpus("emo-db")
    assert [clip.speaker for clip in corpus.clips()] == ["03"]
    with pytest.raises(FileNotFoundError, match=r"no folder .*crema-d: put the corpus crema-d there"):
        open_corpus("crema-d")
    with pytest.raises(ValueError, match="no corpus 'emodb'; there are ravdess, emo-db, crema-d, labelled"):
        open_corpus("emodb")


@pytest.mark.skipif(not (default_data() / "ravdess").is_dir(), reason="RAVDESS is not on this machine (TONETRACK_DATA)")
def test_every_actor_speaks_sixty_times() -> None:
    clips = list(Ravdess(default_data() / "ravdess").clips())
    assert set(Counter(clip.speaker for clip in clips).values()) == {60}
    per_emotion = Counter(clip.emotion for clip in clips if clip.speaker == "01")
    assert per_emotion == {emotion: 4 if emotion == "neutral" else 8 for emotion in EMOTIONS}


def test_a_name_that_is_not_ravdess_s_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Actor_01").mkdir()
    (tmp_path / "Actor_01" / "03-01-01-copy.flac").touch()
    with pytest.raises(ValueError, match="not named as RAVDESS names its files"):
        list(Ravdess(tmp_path).clips())
