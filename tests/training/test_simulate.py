from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from pipeline.speech import SpeechDetector, SpeechState
from pipeline.timeline import EMOTIONS, SAMPLE_RATE
from tests.talkers import BRIGHT, HIGH, LOW, Audio, write_wav
from training.corpora import default_data
from training.simulate import (
    Conversation,
    Recording,
    SimulationSettings,
    SpokenTurn,
    main,
    read_recordings,
    simulate,
)

CLEAN = SimulationSettings(seconds=30, overlap_share=0, gain=(0, 0), rooms=False, noise=None)

Voices = dict[str, list[Recording]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three talkers, six recordings of 2 s each."""
    root = tmp_path_factory.mktemp("recordings")
    for talker in (LOW, HIGH, BRIGHT):
        (root / talker.name).mkdir()
        for number in range(6):
            write_wav(root / talker.name / f"{talker.name}{number}.wav", talker.say(2.0, seed=number))
    return root


@pytest.fixture(scope="module")
def voices(folder: Path) -> Voices:
    return read_recordings(folder)


def decibels(audio: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(audio.astype(float) ** 2)))


def samples(conversation: Conversation, start: float, end: float) -> np.ndarray:
    return conversation.audio[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_ravdess_tells_speaker_and_emotion(tmp_path: Path) -> None:
    touch(tmp_path, "Actor_03/03-01-06-02-01-02-03.flac", "Actor_12/03-01-08-01-02-01-12.wav")
    assert read_recordings(tmp_path) == {
        "03": [Recording(tmp_path / "Actor_03/03-01-06-02-01-02-03.flac", "03", "fear")],
        "12": [Recording(tmp_path / "Actor_12/03-01-08-01-02-01-12.wav", "12", "surprise")],
    }


def test_librispeech_tells_the_speaker_flat_or_as_published(tmp_path: Path) -> None:
    touch(tmp_path / "flat", "103-1240-0000.flac", "1034-121119-0000.flac", "1034-121119-0001.flac")
    assert {name: len(of) for name, of in read_recordings(tmp_path / "flat").items()} == {"103": 1, "1034": 2}
    touch(tmp_path / "published", "103/1240/103-1240-0000.flac", "103/1241/103-1241-0000.flac")
    assert {name: len(of) for name, of in read_recordings(tmp_path / "published").items()} == {"103": 2}


def test_any_sub_folder_is_a_speaker_without_emotions(tmp_path: Path) -> None:
    touch(tmp_path, "anna/1.wav", "anna/notes.txt", "ben/1.ogg")
    recordings = read_recordings(tmp_path)
    assert list(recordings) == ["anna", "ben"]
    assert recordings["anna"] == [Recording(tmp_path / "anna/1.wav", "anna", None)]


def test_a_folder_without_recordings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no recordings"):
        read_recordings(tmp_path)


def test_a_turn_moves_with_its_islands() -> None:
    turn = SpokenTurn("a", 0.0, 2.0, "sad", ((0.0, 0.5), (1.25, 2.0)), "a.wav")
    assert turn.later(1.5) == SpokenTurn("a", 1.5, 3.5, "sad", ((1.5, 2.0), (2.75, 3.5)), "a.wav")
    assert turn.seconds == 2


def test_a_seed_makes_one_conversation(voices: Voices) -> None:
    first, again, other = (simulate(voices, seed, SimulationSettings(seconds=20)) for seed in (4, 4, 5))
    assert first.turns == again.turns
    assert np.array_equal(first.audio, again.audio)
    assert first.turns != other.turns


def test_everyone_speaks_and_nothing_is_said_twice(voices: Voices) -> None:
    conversation = simulate(voices, seed=1, settings=replace(CLEAN, seconds=100))
    assert {turn.speaker for turn in conversation.turns[:3]} == {"low", "high", "bright"}
    assert sorted(turn.source for turn in conversation.turns) == sorted(
        recording.path.name for recordings in voices.values() for recording in recordings
    )
    assert all(turn.source.startswith(turn.speaker) for turn in conversation.turns)


def test_a_clean_conversation_is_silent_between_its_turns_and_at_its_level_within(voices: Voices) -> None:
    conversation = simulate(voices, seed=2, settings=CLEAN)
    assert conversation.seconds <= CLEAN.seconds + 0.5
    for turn, following in itertools.pairwise(conversation.turns):
        assert CLEAN.gap[0] <= following.start - turn.end <= CLEAN.gap[1] + 1e-3
        assert not samples(conversation, turn.end, following.start).any()
        assert decibels(samples(conversation, turn.start, turn.end)) == pytest.approx(CLEAN.level, abs=0.5)


def test_turns_overlap_as_often_and_as_long_as_asked_and_never_with_themselves(voices: Voices) -> None:
    eager = replace(CLEAN, overlap_share=1.0, overlap=(0.3, 0.5), same_again=0.3)
    pairs = list(itertools.pairwise(simulate(voices, seed=3, settings=eager).turns))
    same = [(turn, following) for turn, following in pairs if turn.speaker == following.speaker]
    assert 0 < len(same) < len(pairs)
    for turn, following in pairs:
        overlap = turn.end - following.start
        assert overlap < 0 if (turn, following) in same else 0.299 <= overlap <= 0.501
        assert following.end > turn.end


def test_a_long_pause_splits_the_speech_of_a_turn_and_a_short_one_does_not(tmp_path: Path) -> None:
    noise: Audio = np.random.default_rng(1).standard_normal(SAMPLE_RATE, np.float32) * np.float32(0.1)
    silence: Audio = np.zeros(SAMPLE_RATE, np.float32)
    audio = np.concatenate((noise, silence[: SAMPLE_RATE // 4], noise, silence, noise))
    recording = Recording(write_wav(tmp_path / "a.wav", audio), "a", "happy")
    conversation = simulate({"a": [recording]}, seed=1, settings=CLEAN)
    (turn,) = conversation.turns
    (first, second) = turn.speech
    assert (turn.start, turn.end) == (first[0], second[1])
    assert first[1] - first[0] == pytest.approx(2.25, abs=0.11), "each end of an island takes in a soft edge"
    assert second[0] - first[1] == pytest.approx(1.0, abs=0.15)
    assert conversation.rttm("talk") == "".join(
        f"SPEAKER talk 1 {start:.3f} {end - start:.3f} <NA> <NA> a <NA> <NA>\n" for start, end in turn.speech
    )


def test_a_long_recording_is_cut_into_turns_at_its_pauses(tmp_path: Path) -> None:
    talk, pause = LOW.say(3.0, seed=1), np.zeros(SAMPLE_RATE // 5, np.float32)
    path = write_wav(tmp_path / "a.wav", np.concatenate((talk, pause, talk, pause, talk)))
    turns = simulate({"a": [Recording(path, "a")]}, seed=1, settings=CLEAN).turns
    assert [turn.seconds for turn in turns] == pytest.approx([3, 3, 3], abs=0.15)


@pytest.mark.parametrize("seconds", [5.9, 6.1, 8.3, 14.0])
def test_no_cut_leaves_a_scrap(seconds: float, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", LOW.say(seconds, seed=1))
    turns = simulate({"a": [Recording(path, "a")]}, seed=1, settings=CLEAN).turns
    assert all(1.8 < turn.seconds < 6.2 for turn in turns)
    assert sum(turn.seconds for turn in turns) == pytest.approx(seconds, abs=0.2)


def test_noise_lies_as_far_below_the_talk_as_asked(voices: Voices) -> None:
    quiet = simulate(voices, seed=2, settings=CLEAN)
    noisy = simulate(voices, seed=2, settings=replace(CLEAN, noise=(20, 20)))
    assert quiet.turns == noisy.turns
    assert decibels(quiet.audio) - decibels(noisy.audio - quiet.audio) == pytest.approx(20, abs=0.1)


def test_a_room_rings_on_after_a_turn_and_keeps_the_turns(voices: Voices) -> None:
    dry = simulate(voices, seed=2, settings=CLEAN)
    wet = simulate(voices, seed=2, settings=replace(CLEAN, rooms=True))
    end = wet.turns[-1].end
    assert dry.turns == wet.turns
    assert decibels(samples(wet, end, end + 0.1)) > -70
    assert decibels(samples(wet, end + 0.45, end + 0.5) + 1e-9) < -120


def test_the_telephone_lets_little_else_through(voices: Voices) -> None:
    audio = simulate(voices, seed=2, settings=replace(CLEAN, telephone=True)).audio
    power = np.abs(np.fft.rfft(audio)) ** 2
    hertz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    outside = power[(hertz < 200) | (hertz > 4500)].sum()
    assert outside < 0.01 * power.sum()


def test_a_conversation_on_disk_is_the_one_in_memory(voices: Voices, tmp_path: Path) -> None:
    conversation = simulate(voices, seed=6, settings=SimulationSettings(seconds=15))
    conversation.save(tmp_path, "talk")
    audio, rate = soundfile.read(tmp_path / "talk.flac", dtype="float32")
    assert rate == SAMPLE_RATE
    assert np.abs(audio - conversation.audio).max() <= 1 / 32768
    assert (tmp_path / "talk.rttm").read_text() == conversation.rttm("talk")
    record = json.loads((tmp_path / "talk.json").read_text())
    assert record["seed"] == 6
    assert [(turn["speaker"], turn["start"], turn["emotion"]) for turn in record["turns"]] == [
        (turn.speaker, turn.start, turn.emotion) for turn in conversation.turns
    ]


def test_the_command_writes_the_conversations_and_says_so(folder: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    arguments = [
        str(folder),
        str(tmp_path),
        "--conversations",
        "3",
        "--seconds",
        "10",
        "--most",
        "3",
        "--clean",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[1].startswith("conversation_01: 3 speakers, ")
    assert sorted(path.name for path in tmp_path.glob("*.flac")) == [
        f"conversation_{number:02d}.flac" for number in range(3)
    ]


@pytest.mark.skipif(
    not (default_data() / "ravdess").is_dir() and "CI" not in os.environ,
    reason="RAVDESS is not on this machine (TONETRACK_DATA)",
)
def test_actors_talk_with_their_emotions_where_the_reference_says() -> None:
    actors = read_recordings(default_data() / "ravdess")
    settings = SimulationSettings(seconds=30)
    conversation = simulate({name: actors[name] for name in ("01", "02")}, seed=1, settings=settings)
    in_order_of_codes = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise")
    assert sorted(in_order_of_codes) == list(EMOTIONS)
    assert [turn.emotion for turn in conversation.turns] == [
        in_order_of_codes[int(turn.source.split("-")[2]) - 1] for turn in conversation.turns
    ]
    islands, _ = SpeechDetector().hear(conversation.audio, 0, SpeechState.fresh())
    spoken, heard = np.zeros((2, len(conversation.audio)), bool)
    for start, end in (island for turn in conversation.turns for island in turn.speech):
        spoken[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = True
    for island in islands:
        heard[island.start : island.end] = True
    assert (spoken & heard).sum() > 0.9 * spoken.sum()
    assert (spoken & heard).sum() > 0.9 * heard.sum()
