"""The state machine between samples and events, with the real models, on talkers that the project makes itself."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from pipeline.conversation import Conversation, Hop
from pipeline.diarisation import DiariserState, Observation, Unit
from pipeline.diarisation.local import LocalDiariser
from pipeline.events import Event, SpeakersMerged, TurnRevised, TurnUpdated
from pipeline.fragments import LONGEST, Impression
from pipeline.timeline import SAMPLE_RATE, Timeline, Turn
from pipeline.voiceprint import SIZE
from tests.service import Pcm, silence
from tests.talkers import Said

Talk = tuple[Pcm, list[Said]]


@pytest.fixture(scope="module")
def diariser() -> LocalDiariser:
    return LocalDiariser()


def impression(audio: Pcm) -> Impression:
    """A stand-in for the model whose answer depends on every sample that it hears."""
    loudness = float(np.abs(audio.astype(np.int64)).sum() % 1_000) / 1_000
    return Impression((loudness, 1 - loudness, 0, 0, 0, 0, 0, 0), "calm", 0.0, 0.0, "test")


def hear(pcm: Pcm, diariser: LocalDiariser, frame: int = 4_000, packed_every: int = 0) -> list[Event]:
    conversation, events = Conversation(), list[Event]()

    def attend(hop: Hop) -> None:
        (observation,) = diariser.observe([conversation.stretch(hop)])
        fragments = conversation.align(observation)
        heard = [conversation.audio(fragment) for fragment in fragments]
        for fragment, audio in zip(fragments, heard, strict=True):
            assert len(audio) == round((fragment.end - fragment.heard_from) * SAMPLE_RATE) <= LONGEST * SAMPLE_RATE
        events.extend(conversation.conclude(hop, fragments, [impression(audio) for audio in heard]))

    for number, start in enumerate(range(0, len(pcm), frame), start=1):
        for hop in conversation.hear(pcm[start : start + frame], float(start)):
            attend(hop)
        if packed_every and number % packed_every == 0:
            conversation = Conversation.unpack(conversation.pack())
    attend(conversation.finish())
    return events + conversation.end()


def timeline_of(events: list[Event]) -> Timeline:
    timeline = Timeline()
    for event in events:
        event.apply(timeline)
    return timeline


def without_arrival(events: list[Event]) -> list[Event]:
    return [event.model_copy(update={"arrived_at": None}) for event in events]


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


def test_turns_do_not_overlap_and_readings_stay_in_theirs(events: list[Event]) -> None:
    timeline = timeline_of(events)
    turns = sorted(timeline.turns.values(), key=lambda turn: turn.start)
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


def test_what_takes_the_place_of_a_corrected_turn_comes_with_the_correction() -> None:
    """Were it told apart, the readings of the old turn would be lost in between."""
    conversation = Conversation()
    conversation._published = {0: Turn(id=0, speaker=1, start=0, end=4)}
    conversation._timeline.put(conversation._published[0])
    shrunk, new = Turn(id=0, speaker=1, start=0, end=2), Turn(id=5, speaker=2, start=2, end=4)
    conversation._revise([shrunk, new, later := Turn(id=9, speaker=1, start=5, end=6)])
    assert conversation._news == [TurnRevised(turns=(shrunk, new)), TurnUpdated(turn=later)]


def test_speakers_that_turn_out_to_be_one_are_told(diariser: LocalDiariser) -> None:
    conversation = Conversation()
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


def test_memory_stays_small_in_a_long_conversation(small_conversation: Talk, diariser: LocalDiariser) -> None:
    pcm, conversation, sizes = np.tile(small_conversation[0], 9), Conversation(), []
    for start in range(0, len(pcm), 8_000):
        for hop in conversation.hear(pcm[start : start + 8_000], 0.0):
            (observation,) = diariser.observe([conversation.stretch(hop)])
            fragments = conversation.align(observation)
            conversation.conclude(hop, fragments, [impression(conversation.audio(f)) for f in fragments])
        sizes.append(len(conversation.pack()))
    half = len(sizes) // 2
    assert max(sizes[half:]) < 1.1 * max(sizes[:half])


def test_a_snapshot_of_another_format_is_refused() -> None:
    from pipeline import snapshot

    with pytest.raises(ValueError, match="format 99"):
        Conversation.unpack(snapshot.pack({"format": 99}))
