"""SpeakerMemory: exact small cases with made-up voices, and a conversation of two synthetic talkers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from pipeline import alignment, snapshot
from pipeline.alignment import SpeakerMemory
from pipeline.clustering import NEWCOMER_SECONDS, voices
from pipeline.diarisation import DiariserState, Stretch, Unit
from pipeline.diarisation.local import REACH_SECONDS, LocalDiariser
from pipeline.diarisation.tags import TaggedWord
from pipeline.timeline import SAMPLE_RATE, Turn
from pipeline.turns import LONGEST_TURN, TURN_PAUSE
from pipeline.voiceprint import SIZE
from tests.talkers import HIGH, LOW, conversation, small_talk

HALF = SAMPLE_RATE // 2


def voice(*weights: float) -> np.ndarray:
    """A voiceprint with these first numbers, at unit length: voices on different axes are far apart."""
    vector = np.zeros(SIZE)
    vector[: len(weights)] = weights
    return (vector / np.linalg.norm(vector)).astype(np.float16)


ANNA, BEN, CLEO = voice(1), voice(0, 1), voice(0, 0, 1)


def speech(start: float, *voiceprints: np.ndarray | None) -> list[Unit]:
    """Units of half a second one after another from `start` s on, each with a window of its own."""
    first = round(start * SAMPLE_RATE)
    return [
        Unit(first + i * HALF, first + (i + 1) * HALF, first + i * HALF, voiceprint)
        for i, voiceprint in enumerate(voiceprints)
    ]


def told(memory: SpeakerMemory) -> list[tuple[int, float, float]]:
    return [(turn.speaker, turn.start, turn.end) for turn in memory.turns()]


def retire_all(memory: SpeakerMemory) -> list[Turn]:
    turns = memory.turns()
    for turn, following in itertools.zip_longest(turns, turns[1:]):
        memory.retire(turn, following)
    return turns


def test_silence_is_nobody() -> None:
    memory = SpeakerMemory()
    assert memory.learn([]) == []
    assert memory.turns() == []


def test_the_first_sound_is_somebody() -> None:
    memory = SpeakerMemory()
    memory.learn(speech(1, ANNA))
    assert told(memory) == [(1, 1.0, 1.5)]


def test_a_sound_too_short_to_tell_waits_for_a_voice_and_joins_the_nearest() -> None:
    memory = SpeakerMemory()
    memory.learn(speech(0, None))
    assert memory.turns() == []
    memory.learn(speech(0.5, ANNA, ANNA, ANNA, ANNA))
    memory.learn(speech(4, BEN, BEN, BEN, BEN))
    memory.learn(speech(6, None))
    assert told(memory) == [(1, 0.0, 2.5), (2, 4.0, 6.5)]


def test_a_distinct_voice_is_a_speaker_after_a_second() -> None:
    memory = SpeakerMemory()
    memory.learn(speech(0, *[ANNA] * 6))
    memory.learn(speech(4, BEN))
    assert told(memory) == [(1, 0.0, 3.0), (1, 4.0, 4.5)]
    memory.learn(speech(4.5, BEN))
    assert told(memory) == [(1, 0.0, 3.0), (2, 4.0, 5.0)], "what was Anna's is revised"


def test_a_voice_that_might_be_someone_known_takes_longer() -> None:
    memory = SpeakerMemory()
    numbers = itertools.count(8)

    def unlike_itself(*weights: float) -> np.ndarray:
        """The voice with something of its own each time: a group of them is more alike than any two."""
        vector = np.zeros(SIZE)
        vector[: len(weights)] = np.array(weights) / np.linalg.norm(weights)
        vector[next(numbers)] = 0.8
        return (vector / np.linalg.norm(vector)).astype(np.float16)

    memory.learn(speech(0, *(unlike_itself(1) for _ in range(12))))
    for i in range(round(NEWCOMER_SECONDS * 2)):
        assert {speaker for speaker, _, _ in told(memory)} == {1}
        memory.learn(speech(8 + i / 2, unlike_itself(0.4, 1)))
    memory.learn(speech(9.5, *(unlike_itself(0.4, 1) for _ in range(3))))
    assert told(memory) == [(1, 0.0, 6.0), (2, 8.0, 11.0)]


def test_one_odd_sound_does_not_make_a_speaker() -> None:
    memory = SpeakerMemory()
    memory.learn(speech(0, ANNA, ANNA, BEN, ANNA, ANNA))
    assert told(memory) == [(1, 0.0, 2.5)]


def test_names_stay_put_whoever_speaks_next() -> None:
    memory = SpeakerMemory()
    start = 0.0
    for speaker in (ANNA, BEN, CLEO, BEN, ANNA, CLEO, ANNA):
        for _ in range(5):
            memory.learn(speech(start, speaker))
            start += 0.5
        start += 1
    assert [speaker for speaker, _, _ in told(memory)] == [1, 2, 3, 2, 1, 3, 1]


def test_a_turn_keeps_its_id_while_it_grows() -> None:
    memory = SpeakerMemory()
    ids = []
    for i in range(4):
        memory.learn(speech(i / 2, ANNA))
        ids.append(memory.turns()[0].id)
    assert ids == [0, 0, 0, 0]


@pytest.mark.parametrize(("pause", "turns"), [(TURN_PAUSE, 1), (TURN_PAUSE + 1, 2)])
def test_a_longer_pause_ends_a_turn(pause: int, turns: int) -> None:
    memory = SpeakerMemory()
    memory.learn([Unit(0, HALF, 0, ANNA), Unit(HALF + pause, 2 * HALF + pause, HALF + pause, ANNA)])
    assert len(memory.turns()) == turns


def test_a_monologue_is_cut() -> None:
    memory = SpeakerMemory()
    memory.learn(speech(0, *[ANNA] * 70))
    assert told(memory) == [(1, 0.0, LONGEST_TURN / SAMPLE_RATE), (1, 30.0, 35.0)]


def test_the_retired_are_remembered() -> None:
    memory = SpeakerMemory()
    memory.learn(speech(0, *[ANNA] * 6))
    memory.learn(speech(4, *[BEN] * 6))
    assert [turn.speaker for turn in retire_all(memory)] == [1, 2]
    assert memory.heard == []
    assert np.linalg.norm(memory.anchors[2]) == pytest.approx(3, abs=1e-2), "three seconds of one voice"
    memory.learn(speech(100, BEN))
    assert told(memory) == [(2, 100.0, 100.5)], "at once, as he is no newcomer"


def test_only_the_turn_that_is_final_is_retired() -> None:
    memory = SpeakerMemory()
    memory.learn(speech(0, *[ANNA] * 6))
    memory.learn(speech(4, *[BEN] * 6))
    first, second = memory.turns()
    memory.retire(first, second)
    assert memory.turns() == [second]
    assert set(memory.anchors) == {1}


def test_two_known_speakers_turn_out_to_be_one() -> None:
    almost = voice(1, 0.2).astype(np.float32)
    memory = SpeakerMemory(anchors={1: 9 * ANNA.astype(np.float32), 2: 9 * almost, 3: 9 * CLEO.astype(np.float32)})
    assert memory.learn(speech(50, ANNA)) == [(1, 2)]
    assert set(memory.anchors) == {1, 3}
    assert memory.anchors[1] == pytest.approx(9 * (ANNA + almost), abs=1e-2)
    assert told(memory) == [(1, 50.0, 50.5)]


def test_the_number_of_someone_known_is_never_given_to_another_voice() -> None:
    memory = SpeakerMemory(anchors={1: 0.5 * ANNA.astype(np.float32), 2: 9 * CLEO.astype(np.float32)})
    memory.learn(speech(50, *[BEN] * 5))
    assert told(memory) == [(3, 50.0, 52.5)], "not Anna's, of whom half a second is remembered, and not Cleo's"


def test_a_packed_memory_goes_on_the_same() -> None:
    rng = np.random.default_rng(3)
    hops = [
        speech(i / 2, voice(*(rng.normal(size=8) / 5 + np.eye(8)[i // 8 % 3]))) for i in range(60)
    ]  # fmt: skip
    straight, broken = SpeakerMemory(), SpeakerMemory()
    for i, units in enumerate(hops):
        straight.learn(units)
        broken.learn(units)
        if i == 40:
            for memory in (straight, broken):
                first, second = memory.turns()[:2]
                memory.retire(first, second)
        broken = SpeakerMemory.unpack(snapshot.unpack(snapshot.pack(broken.pack())))
        assert broken.turns() == straight.turns()
    assert snapshot.pack(broken.pack()) == snapshot.pack(straight.pack())


def test_two_talkers_are_two_speakers() -> None:
    audio, said = conversation((LOW, HIGH), small_talk(talkers=2, seconds=40, seed=5), seed=5)
    memory = SpeakerMemory()
    listen(np.round(audio * 32767).astype(np.int16), memory)
    talkers = [[talker.speaker for talker in memory.turns() if line.start <= talker.middle < line.end] for line in said]
    speakers = {(line.talker, speaker) for line, heard in zip(said, talkers, strict=True) for speaker in heard}
    assert speakers == {(0, 1), (1, 2)}
    assert all(talkers), "every line is heard"


def listen(audio: np.ndarray, memory: SpeakerMemory) -> None:
    """The conversation hop by hop, as the service hears it."""
    diariser, state, reach = LocalDiariser(), DiariserState(), round(REACH_SECONDS * SAMPLE_RATE)
    for end in range(HALF, len(audio), HALF):
        start = max(0, end - HALF - reach)
        (observation,) = diariser.observe([Stretch(audio[start:end], start, state)])
        state = observation.state
        memory.learn(observation.units)


@pytest.fixture
def clusterings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many voiceprints were clustered, time after time."""
    of: list[int] = []

    def counted(prints: np.ndarray, *others: Any) -> np.ndarray:
        of.append(len(prints))
        return voices(prints, *others)

    monkeypatch.setattr(alignment, "voices", counted)
    return of


def known_well(clusterings: list[int], seconds: float = 60) -> SpeakerMemory:
    """A memory of two who have taken turns for long enough that a unit more changes little."""
    memory = SpeakerMemory()
    memory.learn(speech(0, *([ANNA] * 10 + [BEN] * 10) * round(seconds / 10)))
    clusterings.clear()
    return memory


def test_while_little_is_known_all_is_clustered_anew_at_every_hop(clusterings: list[int]) -> None:
    memory = SpeakerMemory()
    for hop in range(20):
        memory.learn(speech(hop / 2, ANNA))
    assert clusterings == list(range(1, 21))


def test_whoever_surely_is_somebody_joins_them_until_a_hundredth_has(clusterings: list[int]) -> None:
    memory = known_well(clusterings, seconds=100)  # 200 units
    for hop, (voiceprint, speaker) in enumerate([(ANNA, 1), (BEN, 2), (ANNA, 1), (BEN, 2), (ANNA, 1), (BEN, 2)]):
        memory.learn(speech(100 + hop / 2, voiceprint))
        assert told(memory)[-1] == (speaker, 100 + hop / 2, 100.5 + hop / 2)
    assert clusterings == [203, 206]


def test_who_is_somebody_but_not_surely_is_left_to_the_clustering(clusterings: list[int]) -> None:
    memory = known_well(clusterings)
    memory.learn(speech(60, voice(0.4, 0, 0.9)))  # like nobody else at all
    assert len(clusterings) == 1


def test_of_a_hop_all_join_or_none(clusterings: list[int]) -> None:
    memory = known_well(clusterings, seconds=100)
    memory.learn(speech(100, ANNA, voice(1, 0.8)))
    assert len(clusterings) == 1


def test_whoever_comes_back_after_long_joins_who_they_were(clusterings: list[int]) -> None:
    memory = known_well(clusterings)
    memory.learn(speech(61, *[CLEO] * 4))
    first, *later = memory.turns()
    memory.retire(first, later[0])
    memory.anchors[3] = 5 * CLEO.astype(np.float32)
    memory.heard = [heard for heard in memory.heard if heard.speaker != 3]
    clusterings.clear()
    memory.learn(speech(70, CLEO))
    assert clusterings == []
    assert told(memory)[-1] == (3, 70.0, 70.5)


def test_who_turn_out_to_be_one_are_clustered_anew(clusterings: list[int]) -> None:
    memory = known_well(clusterings)
    memory.anchors = {1: ANNA.astype(np.float32), 4: ANNA.astype(np.float32)}
    assert memory.learn(speech(60, ANNA)) == [(1, 4)]
    assert len(clusterings) == 1


def test_a_new_voice_is_heard_as_soon_as_ever_however_much_is_known(clusterings: list[int]) -> None:
    memory = known_well(clusterings)
    memory.learn(speech(60, CLEO))
    memory.learn(speech(60.5, CLEO))
    assert len(clusterings) == 2
    assert told(memory)[-1] == (3, 60.0, 61.0)


def test_a_voice_between_two_is_left_to_the_clustering(clusterings: list[int]) -> None:
    memory = known_well(clusterings)
    memory.learn(speech(60, voice(1, 0.8)))
    assert len(clusterings) == 1


def test_what_a_speaker_said_long_ago_tells_who_joins_them(clusterings: list[int]) -> None:
    memory = known_well(clusterings)
    memory.learn(speech(61, *[CLEO] * 4))
    memory.anchors[3] = 1_000 * voice(0, 0, 0.3, 1).astype(np.float32)  # it was nothing like what they say now
    clusterings.clear()
    memory.learn(speech(63, CLEO))
    assert len(clusterings) == 1


def test_a_memory_goes_on_counting_who_joined_after_it_was_packed(clusterings: list[int]) -> None:
    memory = known_well(clusterings)
    memory.learn(speech(60, ANNA))
    again = SpeakerMemory.unpack(snapshot.unpack(snapshot.pack(memory.pack())))
    again.learn(speech(60.5, ANNA))
    assert len(clusterings) == 1


def test_another_diarisers_word_is_followed_at_once_however_much_is_known(clusterings: list[int]) -> None:
    memory = known_well(clusterings)
    memory.tell([TaggedWord(0, 5, "yes", 1)], 0, 5)
    assert len(clusterings) == 1


def test_whenever_a_memory_is_packed_it_tells_the_same() -> None:
    moved, stayed = SpeakerMemory(), SpeakerMemory()
    rng = np.random.default_rng(3)
    for hop in range(300):
        said = (ANNA, BEN, CLEO)[hop // 12 % 3] + rng.normal(0, 0.05, SIZE).astype(np.float16)
        units = speech(hop / 2, voice(*said))
        moved = SpeakerMemory.unpack(snapshot.unpack(snapshot.pack(moved.pack())))
        assert moved.learn(units) == stayed.learn(units)
        assert moved.turns() == stayed.turns()
