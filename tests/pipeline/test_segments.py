"""A recording of several segments: heard in whatever order and however often, it is the same recording."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from pipeline import clustering, segments
from pipeline.conversation import Question
from pipeline.corrections import Telling
from pipeline.diarisation import Unit
from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead
from pipeline.hearing import DIARISING, READING, Ears, Listening, Memo, Progress, Segment, in_order
from pipeline.recording import QUESTION_LEAD, hear
from pipeline.segments import LEAD, TAIL, ears_here, units_by_track, units_of
from pipeline.session import Expected
from pipeline.sound import Sound
from pipeline.telling import TaggedWord
from pipeline.timeline import EMOTIONS, SAMPLE_RATE, Timeline
from tests.service import Pcm
from tests.talkers import HIGH, LOW, SOFT, Line, conversation, small_talk

SIZE = 4
SECONDS = 10  # of a segment here


class Ear:
    """A stand-in for the emotion model whose answer depends on what it hears."""

    def embed(self, fragments: Sequence[Pcm]) -> list[np.ndarray]:
        return [
            np.array([np.log1p(np.abs(f[k::SIZE].astype(float)).mean()) for k in range(SIZE)], np.float32)
            for f in fragments
        ]


class Counted:
    """Ears that are counted."""

    def __init__(self, diariser: LocalDiariser, at_once: int = 1) -> None:
        self.heard: list[int] = []  # first sample of each segment
        self.batches = 0
        self._here = ears_here(diariser, Ear())
        self._lock = threading.Lock()
        self.ears = Ears(self.units, self.embed, at_once)

    def units(self, segment: Segment) -> list[Unit]:
        with self._lock:
            self.heard.append(segment.start)
        return self._here.units(segment)

    def embed(self, fragments: Sequence[Pcm]) -> Sequence[np.ndarray]:
        with self._lock:
            self.batches += 1
        return self._here.embed(fragments)


class Stop(Exception):
    """Somebody does not want to hear it any more."""


def a_head() -> EmotionHead:
    alone, known = np.random.default_rng(1).standard_normal((2, SIZE + 1, len(EMOTIONS))).astype(np.float32)
    return EmotionHead("test", 0.3, alone, known, (1.0, 1.0))


def as_pcm(audio: Any) -> Pcm:
    return np.round(audio * 32_767).astype(np.int16)


@pytest.fixture(scope="module")
def diariser() -> LocalDiariser:
    return LocalDiariser()


@pytest.fixture(scope="module", autouse=True)
def short_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segments, "SEGMENT", SECONDS * SAMPLE_RATE)
        yield


@pytest.fixture(scope="module")
def pcm() -> Pcm:
    return as_pcm(conversation((LOW, HIGH), small_talk(talkers=2, seconds=42, seed=3), seed=3)[0])


SEGMENTS = 5  # of the conversation


def listened(pcm: Pcm, ears: Ears, how: Listening | None = None) -> Timeline:
    blocks = [pcm[..., start : start + 10_007] for start in range(0, pcm.shape[-1], 10_007)]
    with Sound(blocks) as sound:
        return hear(sound, ears, a_head(), how or Listening())


@pytest.fixture(scope="module")
def notes() -> Memo:
    """Of the conversation, once `timeline` was heard."""
    return Memo()


@pytest.fixture(scope="module")
def timeline(pcm: Pcm, diariser: LocalDiariser, notes: Memo) -> Timeline:
    return listened(pcm, Counted(diariser).ears, Listening(notes=notes))


def test_every_sample_belongs_to_one_segment(pcm: Pcm) -> None:
    asked: list[Segment] = []

    def note(segment: Segment) -> list[Unit]:
        asked.append(segment)
        return []

    with Sound([pcm]) as sound:
        units_by_track(sound, Ears(note, lambda fragments: []), Listening())
    edge = SECONDS * SAMPLE_RATE
    assert [(one.start, one.end) for one in asked] == [(n * edge, (n + 1) * edge) for n in range(len(asked))]
    assert asked[-1].start < len(pcm) <= asked[-1].end
    padded = np.concatenate([pcm, np.zeros(TAIL, np.int16)])
    for one in asked:
        assert one.begin == max(0, one.start - LEAD)
        assert np.array_equal(one.audio, padded[one.begin : one.begin + len(one.audio)])
        assert one.begin + len(one.audio) >= min(one.end + TAIL, len(padded))


@pytest.mark.parametrize("samples", [1, SECONDS * SAMPLE_RATE - 1, SECONDS * SAMPLE_RATE, SECONDS * SAMPLE_RATE + 1])
def test_a_recording_that_ends_at_a_seam_has_no_segment_too_many(samples: int) -> None:
    asked: list[Segment] = []
    with Sound([np.ones(samples, np.int16)]) as sound:
        units_by_track(sound, Ears(lambda one: asked.append(one) or [], lambda _: []), Listening())  # type: ignore[func-returns-value]
    assert len(asked) == 1 + (samples > SECONDS * SAMPLE_RATE)


def test_units_at_seams_are_neither_lost_nor_doubled(pcm: Pcm, diariser: LocalDiariser) -> None:
    whole = Segment(np.concatenate([pcm, np.zeros(TAIL, np.int16)]), 0, 0, len(pcm))
    undivided = units_of(diariser, whole)
    with Sound([pcm]) as sound:
        (units,) = units_by_track(sound, ears_here(diariser, Ear()), Listening())
    assert all(one.end <= other.start for one, other in itertools.pairwise(units)), "something is heard twice"

    def speech(of: Sequence[Unit]) -> np.ndarray:
        heard = np.zeros(len(pcm) + TAIL, bool)
        for unit in of:
            heard[unit.start : unit.end] = True
        return heard

    differs = speech(units) != speech(undivided)
    seams = range(SECONDS * SAMPLE_RATE, len(pcm), SECONDS * SAMPLE_RATE)
    spoken = [seam for seam in seams if speech(undivided)[seam - 1_600 : seam + 1_600].all()]
    assert spoken, "nobody talks across a seam here"
    assert differs.sum() <= 0.2 * SAMPLE_RATE * len(seams)
    for seam in spoken:
        assert speech(units)[seam - 1_600 : seam + 1_600].all(), f"a hole at {seam / SAMPLE_RATE} s"


def test_a_turn_goes_on_across_a_seam(timeline: Timeline) -> None:
    across = [
        turn
        for turn in timeline.turns.values()
        for seam in range(SECONDS, 42, SECONDS)
        if turn.start < seam - 0.2 and turn.end > seam + 0.2
    ]
    assert across
    assert len(timeline.speakers) == 2


@pytest.mark.parametrize("at_once", [3])
def test_hearing_several_segments_at_once_makes_no_difference(
    pcm: Pcm, diariser: LocalDiariser, timeline: Timeline, at_once: int
) -> None:
    assert listened(pcm, Counted(diariser, at_once).ears) == timeline


@pytest.mark.parametrize(("step", "at_once"), [(DIARISING, 1), (DIARISING, 3), (READING, 2)])
def test_whoever_takes_over_hears_the_rest_and_the_same(
    pcm: Pcm, diariser: LocalDiariser, timeline: Timeline, at_once: int, step: str
) -> None:
    notes = Memo()

    def die(progress: Progress) -> None:
        if progress.step == step and progress.done > 15:
            raise Stop

    first = Counted(diariser, at_once)
    with pytest.raises(Stop):
        listened(pcm, first.ears, Listening(notes=notes, on_progress=die))
    noted = dict(notes.noted)
    second = Counted(diariser, at_once)
    assert listened(pcm, second.ears, Listening(notes=notes)) == timeline
    assert not set(first.heard) & set(second.heard), "what was noted is heard again"
    assert noted.items() <= notes.noted.items()
    assert len(first.heard) + len(second.heard) == SEGMENTS
    if step == READING:
        assert second.heard == []
        assert first.batches > 0
    assert first.batches + second.batches == sum(key.startswith("embeddings-") for key in notes.noted)
    third = Counted(diariser)
    assert listened(pcm, third.ears, Listening(notes=notes)) == timeline
    assert (third.heard, third.batches) == ([], 0)


@pytest.mark.parametrize("at_once", [1, 2])
def test_who_cancels_waits_for_what_is_under_way_and_no_more(pcm: Pcm, at_once: int) -> None:
    """What was under way used to go on, and to be noted, after the cancellation had been told."""
    heard: list[int] = []
    under_way: set[int] = set()
    slow = threading.Event()

    def hear_slowly(segment: Segment) -> list[Unit]:
        under_way.add(segment.start)
        slow.wait(0.2)
        heard.append(segment.start)
        under_way.discard(segment.start)
        return []

    def stop(progress: Progress) -> None:
        raise Stop

    notes = Memo()
    error: Stop | None = None
    with Sound([pcm]) as sound:
        try:
            units_by_track(sound, Ears(hear_slowly, lambda _: [], at_once), Listening(notes=notes, on_progress=stop))
        except Stop as stopped:
            error = stopped
            assert not under_way
            noted = len(notes.noted)
    assert error
    assert len(heard) == noted == len(notes.noted) <= 1 + at_once


def test_an_ear_that_fails_ends_the_hearing(pcm: Pcm) -> None:
    def fail(segment: Segment) -> list[Unit]:
        if segment.start:
            raise ConnectionError("the diariser died")
        return []

    notes = Memo()
    with Sound([pcm]) as sound, pytest.raises(ConnectionError, match="the diariser died"):
        units_by_track(sound, Ears(fail, lambda _: [], 2), Listening(notes=notes))
    assert list(notes.noted) == ["units-0-0"]


def test_work_is_taken_no_faster_than_it_is_done() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    done = []
    for answer in in_order(lambda number: number * number, items(), at_once=2):
        done.append(answer)
        assert len(taken) <= len(done) + 3
    assert done == [number * number for number in range(10)]


def test_progress_grows_and_ends_at_the_recordings_length(
    pcm: Pcm, diariser: LocalDiariser, timeline: Timeline, notes: Memo
) -> None:
    for claimed in (0.0, len(pcm) / SAMPLE_RATE, 500.0, 20.0):
        told: list[Progress] = []
        listened(pcm, ears_here(diariser, Ear(), 2), Listening(notes=notes, on_progress=told.append, claimed=claimed))
        shares = [progress.share for progress in told]
        assert shares[-1] == 1
        assert all(0 <= share <= 1 for share in shares)
        assert max(progress.done for progress in told) == pytest.approx(len(pcm) / SAMPLE_RATE, abs=1e-3)
        if claimed >= len(pcm) / SAMPLE_RATE:
            assert shares == sorted(shares)


def test_each_channel_may_be_a_speaker(diariser: LocalDiariser) -> None:
    """A call, recorded with a channel for each of three: who talks is known, and they may talk at once."""
    lines = [Line(0, 3.0, gap) for gap in (0.5, 3.5)]
    voices = [as_pcm(conversation((talker,), lines, seed=8 + n)[0]) for n, talker in enumerate((HIGH, LOW, SOFT))]
    shift = 2 * SAMPLE_RATE
    length = max(len(voice) for voice in voices) + 3 * shift
    tracks = np.zeros((3, length), np.int16)
    for number, voice in enumerate(voices):
        tracks[number, number * shift : number * shift + len(voice)] = voice
    told: list[Progress] = []
    timeline = listened(tracks, Counted(diariser, 3).ears, Listening(channels=True, on_progress=told.append))
    diarising = [progress.done for progress in told if progress.step == DIARISING]
    assert len(diarising) == 2 * 3, "after each channel of a segment, for whoever cancels waits for it"
    assert diarising == sorted(diarising)
    assert timeline.speakers == [1, 2, 3]
    assert [turn.id for turn in timeline.turns.values()] == list(range(0, 2 * len(timeline.turns), 2))
    starts = [turn.start for turn in timeline.turns.values()]
    assert starts == sorted(starts)
    for number in range(3):
        of_channel = [turn.start for turn in timeline.turns_of(number + 1)]
        said = [0.5 + number * 2 + 6.5 * n for n in range(2)]
        assert of_channel == pytest.approx(said, abs=0.35)
    read = {timeline.speaker_of(reading) for reading in timeline.readings}
    assert read == {1, 2, 3}


def test_another_diariser_is_asked_chunk_by_chunk_and_its_words_are_kept(
    pcm: Pcm, diariser: LocalDiariser, timeline: Timeline, notes: Memo
) -> None:
    """It says that it is one voice only, with a word a second; each word comes once, though chunks are heard with a
    lead."""
    asked: list[Question] = []

    def consult(question: Question) -> Telling:
        asked.append(question)
        begin = question.start / SAMPLE_RATE
        words = tuple(
            TaggedWord(start=second, end=second + 0.4, text=f"w{second:.0f}", tag="1")
            for second in np.arange(np.ceil(begin), question.until - 0.5).tolist()
        )
        return Telling(since=question.since, until=question.until, words=words)

    heard = listened(pcm, Counted(diariser).ears, Listening(notes=notes, consult=consult))
    seconds = len(pcm) / SAMPLE_RATE
    assert [(one.since, one.until) for one in asked] == [(0, 30), (30, pytest.approx(seconds))]
    assert [one.start / SAMPLE_RATE for one in asked] == [0, 30 - QUESTION_LEAD]
    for one in asked:
        assert np.array_equal(one.audio, pcm[one.start : round(one.until * SAMPLE_RATE)])
    assert [word.text for word in heard.words] == [f"w{second}" for second in range(int(seconds - 0.5) + 1)]
    assert heard.heard_until == timeline.heard_until


@pytest.mark.parametrize("most", [10, 25])
def test_the_memory_of_a_long_recording_finds_the_same_speakers(
    pcm: Pcm, diariser: LocalDiariser, timeline: Timeline, notes: Memo, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A recording with more voiceprints than go into one tree."""
    clustered: list[int] = []
    many = clustering._voices_of_many

    def voices_of_many(prints: Any, *args: Any) -> Any:
        clustered.append(len(prints))
        return many(prints, *args)

    monkeypatch.setattr(clustering, "_voices_of_many", voices_of_many)
    monkeypatch.setattr(clustering, "MOST", most)
    part = listened(pcm, Counted(diariser).ears, Listening(notes=notes))
    assert max(clustered) > most
    assert part.speakers == timeline.speakers
    pairs = ((turn, other) for turn in part.turns.values() for other in timeline.turns_of(turn.speaker))
    shared = sum(turn.overlap(other.start, other.end) for turn, other in pairs)
    assert shared > 0.97 * sum(turn.duration for turn in timeline.turns.values())
    alone = Listening(notes=notes, expected=Expected(1, 1))
    assert listened(pcm, Counted(diariser).ears, alone).speakers == [1]
