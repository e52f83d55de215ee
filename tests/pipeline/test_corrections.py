"""What people know better than the ear, in the small: what it may be, and what it changes in what was told."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.corrections import Merging, Naming, Telling, UnknownSpeaker, consequences, parse
from pipeline.diarisation.tags import TaggedWord
from pipeline.events import SpeakerNamed, SpeakersMerged
from pipeline.timeline import Timeline, Turn, Word


@pytest.fixture
def timeline() -> Timeline:
    """Three speakers, the second of whom has a name and a word."""
    turns = {number: Turn(id=number, speaker=number, start=number, end=number + 1, final=True) for number in (1, 2, 3)}
    return Timeline(turns=turns, names={2: "Ben"}, words=[Word(start=2, end=3, text="yes", speaker=2)], ended=True)


@pytest.mark.parametrize(
    "correction",
    [
        Naming(speaker=2, name="Anna"),
        Merging(kept=1, merged=3),
        Telling(since=0, until=3, words=(TaggedWord(start=0, end=1, text="so", tag=2),)),
    ],
)
def test_a_correction_survives_the_journal(correction: Naming | Merging | Telling) -> None:
    assert parse(correction.model_dump_json()) == correction


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "name", "speaker": 0, "name": "Anna"}',
        '{"type": "name", "speaker": 1, "name": "a\\u0000b"}',
        '{"type": "name", "speaker": 1, "name": "Anna", "colour": "red"}',
        '{"type": "name", "speaker": 1, "name": "' + "n" * 81 + '"}',
        '{"type": "sing", "speaker": 1}',
    ],
)
def test_what_is_no_correction_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        parse(text)


def test_a_name_is_taken_without_the_blanks_around_it() -> None:
    assert Naming(speaker=1, name="  Anna ").name == "Anna"


def test_a_name_follows_and_goes(timeline: Timeline) -> None:
    (event,) = consequences(Naming(speaker=1, name="Anna"), timeline)
    assert event == SpeakerNamed(speaker=1, name="Anna")
    event.apply(timeline)
    assert (timeline.name_of(1), timeline.name_of(3)) == ("Anna", "Speaker 3")
    (event,) = consequences(Naming(speaker=1, name=""), timeline)
    event.apply(timeline)
    assert timeline.names == {2: "Ben"}


def test_turns_words_and_the_name_follow_a_merge(timeline: Timeline) -> None:
    (event,) = consequences(Merging(kept=1, merged=2), timeline)
    assert event == SpeakersMerged(kept=1, merged=2)
    event.apply(timeline)
    assert timeline.speakers == [1, 3]
    assert timeline.names == {1: "Ben"}
    assert [word.speaker for word in timeline.words] == [1]


@pytest.mark.parametrize("correction", [Naming(speaker=4, name="Nobody"), Merging(kept=1, merged=4)])
def test_nobody_is_named_or_merged_who_has_not_spoken(timeline: Timeline, correction: Naming | Merging) -> None:
    with pytest.raises(UnknownSpeaker, match="There is no speaker 4; so far there are: 1, 2, 3"):
        consequences(correction, timeline)


def test_nobody_is_merged_with_themselves(timeline: Timeline) -> None:
    with pytest.raises(ValueError, match="cannot be merged with themselves"):
        consequences(Merging(kept=1, merged=1), timeline)
