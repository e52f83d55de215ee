"""The state machine between samples and events, with the real models, on talkers that the project makes itself."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.alignment import ACTIVE_SECONDS
from pipeline.baseline import SpeakerBaseline
from pipeline.conversation import HOP, Conversation, Hop
from pipeline.diarisation import DiariserState, Observation, Stretch, Unit
from pipeline.diarisation.local import REACH_SECONDS, LocalDiariser
from pipeline.emotion import EmotionHead
from pipeline.events import EmotionRead, Event, SpeakersMerged
from pipeline.fragments import LONGEST
from pipeline.speech import SpeechState
from pipeline.timeline import EMOTIONS, SAMPLE_RATE, EmotionReading, Timeline, Turn
from pipeline.turns import LONGEST_TURN
from pipeline.voiceprint import SIZE
from tests.service import Pcm, silence
from tests.talkers import Said

Talk = tuple[Pcm, list[Said]]

NUMBERS = 4  # in an embedding


@pytest.fixture(scope="module")
def diariser() -> LocalDiariser:
    return LocalDiariser()


def a_head() -> EmotionHead:
    alone, known = np.random.default_rng(1).standard_normal((2, NUMBERS + 1, len(EMOTIONS))).astype(np.float32)
    return EmotionHead("test", 0.3, alone, known, (1.0, 1.0))


def embedded(audio: Pcm) -> np.ndarray:
    """A stand-in for the model whose answer depends on every sample that it hears."""
    sums = [np.abs(audio[number::NUMBERS].astype(np.int64)).sum() % 1_000 for number in range(NUMBERS)]
    return np.array(sums, np.float32) / 500 - 1


def hear(pcm: Pcm, diariser: LocalDiariser, frame: int = 4_000, packed_every: int = 0) -> list[Event]:
    conversation, events = Conversation(a_head()), list[Event]()

    def attend(hop: Hop) -> None:
        (observation,) = diariser.observe([conversation.stretch(hop)])
        fragments = conversation.align(observation)
        heard = [conversation.audio(fragment) for fragment in fragments]
        for fragment, audio in zip(fragments, heard, strict=True):
            assert len(audio) == round((fragment.end - fragment.heard_from) * SAMPLE_RATE) <= LONGEST * SAMPLE_RATE
        events.extend(conversation.conclude(hop, fragments, [embedded(audio) for audio in heard]))

    for number, start in enumerate(range(0, len(pcm), frame), start=1):
        for hop in conversation.hear(pcm[start : start + frame], float(start)):
            attend(hop)
        if packed_every and number % packed_every == 0:
            conversation = Conversation.unpack(conversation.pack(), a_head())
    attend(conversation.finish())
    return events + conversation.end()


def timeline_of(events: list[Event]) -> Timeline:
    timeline = Timeline()
    for event in events:
        event.apply(timeline)
    return timeline


def without_arrival(events: list[Event]) -> list[Event]:
    return [event.model_copy(update={"arrived_at": None}) for event in events]


def without_stamp(events: Sequence[Event]) -> list[Event]:
    return [event.model_copy(update={"heard_until": 0.0, "arrived_at": None}) for event in events]


class Line(NamedTuple):
    """Somebody speaks, in whole hops."""

    voice: int
    start: float
    end: float


ALTERNATING = (Line(0, 0, 4), Line(5, 5, 9), Line(0, 10, 13), Line(5, 14, 20), Line(0, 21, 24))


class Scene:
    """A conversation whose diariser has heard what the lines say; every hop sounds otherwise."""

    def __init__(self, packed_every: int = 0) -> None:
        self.conversation = Conversation(a_head())
        self.events: list[Event] = []
        self.embeddings: dict[float, np.ndarray] = {}  # by the start of the reading
        self.kept: list[int] = []  # embeddings, after each hop
        self._rng = np.random.default_rng(0)
        self._packed_every = packed_every

    def play(self, lines: Sequence[Line], until: float) -> Scene:
        """Go on up to `until` seconds."""
        while self.conversation.samples < until * SAMPLE_RATE:
            pcm = self._rng.integers(-9_000, 9_000, HOP, np.int16)
            for hop in self.conversation.hear(pcm, 0.0):
                self._attend(hop, lines)
                if self._packed_every and hop.number % self._packed_every == 0:
                    self.conversation = Conversation.unpack(self.conversation.pack(), a_head())
        return self

    def end(self, lines: Sequence[Line] = ()) -> Scene:
        self._attend(self.conversation.finish(), lines)
        self.events += self.conversation.end()
        return self

    def readings(self, turn: int | None = None) -> list[EmotionReading]:
        """As they were told."""
        told = [event.reading for event in self.events if isinstance(event, EmotionRead)]
        return [reading for reading in told if turn in (None, reading.turn)]

    def _attend(self, hop: Hop, lines: Sequence[Line]) -> None:
        start = hop.until - HOP / SAMPLE_RATE
        units = [unit_of(line, start) for line in lines if line.start <= start < line.end]
        state = DiariserState(replace(SpeechState.fresh(), position=hop.end), hop.end)
        fragments = self.conversation.align(Observation([], units, state))
        embeddings = [embedded(self.conversation.audio(fragment)) for fragment in fragments]
        self.embeddings |= {f.start: embedding for f, embedding in zip(fragments, embeddings, strict=True)}
        self.events += self.conversation.conclude(hop, fragments, embeddings)
        self.kept.append(len(self.conversation._baselines._embeddings))


def unit_of(line: Line, start: float) -> Unit:
    first = round(start * SAMPLE_RATE)
    voiceprint = np.eye(1, SIZE, line.voice, dtype=np.float16)[0]
    return Unit(first, first + HOP, max(round(line.start * SAMPLE_RATE), first - 2 * HOP), voiceprint)


def with_earlier(events: Sequence[Event]) -> Iterator[tuple[EmotionReading, list[EmotionReading]]]:
    """Each reading, and those that its speaker had in other turns by the time that it was told."""
    timeline = Timeline()
    for event in events:
        if isinstance(event, EmotionRead):
            speaker = timeline.turns[event.reading.turn].speaker
            yield (
                event.reading,
                [reading for reading in timeline.readings_of(speaker) if reading.turn != event.reading.turn],
            )
        event.apply(timeline)


def assert_set_against_what_came_before(events: Sequence[Event]) -> None:
    told = list(with_earlier(events))
    assert told
    for reading, earlier in told:
        assert reading.mode == ("causal" if earlier else "none")
        assert reading.baseline == pytest.approx(sum(before.duration for before in earlier), abs=2e-3)


@pytest.fixture(scope="module")
def events(small_conversation: Talk, diariser: LocalDiariser) -> list[Event]:
    return hear(small_conversation[0], diariser)


@pytest.mark.parametrize("frame", [1_600, 8_000, 12_345])
def test_the_cut_into_frames_changes_nothing(
    small_conversation: Talk, diariser: LocalDiariser, events: list[Event], frame: int
) -> None:
    assert without_arrival(hear(small_conversation[0], diariser, frame)) == without_arrival(events)


def test_packing_changes_nothing(small_conversation: Talk, diariser: LocalDiariser, events: list[Event]) -> None:
    assert hear(small_conversation[0], diariser, packed_every=3) == events


def test_hops_heard_together_are_heard_with_all_that_a_single_one_is() -> None:
    conversation = Conversation(a_head())
    reach = round(REACH_SECONDS * SAMPLE_RATE)
    for number in range(20):
        for hop in conversation.hear(np.zeros(HOP, np.int16), 0.0, cadence=4 if number > 10 else 1):
            stretch, heard = conversation.stretch(hop), conversation._diariser.speech.position
            assert stretch.start == max(0, heard - reach)
            state = DiariserState(replace(SpeechState.fresh(), position=hop.end), hop.end)
            conversation.conclude(hop, conversation.align(Observation([], [], state)), [])
    assert heard == 16 * HOP


def test_of_hops_heard_together_two_units_share_a_voiceprint(small_conversation: Talk, diariser: LocalDiariser) -> None:
    pcm, _ = small_conversation

    def units(hops: int) -> list[Unit]:
        (observation,) = diariser.observe([Stretch(pcm[: 8 * HOP], 0, DiariserState(), hops)])
        return [unit for unit in observation.units if unit.voiceprint is not None]

    def alike(one: Unit, other: Unit) -> bool:
        return np.array_equal(one.voiceprint, other.voiceprint)  # type: ignore[arg-type]

    alone, together = units(1), units(4)
    assert [(unit.start, unit.end, unit.window) for unit in together] == [(u.start, u.end, u.window) for u in alone]
    assert not any(itertools.starmap(alike, itertools.pairwise(alone)))
    shared = list(itertools.starmap(alike, itertools.pairwise(together)))
    assert sum(shared) == pytest.approx(len(together) / 2, abs=1)
    assert not any(one and other for one, other in itertools.pairwise(shared)), "no more than two"
    assert all(alike(one, other) for one, other in list(zip(alone, together, strict=True))[-1:])


def test_hops_come_in_order_and_last_in_their_hop(events: list[Event]) -> None:
    hops = [event.heard_until for event in events if event.type == "hop.heard"]
    assert hops == sorted(hops)
    assert [event.heard_until for event in events] == sorted(event.heard_until for event in events)
    assert events[-1].type == "session.ended"
    assert Counter(event.type for event in events)["session.ended"] == 1


def test_the_end_leaves_nothing_provisional(events: list[Event], small_conversation: Talk) -> None:
    timeline = timeline_of(events)
    assert timeline.ended
    assert timeline.heard_until == pytest.approx(len(small_conversation[0]) / SAMPLE_RATE, abs=1e-3)
    assert timeline.turns
    assert all(turn.final for turn in timeline.turns.values())


def test_turns_do_not_overlap_but_for_second_voices_and_readings_stay_in_theirs(events: list[Event]) -> None:
    timeline = timeline_of(events)
    first_voices = (turn for turn in timeline.turns.values() if not turn.second_voice)
    turns = sorted(first_voices, key=lambda turn: turn.start)
    assert all(turn.end <= following.start for turn, following in itertools.pairwise(turns))
    for reading in timeline.readings:
        turn = timeline.turns[reading.turn]
        assert turn.overlap(reading.start, reading.end) > 0
    assert [reading.start for reading in timeline.readings] == sorted(reading.start for reading in timeline.readings)


@pytest.mark.parametrize(("seconds", "chunks"), [(0, []), (29.8, [0]), (30.0, [0]), (30.2, [0, 1]), (60.0, [0, 1])])
def test_chunks_are_those_that_were_recorded(diariser: LocalDiariser, seconds: float, chunks: list[int]) -> None:
    """The silence that fills up the last hop used to open a chunk of its own."""
    events = hear(silence(seconds), diariser)
    assert [event.number for event in events if event.type == "chunk.closed"] == chunks
    assert max(event.heard_until for event in events) == pytest.approx(seconds)


def test_no_turn_is_longer_than_the_recording(small_conversation: Talk, diariser: LocalDiariser) -> None:
    pcm, said = small_conversation
    cut = round((said[0].end - 0.2) * SAMPLE_RATE)
    turns = timeline_of(hear(pcm[:cut], diariser)).turns.values()
    assert turns
    assert max(turn.end for turn in turns) <= cut / SAMPLE_RATE


def test_speakers_that_turn_out_to_be_one_are_told(diariser: LocalDiariser) -> None:
    conversation = Conversation(a_head())
    voice = np.eye(1, SIZE, dtype=np.float32)[0]
    conversation._memory.anchors = {1: voice * 9, 2: voice * 8}
    conversation._timeline.put(Turn(id=0, speaker=2, start=0, end=1, final=True))
    unit = Unit(16_000, 24_000, 16_000, voice.astype(np.float16))
    conversation.align(Observation([], [unit], DiariserState()))
    assert conversation._news[0] == SpeakersMerged(kept=1, merged=2)
    assert conversation._timeline.turns[0].speaker == 1
    stranger = Unit(32_000, 64_000, 32_000, np.eye(1, SIZE, 5, dtype=np.float16)[0])
    conversation._memory.learn([stranger])
    assert {heard.speaker for heard in conversation._memory.heard} == {1, 3}, "a number changed hands"


def test_silence_gives_hops_and_nothing_else(diariser: LocalDiariser) -> None:
    told = Counter(event.type for event in hear(silence(61), diariser, frame=16_000))
    assert told == {"hop.heard": 123, "chunk.closed": 3, "session.ended": 1}


@pytest.mark.slow
def test_memory_stays_small_in_a_long_conversation(small_conversation: Talk, diariser: LocalDiariser) -> None:
    pcm, conversation, sizes = np.tile(small_conversation[0], 18), Conversation(a_head()), []
    for start in range(0, len(pcm), 8_000):
        for hop in conversation.hear(pcm[start : start + 8_000], 0.0):
            (observation,) = diariser.observe([conversation.stretch(hop)])
            fragments = conversation.align(observation)
            conversation.conclude(hop, fragments, [embedded(conversation.audio(f)) for f in fragments])
        if start % 80_000 == 0:
            sizes.append(len(conversation.pack()))
    half = len(sizes) // 2
    assert max(sizes[half:]) < 1.1 * max(sizes[:half])


def test_a_snapshot_of_another_format_is_refused() -> None:
    from pipeline import snapshot

    with pytest.raises(ValueError, match="format 99"):
        Conversation.unpack(snapshot.pack({"format": 99}), a_head())


def test_a_reading_is_set_against_what_its_speaker_said_before(events: list[Event]) -> None:
    assert_set_against_what_came_before(events)
    assert {event.reading.mode for event in events if isinstance(event, EmotionRead)} == {"none", "causal"}


def test_a_first_turn_is_read_alone_and_later_ones_against_those_before() -> None:
    scene = Scene().play([Line(0, 0, 4), Line(0, 5, 7), Line(0, 8, 9)], 10).end()
    against = {(reading.turn, reading.mode, reading.baseline) for reading in scene.readings()}
    assert against == {(0, "none", 0), (16, "causal", 4), (24, "causal", 6)}


def test_a_turn_is_set_against_the_embeddings_of_those_before_it() -> None:
    scene = Scene().play([Line(0, 0, 4), Line(0, 5, 7)], 8).end()
    earlier = np.stack([scene.embeddings[reading.start] for reading in scene.readings(turn=0)])
    baseline = SpeakerBaseline.of(earlier, np.full(8, 0.5))
    for reading in scene.readings(turn=8):
        expected = a_head().probabilities(scene.embeddings[reading.start], baseline)
        assert reading.probabilities == pytest.approx(expected.tolist(), abs=2e-4)


def test_two_speakers_do_not_share_a_baseline() -> None:
    scene = Scene().play(ALTERNATING, 25).end()
    assert_set_against_what_came_before(scene.events)
    # A new voice is believed after a second; what was read of it until then was taken for the other speaker's.
    later = {(reading.turn, reading.mode) for reading in scene.readings() if 6 <= reading.start < 9}
    assert later == {(16, "none")}
    assert {reading.baseline for reading in scene.readings() if reading.start >= 21} == {7}


@pytest.mark.parametrize("packed_every", [1, 7])
def test_readings_do_not_depend_on_packing(packed_every: int) -> None:
    lines = [*ALTERNATING, Line(0, 100, 104), Line(5, 105, 109)]
    assert Scene(packed_every).play(lines, 130).end().events == Scene().play(lines, 130).end().events


def test_what_was_said_long_ago_still_counts() -> None:
    """Turns become final, their readings are forgotten, and how their speaker sounded in them is not."""
    lines = [Line(0, 0, 20), Line(5, 25, 31), Line(0, 40, 42), Line(0, 200, 202)]
    scene = Scene().play(lines, 205).end()
    assert_set_against_what_came_before(scene.events)
    last = [reading for reading in scene.readings() if reading.start >= 200]
    assert {(reading.mode, reading.baseline) for reading in last} == {("causal", 22)}
    before = [start for start in scene.embeddings if start < 20 or 40 <= start < 42]
    baseline = SpeakerBaseline.of(np.stack([scene.embeddings[start] for start in before]), np.full(len(before), 0.5))
    for reading in last:
        expected = a_head().probabilities(scene.embeddings[reading.start], baseline)
        assert reading.probabilities == pytest.approx(expected.tolist(), abs=2e-4)


def test_speakers_that_turn_out_to_be_one_share_a_baseline() -> None:
    scene = Scene().play([Line(0, 0, 4), Line(5, 5, 9)], ACTIVE_SECONDS + 15)
    conversation = scene.conversation
    known = {speaker: baseline.seconds for speaker, baseline in conversation._baselines._final.items()}
    assert known.keys() == {1, 2}
    conversation._memory.anchors[2] = conversation._memory.anchors[1].copy()
    scene.play([Line(0, 200, 202)], 205).end()
    assert SpeakersMerged(kept=1, merged=2) in without_stamp(scene.events)
    assert_set_against_what_came_before(scene.events)
    assert conversation._baselines._final.keys() == {1}
    assert {reading.baseline for reading in scene.readings() if reading.start >= 200} == {sum(known.values())} == {8}


def test_no_more_embeddings_are_kept_than_may_still_change() -> None:
    lines = [Line(5 * (number % 2), 20 * number, 20 * number + 19) for number in range(15)]
    scene = Scene().play([*lines, Line(0, 300, 400)], 400)
    most = (ACTIVE_SECONDS + LONGEST_TURN / SAMPLE_RATE) * SAMPLE_RATE / HOP + 1
    assert max(scene.kept) <= most
    assert max(scene.kept[500:]) <= max(scene.kept[:500]) + LONGEST_TURN / HOP
    assert scene.end().conversation._baselines._embeddings == {}
    assert_set_against_what_came_before(scene.events)
