"""What leaves ToneTrack is read back by readers that are not its own."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import time
from pathlib import Path

import pytest

from pipeline.captions import LONGEST, NOTE, cues
from pipeline.exports import COLUMNS, FORMATS, best_format, best_of
from pipeline.timeline import EMOTIONS, UNSURE, EmotionReading, Timeline, Turn, Word
from training.rttm import read_rttm

HOSTILE = (
    "<script>alert(1)</script>",
    "a --> b",
    "Tom & Jerry &lt;",
    "two\nlines\r\n\nand more",
    "=HYPERLINK(1)",
    '"; =1+1',
    "@sum, -2",
    "tab\tand\x00nul\u2028sep\u202eright",
    "half \ud800 pair",
    "\n",
    "<NA>",
    "Ünï çødé 名前 🙂",
)


def reading(turn: int, start: float, end: float, label: str, sure: float = 0.65, mixed: bool = False) -> EmotionReading:
    top = label if label in EMOTIONS else "calm"
    probabilities = tuple(sure if emotion == top else (1 - sure) / 7 for emotion in EMOTIONS)
    one = EmotionReading(
        turn=turn,
        start=start,
        end=end,
        probabilities=probabilities,
        label=label,
        valence=0.25,
        arousal=-0.5,
        heard=2,
        mode="full",
        baseline=30,
        model="m",
    )
    return one.as_mixed() if mixed else one


def small() -> Timeline:
    """Two people, one of them named, a third beneath the first, and a transcript."""
    timeline = Timeline(heard_until=40, ended=True, names={1: "Anna Maria"})
    timeline.put(Turn(id=0, speaker=1, start=1, end=5, final=True))
    timeline.put(Turn(id=1, speaker=2, start=29.0004, end=33.5, final=True))
    timeline.put(Turn(id=2, speaker=3, start=3, end=4, final=True, second_voice=True))
    timeline.add(reading(0, 1, 3, "happy", 0.62))
    timeline.add(reading(0, 3, 5, UNSURE))
    timeline.add(reading(1, 29.0004, 31, "sad"))
    timeline.add(reading(1, 31, 33.5, "sad", mixed=True))
    timeline.words = [
        Word(start=1, end=1.5, text="good", speaker=1),
        Word(start=1.6, end=2, text="<morning>", speaker=1),
        Word(start=30, end=30.4, text="well"),
        Word(start=38, end=38.5, text="who", speaker=None),
        Word(start=38.6, end=39, text="knows", speaker=None),
    ]
    return timeline


def long(seconds: float, speakers: int = 4, seed: int = 3) -> Timeline:
    """A recording with two readings a second, and now and then somebody beneath."""
    chance = random.Random(seed)
    timeline = Timeline(heard_until=seconds, ended=True)
    at, number = 0.0, 0
    while at < seconds:
        end = min(seconds, at + 0.5 * chance.randint(1, 40))
        speaker = chance.randint(1, speakers)
        timeline.put(Turn(id=2 * number, speaker=speaker, start=at, end=end, final=True))
        if chance.random() < 0.2:
            other = speaker % speakers + 1
            timeline.put(Turn(id=2 * number + 1, speaker=other, start=at, end=(at + end) / 2, second_voice=True))
        while at < end:
            label = chance.choice((*EMOTIONS, UNSURE))
            timeline.add(reading(2 * number, at, at + 0.5, label, chance.uniform(0.2, 1), chance.random() < 0.1))
            at += 0.5
        at += chance.choice((0.0, 0.25, 1.0))
        number += 1
    return timeline


def written(name: str, timeline: Timeline, recording: str = "talk") -> str:
    text = "".join(FORMATS[name].write(timeline, recording))
    assert text.encode("utf-8").decode("utf-8") == text
    return text


def rows(timeline: Timeline) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written("csv", timeline), newline=""), strict=True))


def seconds(stamp: str) -> float:
    hours, minutes, rest = stamp.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def parsed(text: str) -> list[tuple[float, float, str, list[str]]]:
    """The cues of a WebVTT file: start, end, voice, and the lines below it; as strict as its grammar."""
    header, *blocks = text.rstrip("\n").split("\n\n")
    assert re.fullmatch(r"WEBVTT([ \t].*)?", header)
    found = []
    for block in blocks:
        if block.startswith("NOTE"):
            continue
        times, *payload = block.split("\n")
        match = re.fullmatch(r"(\d{2,}:[0-5]\d:[0-5]\d\.\d{3}) --> (\d{2,}:[0-5]\d:[0-5]\d\.\d{3})", times)
        assert match, times
        voice = re.match(r"<v ([^<>]+)>", payload[0])
        assert voice, payload
        told = [payload[0][voice.end() :], *payload[1:]]
        assert not any("-->" in line or "<" in line or re.search(r"&(?!amp;|lt;|gt;)", line) for line in told)
        found.append((seconds(match[1]), seconds(match[2]), voice[1], told))
    return found


def test_json_is_the_document() -> None:
    for timeline in (small(), long(1_200), Timeline()):
        assert json.loads(written("json", timeline)) == json.loads(json.dumps(timeline.document()))


def test_chunks_are_all_chunks_in_order() -> None:
    timeline = small()
    chunks = json.loads(written("chunks.json", timeline))
    assert chunks == [
        {speaker: one.model_dump() for speaker, one in timeline.chunk(number).items()} for number in range(2)
    ]
    assert chunks[0]["1"] == {"start_times": [1], "end_times": [5], "emotion": ["happy", "happy", UNSURE, UNSURE]}
    assert chunks[1]["2"]["start_times"] == [30]
    assert json.loads(written("chunks.json", Timeline())) == []


@pytest.mark.parametrize("seed", range(5))
def test_chunks_at_once_are_those_one_by_one(seed: int) -> None:
    timeline = long(170, seed=seed)
    assert list(timeline.chunks()) == [timeline.chunk(number) for number in range(6)]


def test_a_row_of_the_table_tells_a_reading() -> None:
    text = written("csv", small())
    assert text.startswith(
        "start,end,speaker,name,label,confidence,angry,calm,disgust,fear,happy,neutral,sad,surprise,"
    )
    assert text.count("\r\n") == text.count("\n") == 5
    happy, _, _, mixed = rows(small())
    assert tuple(happy) == COLUMNS
    assert {key: happy[key] for key in ("start", "end", "speaker", "name", "label", "confidence", "happy")} == {
        "start": "1.0",
        "end": "3.0",
        "speaker": "1",
        "name": "Anna Maria",
        "label": "happy",
        "confidence": "0.62",
        "happy": "0.62",
    }
    assert [happy[key] for key in ("valence", "arousal", "heard", "mode", "mixed", "turn")] == [
        *("0.25", "-0.5", "2.0", "full", "false", "0")
    ]
    assert (mixed["mixed"], mixed["label"], mixed["name"]) == ("true", UNSURE, "Speaker 2")
    assert written("csv", Timeline()) == ",".join(COLUMNS) + "\r\n"


def test_a_reading_without_its_turn_is_nobodys_and_one_beneath_another_is_mixed() -> None:
    timeline = small()
    timeline.add(reading(99, 34, 35, "sad"))
    timeline.add(reading(2, 3, 4, "angry"))
    *_, astray, beneath = rows(timeline)
    assert (astray["speaker"], astray["name"], astray["label"]) == ("", "", "sad")
    assert (beneath["speaker"], beneath["mixed"], beneath["label"]) == ("3", "true", UNSURE)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-Anna", "'-Anna"),
        ("@Anna", "'@Anna"),
        ("\t=1", "'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("Anna;=1", "Anna;'=1"),
        ('Anna, "=1', "Anna, \"'=1"),
        ("Anna-Maria = x", "Anna-Maria = x"),
        ('The "Boss"', 'The "Boss"'),
    ],
)
def test_no_spreadsheet_takes_a_name_for_a_formula(name: str, told: str) -> None:
    timeline = small()
    timeline.names[1] = name
    assert rows(timeline)[0]["name"] == told


def test_rttm_has_a_line_a_turn_and_second_voices_too(tmp_path: Path) -> None:
    timeline = small()
    assert written("rttm", timeline, "my talk").splitlines() == [
        "SPEAKER my_talk 1 1.000 4.000 <NA> <NA> Anna_Maria <NA> <NA>",
        "SPEAKER my_talk 1 3.000 1.000 <NA> <NA> Speaker_3 <NA> <NA>",
        "SPEAKER my_talk 1 29.000 4.500 <NA> <NA> Speaker_2 <NA> <NA>",
    ]
    assert "SPEAKER recording 1 " in written("rttm", timeline, "  ")


@pytest.mark.parametrize("seed", range(5))
def test_rttm_is_read_back(seed: int, tmp_path: Path) -> None:
    timeline = long(200, seed=seed)
    path = tmp_path / "talk.rttm"
    path.write_text(written("rttm", timeline), encoding="utf-8")
    (speech,) = read_rttm(path).values()
    assert speech.uri == "talk"
    assert {str(label) for label in speech.labels()} == {f"Speaker_{speaker}" for speaker in timeline.speakers}
    for speaker in timeline.speakers:
        turns = sorted((turn.start, turn.end) for turn in timeline.turns_of(speaker))
        covered, reached = 0.0, 0.0
        for start, end in turns:
            covered += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        assert speech.label_duration(f"Speaker_{speaker}") == pytest.approx(covered, abs=0.01)


def test_people_of_one_name_stay_apart_in_rttm(tmp_path: Path) -> None:
    timeline = Timeline(names={1: "Anna B", 2: "Anna_B", 3: "<NA>", 4: "\n", 5: "Anna_B_2", 6: "Speaker 4"})
    for speaker in range(1, 7):
        timeline.put(Turn(id=speaker, speaker=speaker, start=speaker, end=speaker + 1))
    names = [line.split()[7] for line in written("rttm", timeline).splitlines()]
    assert names == ["Anna_B", "Anna_B_2", "<NA>_3", "Speaker_4", "Anna_B_2_5", "Speaker_4_6"]


def test_captions_say_who_sounds_how_and_what_is_said() -> None:
    assert written("vtt", small(), "A & B") == (
        "WEBVTT - A &amp; B\n\nNOTE " + NOTE + "\n\n"
        "00:00:01.000 --> 00:00:03.000\n<v Anna Maria>Anna Maria sounds happy (62 %)\ngood &lt;morning&gt;\n\n"
        "00:00:03.000 --> 00:00:05.000\n<v Anna Maria>Anna Maria: unsure\n\n"
        "00:00:03.000 --> 00:00:04.000\n<v Speaker 3>Speaker 3 talks beneath another\n\n"
        "00:00:29.000 --> 00:00:31.000\n<v Speaker 2>Speaker 2 sounds sad (65 %)\nwell\n\n"
        "00:00:31.000 --> 00:00:33.500\n<v Speaker 2>Speaker 2: two talk at once\n\n"
        "00:00:38.000 --> 00:00:39.000\n<v Somebody>Somebody talks\nwho knows\n"
    )
    assert parsed(written("vtt", Timeline())) == []


def test_a_flicker_makes_no_cue_and_a_long_turn_several() -> None:
    timeline = Timeline()
    timeline.put(Turn(id=0, speaker=1, start=0, end=13, final=True))
    for half in range(26):
        timeline.add(reading(0, half / 2, half / 2 + 0.5, "angry" if half in (9, 25) else "calm"))
    found = cues(timeline)
    assert [cue.start for cue in found] == pytest.approx([0, 13 / 3, 26 / 3])
    assert [cue.end for cue in found] == pytest.approx([13 / 3, 26 / 3, 13])
    assert {cue.tone for cue in found} == {" sounds calm (65 %)"}


@pytest.mark.parametrize("seed", range(8))
def test_cues_cover_every_turn_and_are_long_enough_to_be_read(seed: int) -> None:
    timeline = long(240, seed=seed)
    found = cues(timeline)
    assert [cue.start for cue in found] == sorted(cue.start for cue in found)
    assert all(0 < cue.end - cue.start <= LONGEST + 1e-6 for cue in found)
    for turn in timeline.turns.values():
        own = [cue for cue in found if cue.speaker == turn.speaker and cue.beneath == turn.second_voice]
        covered = sum(turn.overlap(cue.start, cue.end) for cue in own)
        assert covered == pytest.approx(turn.duration)
        inside = [cue for cue in own if turn.start <= cue.start and cue.end <= turn.end]
        assert min(cue.end - cue.start for cue in inside) >= min(turn.duration, 0.75) - 1e-6
    assert len(parsed(written("vtt", timeline))) == len(found)


def test_every_word_is_said_once() -> None:
    timeline = long(120)
    chance = random.Random(1)
    starts = sorted(chance.uniform(0, 125) for _ in range(300))
    timeline.words = [
        Word(start=at, end=at + 0.2, text=f"w{number}", speaker=chance.choice((None, 1, 2, 9)))
        for number, at in enumerate(starts)
    ]
    told = sorted(word for *_, lines in parsed(written("vtt", timeline)) for word in " ".join(lines[1:]).split())
    assert told == sorted(word.text for word in timeline.words)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_a_format(name: str, tmp_path: Path) -> None:
    timeline = small()
    timeline.names[1] = name
    timeline.words[0] = Word(start=1, end=1.5, text=name, speaker=1)
    voices = {voice for _, _, voice, _ in parsed(written("vtt", timeline, name))}
    assert len(voices) == 4
    assert len(rows(timeline)) == 4
    assert not re.match(r"[=+\-@]", rows(timeline)[0]["name"])
    path = tmp_path / "talk.rttm"
    path.write_text(written("rttm", timeline, name), encoding="utf-8")
    (speech,) = read_rttm(path).values()
    assert len(speech.labels()) == 3
    assert json.loads(written("json", timeline))["names"] == {"1": name}


def test_four_hours_take_a_moment() -> None:
    timeline = long(4 * 3_600)
    assert len(timeline.readings) > 20_000
    for name in FORMATS:
        began = time.perf_counter()
        pieces = list(FORMATS[name].write(timeline, "talk"))
        assert time.perf_counter() - began < 10, name  # a second or less where nothing else runs
        assert max(map(len, pieces)) < 600_000, f"{name} comes in pieces"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("text/csv", "csv"),
        ("TEXT/CSV; charset=utf-8", "csv"),
        ("text/*", "csv"),
        ("text/vtt, text/csv;q=0.9", "vtt"),
        ("text/csv;q=0.9, text/vtt", "vtt"),
        ("*/*, text/vtt", "vtt"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "json"),
        ("application/json;q=0, */*;q=0.1", "chunks.json"),
        ("application/vnd.tonetrack.chunks+json", "chunks.json"),
        ("application/x-rttm;q=0.2, text/*;q=0.1", "rttm"),
        ("text/*;q=0.5, text/csv;q=0, */*;q=0", "vtt"),
        ("text/html", None),
        ("*/*;q=0", None),
        ("text/csv;q=0.0", None),
        ("text/csv;q=2, nonsense, ;;, text/vtt;q=0.1", "vtt"),
        ("*/csv", None),
    ],
)
def test_who_asks_gets_what_they_like_best(header: str, name: str | None) -> None:
    assert best_format(header) == name


def test_other_types_can_be_offered() -> None:
    offered = {"page": "text/html", "json": "application/json"}
    assert best_of("text/html,application/xhtml+xml,*/*;q=0.8", offered) == "page"
    assert best_of("application/json", offered) == "json"
