from __future__ import annotations

from pathlib import Path

import pytest

from training.rttm import read_rttm, rttm_of


def written(folder: Path, text: str) -> Path:
    path = folder / "reference.rttm"
    path.write_text(text)
    return path


def stretches(speech: object) -> list[tuple[float, float, str]]:
    return [(one.start, one.end, speaker) for one, _, speaker in speech.itertracks(yield_label=True)]


def test_the_speech_of_each_recording_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        ";; a comment\n"
        "SPKR-INFO one 1 <NA> <NA> <NA> unknown ann <NA>\n"
        "SPEAKER one 1 0.500 1.500 <NA> <NA> ann <NA> <NA>\n"
        "\n"
        "SPEAKER one 1 1 2 <NA> <NA> ben\n"
        "SPEAKER two 1 3.0 1.0 <NA> <NA> ann <NA> <NA>\n",
    )
    told = read_rttm(path)
    assert stretches(told["one"]) == [(0.5, 2, "ann"), (1, 3, "ben")]
    assert stretches(told["two"]) == [(3, 4, "ann")]


def test_nobody_speaks_twice_at_a_time(tmp_path: Path) -> None:
    line = "SPEAKER one 1 {} {} <NA> <NA> {} <NA> <NA>\n"
    path = written(tmp_path, line.format(0, 2, "ann") + line.format(1, 2, "ann") + line.format(3, 1, "ann"))
    assert stretches(read_rttm(path)["one"]) == [(0, 4, "ann")]


def test_a_recording_in_which_nothing_lasts_is_known_and_silent(tmp_path: Path) -> None:
    assert not read_rttm(written(tmp_path, "SPEAKER one 1 2.0 0.0 <NA> <NA> ann <NA> <NA>\n"))["one"]
    assert read_rttm(written(tmp_path, "")) == {}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    text = "".join(
        f"SPEAKER one 1 {start} {seconds} <NA> <NA> {speaker} <NA> <NA>\n"
        for start, seconds, speaker in (("0.500", "1.500", "1"), ("1.000", "2.000", "2"), ("7.125", "0.500", "1"))
    )
    assert rttm_of("one", read_rttm(written(tmp_path, text))["one"]) == text


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("SPEAKER one 1 0.5 1.5 <NA> <NA>", "has 8 fields or more, not 7"),
        ("SPEAKER one 1 soon 1.5 <NA> <NA> ann", "the start is a number of seconds, 0 or more, not 'soon'"),
        ("SPEAKER one 1 -1 1.5 <NA> <NA> ann", "the start is a number of seconds, 0 or more, not '-1'"),
        ("SPEAKER one 1 0 nan <NA> <NA> ann", "the duration is a number of seconds, 0 or more, not 'nan'"),
        ("ann from 0.5 to 1.5", "begins with its type in capitals, such as SPEAKER, not with 'ann'"),
    ],
)
def test_a_line_that_is_none_is_named(line: str, complaint: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"SPEAKER one 1 0.5 1.5 <NA> <NA> ann\n{line}\n")
    with pytest.raises(ValueError, match=complaint) as raised:
        read_rttm(path)
    assert str(raised.value).startswith(f"{path}:2: ")


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "reference.rttm"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not text"):
        read_rttm(path)
