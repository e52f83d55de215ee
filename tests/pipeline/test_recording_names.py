"""Whose voice is enrolled is called by their name in a recording, as live."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.diarisation.local import LocalDiariser
from pipeline.enrolment import RECOGNISED_SECONDS, enrol
from pipeline.events import Event, SessionEnded, SpeakerNamed
from pipeline.hearing import DIARISING, Listening, Progress
from pipeline.recording import Heard, listen
from pipeline.segments import ears_here
from pipeline.session import Voice
from pipeline.sound import Sound
from pipeline.timeline import SAMPLE_RATE, Timeline
from tests.pipeline.test_enrolment import talk
from tests.pipeline.test_recording import Ear, a_head, hear
from tests.service import Pcm
from tests.talkers import HIGH, LOW, Said, Talker

Talk = tuple[Pcm, list[Said]]


@pytest.fixture(scope="module")
def diariser() -> LocalDiariser:
    return LocalDiariser()


def enrolled(talker: Talker, name: str, diariser: LocalDiariser) -> Voice:
    return Voice(name, name, enrol(talk(talker, seconds=(10,), seed=9), diariser)[0].astype(np.float16))


@pytest.fixture(scope="module")
def voices(diariser: LocalDiariser) -> list[Voice]:
    """Those of both who talk in the small conversation."""
    return [enrolled(LOW, "Anna", diariser), enrolled(HIGH, "Ben", diariser)]


def speaker_at(timeline: Timeline, said: Said) -> int:
    return max(timeline.turns.values(), key=lambda turn: turn.overlap(said.start, said.end)).speaker


def told(heard: Heard) -> list[Sequence[Event]]:
    return list(heard.told("research"))


def test_everyone_gets_their_own_name(small_conversation: Talk, diariser: LocalDiariser, voices: list[Voice]) -> None:
    pcm, said = small_conversation
    timeline = hear(pcm, diariser, Ear(), a_head(), Listening(known=lambda: voices))
    by_talker = {line.talker: speaker_at(timeline, line) for line in said}
    assert timeline.names == {by_talker[0]: "Anna", by_talker[1]: "Ben"}
    unnamed = hear(pcm, diariser, Ear(), a_head())
    assert timeline.model_copy(update={"names": {}}) == unnamed, "a name changes nothing else"


def test_a_stranger_gets_nobodys_name(small_conversation: Talk, diariser: LocalDiariser, voices: list[Voice]) -> None:
    pcm, said = small_conversation
    timeline = hear(pcm, diariser, Ear(), a_head(), Listening(known=lambda: voices[1:]))
    assert timeline.names == {speaker_at(timeline, next(line for line in said if line.talker == 1)): "Ben"}


def test_who_hardly_talks_stays_unnamed(diariser: LocalDiariser, voices: list[Voice]) -> None:
    """Nobody has measured how often so little would be taken for somebody else."""
    short, long = (
        hear(talk(LOW, seconds=(seconds,)), diariser, Ear(), a_head(), Listening(known=lambda: voices)).names
        for seconds in (RECOGNISED_SECONDS - 2, RECOGNISED_SECONDS + 3)
    )
    assert (short, long) == ({}, {1: "Anna"})


def test_a_channel_is_called_by_its_speakers_name(diariser: LocalDiariser, voices: list[Voice]) -> None:
    high, low = talk(HIGH, seconds=(8,)), talk(LOW, seconds=(8,))
    length = min(len(high), len(low))
    call = np.stack([np.zeros(length, np.int16), high[:length], low[:length]])
    timeline = hear(call, diariser, Ear(), a_head(), Listening(channels=True, known=lambda: voices))
    assert timeline.names == {2: "Ben", 3: "Anna"}


def test_voices_are_asked_for_once_all_is_heard(
    small_conversation: Talk, diariser: LocalDiariser, voices: list[Voice]
) -> None:
    """Whoever erases theirs while a recording of hours is heard must not be recognised in it."""
    heard_until: list[float] = []
    asked_at: list[float] = []

    def progress(how_far: Progress) -> None:
        if how_far.step == DIARISING:
            heard_until.append(how_far.done)

    def known() -> list[Voice]:
        asked_at.append(heard_until[-1])
        return voices

    hear(small_conversation[0], diariser, Ear(), a_head(), Listening(known=known, on_progress=progress))
    assert asked_at == [pytest.approx(len(small_conversation[0]) / SAMPLE_RATE)]


def test_names_are_told_as_live_and_move_no_other_piece(
    small_conversation: Talk, diariser: LocalDiariser, voices: list[Voice]
) -> None:
    """A voice may be erased before whoever takes a recording over tells it anew, by the number of each piece."""

    def pieces(known: list[Voice]) -> list[Sequence[Event]]:
        with Sound([small_conversation[0]]) as sound:
            how = Listening(known=lambda: known)
            return told(listen(sound, ears_here(diariser, Ear()), a_head(), how))  # type: ignore[arg-type]

    named, unnamed = pieces(voices), pieces([])
    assert named[:-1] == unnamed[:-1]
    *names, end = named[-1]
    assert [end] == unnamed[-1]
    assert isinstance(end, SessionEnded)
    assert {(name.name, name.by) for name in names if isinstance(name, SpeakerNamed)} == {
        ("Anna", "voice"),
        ("Ben", "voice"),
    }
