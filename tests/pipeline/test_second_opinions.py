"""A conversation that is corrected between hops: by people, by another diariser, by voices that are enrolled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.conversation import HOP, Conversation, Hop
from pipeline.corrections import Merging, Naming, Telling, UnknownSpeaker
from pipeline.diarisation import DiariserState, Observation, Unit
from pipeline.diarisation.tags import REPEATED_SECONDS, REQUEST_SECONDS, TaggedWord
from pipeline.emotion import EmotionHead
from pipeline.events import Event, SpeakerNamed, SpeakersMerged, WordsHeard
from pipeline.naming import Names
from pipeline.session import Expected, Voice
from pipeline.speech import SpeechState
from pipeline.timeline import CHUNK_SECONDS, EMOTIONS, SAMPLE_RATE, Timeline
from pipeline.voiceprint import SIZE

Said = tuple[float, float, int | np.ndarray]  # from second, to second, whose voice


def a_head() -> EmotionHead:
    alone, known = np.random.default_rng(1).standard_normal((2, 5, len(EMOTIONS))).astype(np.float32)
    return EmotionHead("test", 0.0, alone, known, (1.0, 1.0))


def voiceprint(whose: int, also: int = 0, share: float = 0.0) -> np.ndarray:
    """Of somebody, with a `share` of another's."""
    both = np.eye(1, SIZE, whose)[0] + share * np.eye(1, SIZE, also)[0]
    return (both / np.linalg.norm(both)).astype(np.float16)


ANNA = Voice("a", "Anna", voiceprint(0))


class Talk:
    """A conversation whose diariser heard what was said, hop by hop."""

    def __init__(self, said: list[Said], **known: object) -> None:
        self.conversation = Conversation(a_head(), **known)  # type: ignore[arg-type]
        self.timeline = Timeline()
        self.events: list[Event] = []
        self._said, self._known = said, known

    def until(self, seconds: float) -> Talk:
        while self.conversation.samples < seconds * SAMPLE_RATE:
            samples = np.arange(self.conversation.samples, self.conversation.samples + HOP) % 1_000
            for hop in self.conversation.hear(samples.astype(np.int16), 0.0):
                self._attend(hop)
        return self

    def end(self) -> Talk:
        self._attend(self.conversation.finish())
        return self.learn(self.conversation.end())

    def repack(self, **known: object) -> Talk:
        """Go on from a snapshot, with what is known otherwise by now."""
        self._known |= known
        self.conversation = Conversation.unpack(self.conversation.pack(), a_head(), **self._known)  # type: ignore[arg-type]
        return self

    def correct(self, correction: Naming | Merging | Telling) -> Talk:
        return self.learn(self.conversation.correct(correction))

    def learn(self, events: list[Event]) -> Talk:
        for event in events:
            event.apply(self.timeline)
        self.events += events
        return self

    def turns(self) -> list[tuple[int, float, float]]:
        turns = sorted(self.timeline.turns.values(), key=lambda turn: turn.start)
        return [(turn.speaker, turn.start, turn.end) for turn in turns if not turn.second_voice]

    def _attend(self, hop: Hop) -> None:
        fragments = self.conversation.align(self._observed(hop))
        embeddings = [np.ones(4, np.float32) for _ in fragments]
        self.learn(self.conversation.conclude(hop, fragments, embeddings))

    def _observed(self, hop: Hop) -> Observation:
        first = hop.end - HOP
        said = [whose for since, until, whose in self._said if since <= first / SAMPLE_RATE < until]
        voices = [voiceprint(whose) if isinstance(whose, int) else whose for whose in said]
        units = [Unit(first, hop.end, first, voice) for voice in voices]
        return Observation([], units, DiariserState(replace(SpeechState.fresh(), position=hop.end), hop.end))


def words(start: float, seconds: float, tag: int) -> tuple[TaggedWord, ...]:
    return tuple(TaggedWord(start + i, start + i + 0.9, f"word{i}", tag) for i in range(round(seconds)))


def test_a_name_stays_with_its_speaker_through_packing() -> None:
    talk = Talk([(0, 5, 0), (6, 10, 1), (20, 25, 1)]).until(12).correct(Naming(speaker=2, name="Ben")).repack()
    talk.until(30).end()
    assert talk.timeline.names == {2: "Ben"}
    assert [speaker for speaker, _, _ in talk.turns()] == [1, 2, 2]


def test_a_merge_holds_for_what_is_said_later_and_through_packing() -> None:
    talk = Talk([(0, 5, 0), (6, 10, 1), (20, 25, 1)]).until(12).correct(Merging(kept=1, merged=2)).repack()
    talk.until(30).end()
    assert {speaker for speaker, _, _ in talk.turns()} == {1}
    assert sum(isinstance(event, SpeakersMerged) for event in talk.events) == 1


@pytest.mark.parametrize("wrong", [Naming(speaker=7, name="Nobody"), Merging(kept=1, merged=7)])
def test_a_correction_of_nobody_changes_nothing(wrong: Naming | Merging) -> None:
    talk = Talk([(0, 5, 0)]).until(6)
    before = talk.conversation.pack()
    with pytest.raises(UnknownSpeaker, match="no speaker 7; so far there are: 1"):
        talk.correct(wrong)
    with pytest.raises(ValueError, match="themselves"):
        talk.correct(Merging(kept=1, merged=1))
    assert talk.conversation.pack() == before


def test_an_enrolled_voice_is_called_by_its_name_once_and_a_person_has_the_last_word() -> None:
    anna = Voice("a", "Anna", voiceprint(0))
    talk = Talk([(0, 8, 0), (9, 17, 1), (20, 30, 0)], voices=[anna]).until(18)
    assert talk.timeline.names == {1: "Anna"}
    talk.correct(Naming(speaker=1, name="Dr. Anna")).repack().until(35).end()
    assert talk.timeline.names == {1: "Dr. Anna"}
    named = [(event.name, event.by) for event in talk.events if isinstance(event, SpeakerNamed)]
    assert named == [("Anna", "voice"), ("Dr. Anna", "person")]


def test_a_name_is_taken_back_where_hearing_more_shows_another_voice() -> None:
    anna = Voice("a", "Anna", (voiceprint(0) + 0.8 * voiceprint(1)).astype(np.float16))
    talk = Talk([(0, 8, 0), (8, 90, 2)], voices=[anna]).until(10)
    assert talk.timeline.names == {1: "Anna"}
    talk.correct(Merging(kept=1, merged=2)).repack().until(92)
    assert talk.timeline.names == {}


def test_a_name_that_came_with_a_merge_is_taken_back_too() -> None:
    anna = Voice("a", "Anna", voiceprint(0))
    talk = Talk([(0, 8, 2), (9, 17, 0), (18, 90, 2)], voices=[anna]).until(18)
    assert talk.timeline.names == {2: "Anna"}
    talk.correct(Merging(kept=1, merged=2))
    assert talk.timeline.names == {1: "Anna"}
    talk.until(92)
    assert talk.timeline.names == {}


@pytest.mark.parametrize(("voices", "names"), [([ANNA], {2: "Anna"}), ([], {})], ids=["enrolled", "gone since"])
def test_a_name_goes_with_its_speaker_and_not_to_whoever_gets_the_number(
    voices: list[Voice], names: dict[int, str]
) -> None:
    """Hearing more showed that both were one, and a stranger who came later was called by the name for good."""
    ben, between = voiceprint(1, also=0, share=1 / 3), voiceprint(0, also=1, share=0.9)
    talk = Talk([(0, 8, 0), (9, 15, ben), (16, 80, between), (90, 110, 2)], voices=[ANNA]).until(15.5)
    assert talk.timeline.names == {1: "Anna"}
    talk.repack(voices=voices).until(85)
    assert {speaker for speaker, _, _ in talk.turns()} == {2}
    assert talk.timeline.names == names
    talk.until(112)
    assert [speaker for speaker, start, _ in talk.turns() if start == 90] == [1]
    assert talk.timeline.names == names


def test_whoever_has_lost_the_name_of_a_voice_may_get_it_again() -> None:
    names, told = Names([ANNA]), dict[int, str]()
    anna, ben = (voiceprint(whose).astype(np.float32) for whose in (0, 1))
    events = []
    for heard in ({1: 9 * ben, 2: 6 * anna}, {1: 15 * ben}, {1: 20 * ben, 3: 6 * anna}):
        for event in names.recognise(heard, told, there=heard.keys()):
            told[event.speaker] = event.name
            events.append((event.speaker, event.name, event.by))
    assert events == [(2, "Anna", "voice"), (2, "", "voice"), (3, "Anna", "voice")]


def test_a_name_that_a_person_gave_stays_though_nobody_has_the_number() -> None:
    names = Names([ANNA])
    assert list(names.recognise({1: 6 * voiceprint(0).astype(np.float32)}, {}, there={1}))
    names.give(1)
    assert list(names.recognise({}, {1: "Dr. Anna"}, there=())) == []


def test_a_voice_nobody_enrolled_has_no_name() -> None:
    talk = Talk([(0, 8, 1)], voices=[Voice("a", "Anna", voiceprint(0))]).until(10)
    assert talk.timeline.names == {}


def test_another_diariser_is_asked_chunk_by_chunk_with_what_came_before() -> None:
    talk = Talk([(0, 70, 0)], tail=REQUEST_SECONDS).until(CHUNK_SECONDS - 1)
    assert talk.conversation.question() is None
    question = talk.until(CHUNK_SECONDS).conversation.question()
    assert question is not None
    assert (question.start, question.since, question.until) == (0, 0, CHUNK_SECONDS)
    talk.correct(Telling(since=0, until=CHUNK_SECONDS, words=()))
    assert talk.conversation.question() is None
    question = talk.repack().until(2 * CHUNK_SECONDS).conversation.question()
    assert question is not None
    assert (question.since, question.until) == (CHUNK_SECONDS, 2 * CHUNK_SECONDS)
    assert question.start == (CHUNK_SECONDS - REPEATED_SECONDS) * SAMPLE_RATE
    expected = np.arange(question.start, 2 * CHUNK_SECONDS * SAMPLE_RATE) % 1_000
    np.testing.assert_array_equal(question.audio, expected.astype(np.int16))


@pytest.mark.parametrize(("least", "speakers"), [(1, [1, 1]), (2, [1, 2])])
def test_no_fewer_speakers_than_expected_are_left_in_the_end(least: int, speakers: list[int]) -> None:
    """Live it had no effect: who has not talked yet cannot be told apart. In the end everybody has."""
    talk = Talk([(0, 6, 0), (7, 13, voiceprint(0, also=1, share=0.6))], expected=Expected(least, None)).until(14)
    assert [speaker for speaker, _, _ in talk.turns()] == [1, 1]
    talk.repack().end()
    assert talk.turns() == [(speakers[0], 0, 6), (speakers[1], 7, 13)]
    assert all(turn.final for turn in talk.timeline.turns.values())


def test_those_who_talked_long_ago_are_some_of_those_expected() -> None:
    moods = voiceprint(1, also=2, share=0.6)
    said: list[Said] = [(0, 8, 0), (9, 17, 1), (300, 306, 1), (307, 313, moods)]
    talk = Talk(said, expected=Expected(2, None)).until(314).end()
    assert [speaker for speaker, _, _ in talk.turns()] == [1, 2, 2, 2]


def test_what_is_left_at_the_end_is_asked_for_too() -> None:
    talk = Talk([(0, 40, 0)], tail=REQUEST_SECONDS).until(40)
    talk.correct(Telling(since=0, until=CHUNK_SECONDS, words=()))
    talk._attend(talk.conversation.finish())
    question = talk.conversation.question()
    assert question is not None
    assert (question.since, question.until) == (CHUNK_SECONDS, 40)


def test_tags_revise_turns_and_words_become_the_transcript() -> None:
    talk = Talk([(0, 10, 0), (11, 20, 0)]).until(CHUNK_SECONDS)
    assert {speaker for speaker, _, _ in talk.turns()} == {1}
    talk.correct(Telling(since=0, until=CHUNK_SECONDS, words=(*words(0, 10, 4), *words(11, 9, 2))))
    assert talk.turns() == [(1, 0, 10), (2, 11, 20)]
    assert {(word.speaker, word.start >= 11) for word in talk.timeline.words} == {(1, False), (2, True)}
    assert [word.text for word in talk.timeline.words][:2] == ["word0", "word1"]
    assert any(isinstance(event, WordsHeard) for event in talk.events)


def test_readings_follow_the_turns_that_tags_revise() -> None:
    talk = Talk([(0, 10, 0), (11, 20, 0)]).until(CHUNK_SECONDS)
    talk.correct(Telling(since=0, until=CHUNK_SECONDS, words=(*words(0, 10, 4), *words(11, 9, 2))))
    assert {reading.start >= 11 for reading in talk.timeline.readings_of(2)} == {True}
    assert {reading.start >= 11 for reading in talk.timeline.readings_of(1)} == {False}
