from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pyannote.core import Annotation, Segment
from rich.console import Console
from typer.testing import CliRunner

from pipeline.clustering import DISTINCT_SECONDS
from pipeline.diarisation import DiariserState, Observation, Stretch, Unit
from pipeline.diarisation.local import LocalDiariser
from pipeline.timeline import SAMPLE_RATE, Turn
from pipeline.voiceprint import SIZE
from tests.service import Pcm, silence
from tests.talkers import HIGH, LOW, Said, conversation, small_talk, write_wav
from training.cli import app
from training.diarisation_scoring import FIGURES, PERCENT, score
from training.evaluate import Rate
from training.speaker_sets import recorded_set
from training.speakers import LAST_WORD, OFFLINE, VIEWS, Judged, SetEvaluation, evaluate_speakers, online, speech_of

AFTER_1, AFTER_2, AFTER_5 = VIEWS[1:4]
VOICES = np.eye(2, SIZE, dtype=np.float16)


# Each worker tells that it is there, and then takes a minute, which nobody would wait for.
ENDLESS = """
import os, time
from pathlib import Path
from training.speaker_sets import Talk, TalkSet
from training.speakers import evaluate_speakers

class Endless:
    def load(self):
        print(os.getpid(), flush=True)
        time.sleep(60)

if __name__ == "__main__":
    evaluate_speakers([TalkSet("endless", "", tuple(Talk(name, Endless(), Path()) for name in "ab"))], workers=2)
"""


def reference_of(said: Sequence[Said]) -> Annotation:
    speech = Annotation()
    for number, one in enumerate(said):
        speech[Segment(one.start, one.end), number] = f"talker{one.talker}"
    return speech


def turn(number: int, speaker: int, start: float, end: float) -> Turn:
    return Turn(id=number, speaker=speaker, start=start, end=end)


def stretches(speech: Annotation) -> list[tuple[float, float, str]]:
    return [(one.start, one.end, who) for one, _, who in speech.itertracks(yield_label=True)]


class Slow:
    """A diariser that says at a set second who spoke: one unit a voice, all of them of one length."""

    def __init__(self, *told: tuple[float, float, int], seconds: float = 1.0) -> None:
        self._told = told  # said at, start, voice
        self._samples = round(seconds * SAMPLE_RATE)

    def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        (stretch,) = stretches
        now = (stretch.start + len(stretch.audio)) / SAMPLE_RATE
        units = [self._unit(start, voice) for at, start, voice in self._told if at == now]
        return [Observation([], units, DiariserState())]

    def _unit(self, start: float, voice: int) -> Unit:
        first = round(start * SAMPLE_RATE)
        return Unit(first, first + self._samples, first, VOICES[voice])


def errors(said: dict[str, Annotation], reference: Annotation, seconds: float) -> dict[str, tuple[float, float]]:
    scores = {view: score(reference, speech, seconds) for view, speech in said.items()}
    return {view: (round(one.missed, 6), round(one.confusion, 6)) for view, one in scores.items()}


def test_what_is_published_late_is_missed_at_first_and_not_later() -> None:
    reference = speech_of([turn(0, 1, 1.0, 2.0)])
    said = online(silence(10), Slow((4.0, 1.0, 0)))
    assert errors(said, reference, 10) == {AFTER_1: (1, 0), AFTER_2: (1, 0), AFTER_5: (0, 0), LAST_WORD: (0, 0)}


def test_an_instant_is_read_when_it_is_so_old_and_not_at_the_next_hop() -> None:
    """Published at 3.0 s: of what is said from 1 to 2 s, nothing is older than 2 s by then, and all is older than 1."""
    said = online(silence(10), Slow((3.0, 1.0, 0)))
    assert errors(said, speech_of([turn(0, 1, 1.0, 2.0)]), 10) == {
        AFTER_1: (1, 0),
        AFTER_2: (0, 0),
        AFTER_5: (0, 0),
        LAST_WORD: (0, 0),
    }
    said = online(silence(10), Slow((2.5, 1.0, 0)))
    assert stretches(said[AFTER_1]) == [(1.5, 2.0, "1")]


def test_when_the_sound_ends_the_last_word_follows_at_once() -> None:
    said = online(silence(4.3), Slow((4.0, 2.0, 0), (5.0, 3.0, 0)))
    assert stretches(said[LAST_WORD]) == [(2.0, 4.0, "1")]
    assert stretches(said[AFTER_1]) == [(3.3, 4.0, "1")]
    assert stretches(said[AFTER_2]) == [(2.0, 4.0, "1")]
    assert said[AFTER_5] == said[LAST_WORD]


def test_what_was_shown_is_not_corrected_by_what_was_understood_later() -> None:
    """Too little of a second voice is first given to the only speaker there is; with as much more it is someone's."""
    first_voice = [(2.0, 0.5, 0), (3.0, 1.5, 0), (4.0, 2.5, 0)]
    little = 0.8 * DISTINCT_SECONDS
    said = online(silence(12), Slow(*first_voice, (5.0, 3.75, 1), (8.0, 6.0, 1), seconds=little))
    told = {view: speech.argmax(Segment(4.0, 3.75 + little)) for view, speech in said.items()}
    assert told == {AFTER_1: "1", AFTER_2: "1", AFTER_5: "2", LAST_WORD: "2"}


def test_two_speakers_of_one_instant_are_both_there() -> None:
    speech = speech_of([turn(0, 1, 0, 4), turn(1, 2, 3, 6), turn(2, 1, 4, 5)])
    assert stretches(speech) == [(0, 5, "1"), (3, 6, "2")]


@pytest.mark.parametrize("seconds", [0.0, 0.3, 7.2])
def test_nobody_is_heard_in_silence(seconds: float) -> None:
    said = online(silence(seconds), LocalDiariser())
    assert list(said) == list(VIEWS[1:])
    assert not any(said.values())


def test_what_was_shown_owes_nothing_to_what_comes_later(small_conversation: tuple[Pcm, list[Said]]) -> None:
    pcm, cut = small_conversation[0], 15.0
    diariser = LocalDiariser()
    whole, beginning = online(pcm, diariser), online(pcm[: round(cut * SAMPLE_RATE)], diariser)
    for view, latency in ((AFTER_1, 1), (AFTER_5, 5)):
        known = Segment(0, cut - latency)
        assert stretches(whole[view].crop(known)) == stretches(beginning[view].crop(known)) != []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short conversations with one reference for both."""
    place = tmp_path_factory.mktemp("talks")
    lines = []
    for name, seed in (("first", 3), ("second", 4)):
        audio, said = conversation((LOW, HIGH), small_talk(talkers=2, seconds=20, seed=seed), seed=seed)
        write_wav(place / f"{name}.wav", audio)
        lines += [
            f"SPEAKER {name} 1 {one.start:.3f} {one.end - one.start:.3f} <NA> <NA> {one.talker} <NA> <NA>\n"
            for one in said
        ]
    (place / "reference.rttm").write_text("".join(lines))
    return place


@pytest.mark.long
def test_two_processes_come_to_what_one_does(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    sets = [recorded_set(folder)]
    alone = evaluate_speakers(sets, on_talk=lambda *done: told.append(done))
    assert told == [("first", 1, 2), ("second", 2, 2)]
    assert evaluate_speakers(sets, workers=2).sets[0].conversations == alone.sets[0].conversations


@pytest.mark.long
def test_nobody_goes_on_for_an_evaluation_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as evaluation:
        assert evaluation.stdout is not None
        assert evaluation.stdout.readline().strip().isdigit()
        evaluation.kill()
        evaluation.communicate(timeout=20)  # returns once the pipe is closed, which every worker holds open


def test_the_command_prints_and_writes_what_it_found(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "speakers.json"
    arguments = ["evaluate", "speakers", str(folder), "--workers", "1", "--report", str(report)]
    ran = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert ran.exit_code == 0, ran.output
    assert "voiceprints ━" not in ran.output
    for words in (
        *(word for figure in FIGURES for word in figure.split()),
        *VIEWS,
        "2 conversations",
        "0.25 s on each side",
        "voiceprints as shipped",
    ):
        assert words in ran.output.replace("\n", " "), words
    (one,) = json.loads(report.read_text())["sets"]
    assert [talk["name"] for talk in one["conversations"]] == ["first", "second"]
    assert list(one["views"]) == list(VIEWS)
    for view in (OFFLINE, AFTER_2, LAST_WORD):
        assert one["views"][view]["DER"]["value"] < 0.3
        assert one["views"][view]["labels swapped"]["value"] is None


def test_the_command_says_what_is_lacking(folder: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        ran = CliRunner().invoke(app, ["evaluate", "speakers", *map(str, arguments)])
        assert ran.exit_code == 1, ran.output
        assert "━" not in ran.output
        return ran.output

    write_wav(tmp_path / "strange.wav", np.zeros(SAMPLE_RATE, np.float32))
    assert "no reference for strange.wav" in refused(tmp_path)
    assert "put the corpus there, or name another place with --data" in refused("--set", "ami", "--data", tmp_path)
    assert "take one" in refused(folder, "--full", "--conversations", 3)
    assert "for folders" in refused("--unheard")


def shown(evaluation: SetEvaluation, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(evaluation.table())
    return console.file.getvalue().splitlines()


def test_a_table_fits_80_columns_uncut() -> None:
    rates = {name: Rate(0.153, 0.1526, 0.234) for name in FIGURES} | {"speakers, too many": Rate(-0.25, -1.25, 0.5)}
    judged = [Judged(name, 60.0, 0.0, {}) for name in "ab"]
    lines = shown(SetEvaluation("some", "", 120.0, 60.0, 0.0, dict.fromkeys(VIEWS, rates), judged), 80)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert sum(line.count("15.3 (15-23)") for line in lines) == len(VIEWS) * sum(
        figure.unit == PERCENT for figure in FIGURES.values()
    )
    assert sum(line.count("(-1.2..0.5)") for line in lines) == len(VIEWS)


def test_a_set_is_called_what_its_folder_is() -> None:
    rates = dict.fromkeys(FIGURES, Rate(0.153, 0.1526, 0.234))
    lines = shown(SetEvaluation("[/b]", "", 120.0, 60.0, 0.0, dict.fromkeys(VIEWS, rates), []), 80)
    assert any("[/b]: " in line for line in lines)


def test_one_conversation_is_called_one_and_has_no_intervals(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "first.wav").symlink_to(folder / "first.wav")
    (tmp_path / "reference.rttm").symlink_to(folder / "reference.rttm")
    a_set = recorded_set(tmp_path)
    assert a_set.extent == "1 conversation"
    evaluation = evaluate_speakers([a_set])
    lines = shown(evaluation.sets[0], 80)
    assert "1 conversation, " in lines[0]
    assert not re.search(r"[()]|nan", "".join(lines))
    json.dumps(evaluation.as_dict(), allow_nan=False)
