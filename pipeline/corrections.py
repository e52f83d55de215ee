"""What somebody knows better than the ear: a person who names and merges speakers, another diariser's second opinion.

A correction takes effect between two hops. It is kept in the session's journal with the number of the hop after which
it came, so that a conversation that is replayed is corrected at the same moment and comes out the same.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.diarisation.tags import TaggedWord
from pipeline.events import Event, SpeakerNamed, SpeakersMerged
from pipeline.session import Printable
from pipeline.timeline import Timeline

Speaker = Annotated[int, Field(ge=1)]


class UnknownSpeaker(LookupError):
    """Nobody of that number has spoken, or they have been merged with somebody else."""


class _Correction(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Naming(_Correction):
    """Call a speaker by a name; an empty one takes the name away."""

    type: Literal["name"] = "name"
    speaker: Speaker
    name: Printable = Field(max_length=80)


class Merging(_Correction):
    """Two speakers are one and the same; all that `merged` said, and will say, is `kept`'s."""

    type: Literal["merge"] = "merge"
    kept: Speaker
    merged: Speaker


class Telling(_Correction):
    """Another diariser's opinion on the stretch [since, until), with what it heard of the time before it."""

    type: Literal["tell"] = "tell"
    since: float
    until: float
    words: tuple[TaggedWord, ...]


Correction = Annotated[Naming | Merging | Telling, Field(discriminator="type")]

_parser: TypeAdapter[Naming | Merging | Telling] = TypeAdapter(Correction)


def parse(text: str | bytes) -> Naming | Merging | Telling:
    """Read one correction from its JSON. Raises `pydantic.ValidationError`."""
    return _parser.validate_json(text)


def consequences(correction: Naming | Merging, timeline: Timeline) -> list[Event]:
    """What a person's correction changes in a timeline that nothing will be added to.

    Raises `UnknownSpeaker` for somebody who has no turn in it, and `ValueError` where one is merged with oneself.
    """
    match correction:
        case Naming():
            check_speaker(timeline.speakers, correction.speaker)
            return [SpeakerNamed(speaker=correction.speaker, name=correction.name)]
        case Merging():
            check_merge(timeline.speakers, correction)
            return [SpeakersMerged(kept=correction.kept, merged=correction.merged)]


def check_merge(speakers: list[int], merging: Merging) -> None:
    """Raises `UnknownSpeaker` and `ValueError` as `consequences` does."""
    if merging.kept == merging.merged:
        raise ValueError(f"Speaker {merging.kept} cannot be merged with themselves.")
    check_speaker(speakers, merging.kept, merging.merged)


def check_speaker(speakers: list[int], *wanted: int) -> None:
    """Raises `UnknownSpeaker` for anybody wanted who is not among the speakers."""
    for speaker in wanted:
        if speaker not in speakers:
            heard = ", ".join(map(str, speakers)) or "nobody yet"
            raise UnknownSpeaker(f"There is no speaker {speaker}; so far there are: {heard}.")
