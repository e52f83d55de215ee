from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pyannote.core import Annotation, Segment
from rich.console import Console
from typer.testing import CliRunner

from pipeline.diarisation import DiariserState, Observation, Stretch, Unit
from pipeline.diarisation.local import LocalDiariser
from pipeline.timeline import SAMPLE_RATE, Turn
from pipeline.voiceprint import SIZE
from tests.service import Pcm, silence
from tests.talkers import HIGH, LOW, Said, conversation, small_talk, write_wav
from training.cli import app
from training.diarisation_scoring import FIGURES, score
from training.speaker_sets import recorded_set
from training.speakers import LAST_WORD, OFFLINE, VIEWS, evaluate_speakers, online, speech_of

AFTER_1, AFTER_2, AFTER_5 = VIEWS[1:4]
# The second voice has a little of the first, so that it takes more than one unit to be believed.
VOICES = np.zeros((2, SIZE), np.float16)
VOICES[:, :2] = (1, 0), (0.25, np.sqrt(1 - 0.25**2))


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
    """A diariser that says at a set second who spoke: one unit a voice, all of them a second long."""

    def __init__(self, *told: tuple[float, float, int]) -> None:
        self._told = told  # said at, start, voice

    def observe(self, stretches: Sequence[Stretch]) -> list[Observation]:
        (stretch,) = stretches
        now = (stretch.start + len(stretch.audio)) / SAMPLE_RATE
        units = [self._unit(start, voice) for at, start, voice in self._told if at == now]
        return [Observation([], units, DiariserState())]

    @staticmethod
    def _unit(start: float, voice: int) -> Unit:
        first, end = round(start * SAMPLE_RATE), round((start + 1) * SAMPLE_RATE)
        return Unit(first, end, first, VOICES[voice])


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
    """A second of a second voice is first given to the only speaker there is; after another it is someone else's."""
    first_voice = [(2.0, 0.5, 0), (3.0, 1.5, 0), (4.0, 2.5, 0)]
    said = online(silence(12), Slow(*first_voice, (5.0, 3.75, 1), (8.0, 6.0, 1)))
    told = {view: speech.argmax(Segment(4.0, 4.75)) for view, speech in said.items()}
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


def test_two_processes_come_to_what_one_does(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    sets = [recorded_set(folder)]
    alone = evaluate_speakers(sets, on_talk=lambda *done: told.append(done))
    assert told == [("first", 1, 2), ("second", 2, 2)]
    assert evaluate_speakers(sets, workers=2).sets[0].conversations == alone.sets[0].conversations


def test_the_command_prints_and_writes_what_it_found(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "speakers.json"
    arguments = ["evaluate", "speakers", str(folder), "--workers", "1", "--report", str(report)]
    ran = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert ran.exit_code == 0, ran.output
    for words in (*FIGURES, *VIEWS, "2 conversations", "0.25 s on each side", "voiceprints as shipped"):
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
        return ran.output

    write_wav(tmp_path / "strange.wav", np.zeros(SAMPLE_RATE, np.float32))
    assert "no reference for strange.wav" in refused(tmp_path)
    assert "put the corpus there, or name another place with --data" in refused("--set", "ami", "--data", tmp_path)
    assert "take one" in refused(folder, "--full", "--conversations", 3)


def test_the_report_is_json_and_the_tables_fit(folder: Path) -> None:
    evaluation = evaluate_speakers([recorded_set(folder)])
    json.dumps(evaluation.as_dict(), allow_nan=False)
    console = Console(file=io.StringIO(), width=130)
    evaluation.show(console)
    assert max(map(len, console.file.getvalue().splitlines())) <= 130
