"""The state machine between samples and events, with the real models, on talkers that the project makes itself."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from pipeline.conversation import Conversation, Hop
from pipeline.diarisation.local import LocalDiariser
from pipeline.events import Event
from pipeline.fragments import LONGEST, Impression
from pipeline.timeline import SAMPLE_RATE, Timeline
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
