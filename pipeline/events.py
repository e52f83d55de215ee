"""What is published of a session, in the order in which it happened.

Each event is one entry of the session's Redis Stream and knows what it changes in a `Timeline`: whoever folds all
events over an empty timeline holds the conversation as it is known now, corrections included. Events are versioned;
a reader refuses a version that it does not know rather than guess.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.timeline import ChunkSpeaker, EmotionReading, Timeline, Turn, Word


class _Event(BaseModel):
    """What all events share. Times of day are Unix seconds; `heard_until` is session time."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    heard_until: float = Field(default=0.0, ge=0, description="seconds of the conversation heard by then")
    arrived_at: float | None = Field(default=None, description="when the last sample that it rests on arrived")
    published_at: float | None = Field(default=None, description="when it was written to the stream")

    def apply(self, timeline: Timeline) -> None:
        """Change the timeline as the event says; most events change only how far it reaches."""
        timeline.heard_until = max(timeline.heard_until, self.heard_until)


class SessionStarted(_Event):
    """The first event: why the session exists. The moment of consent is `published_at`."""

    type: Literal["session.started"] = "session.started"
    purpose: str


class HopHeard(_Event):
    """A hop of audio has been heard; comes after all other events of that hop."""

    type: Literal["hop.heard"] = "hop.heard"
    speech: bool = Field(description="whether anyone spoke in it")


class TurnUpdated(_Event):
    """A turn has begun, grown, or become final."""

    type: Literal["turn.updated"] = "turn.updated"
    turn: Turn

    def apply(self, timeline: Timeline) -> None:
        super().apply(timeline)
        timeline.put(self.turn)


class TurnRevised(_Event):
    """Who spoke has been understood better: these turns go, and those stand in their place."""

    type: Literal["turn.revised"] = "turn.revised"
    removed: tuple[int, ...] = ()
    turns: tuple[Turn, ...] = ()

    def apply(self, timeline: Timeline) -> None:
        super().apply(timeline)
        timeline.revise(self.removed, self.turns)


class SpeakersMerged(_Event):
    """Two speakers turned out to be one; history follows."""

    type: Literal["speakers.merged"] = "speakers.merged"
    kept: int
    merged: int

    def apply(self, timeline: Timeline) -> None:
        super().apply(timeline)
        timeline.merge_speakers(self.kept, self.merged)


class SpeakerNamed(_Event):
    """A speaker has been given a name, or, where it is empty, lost it."""

    type: Literal["speaker.named"] = "speaker.named"
    speaker: int
    name: str
    by: Literal["person", "voice"] = Field("person", description="somebody said so, or an enrolled voice is like it")

    def apply(self, timeline: Timeline) -> None:
        super().apply(timeline)
        timeline.name_speaker(self.speaker, self.name)


class WordsHeard(_Event):
    """What was said in the stretch [since, until), in place of what was known of it before."""

    type: Literal["words.heard"] = "words.heard"
    since: float
    until: float
    words: tuple[Word, ...]

    def apply(self, timeline: Timeline) -> None:
        super().apply(timeline)
        timeline.transcribe(self.since, self.until, self.words)


class EmotionRead(_Event):
    """How the newest stretch of a turn sounds; where it is told again, that stands in place of what was told before."""

    type: Literal["emotion.read"] = "emotion.read"
    reading: EmotionReading

    def apply(self, timeline: Timeline) -> None:
        super().apply(timeline)
        timeline.add(self.reading)


class ChunkClosed(_Event):
    """Another 30 s have been heard; their integrated JSON as known at that moment."""

    type: Literal["chunk.closed"] = "chunk.closed"
    number: int
    speakers: dict[str, ChunkSpeaker]


class Warned(_Event):
    """Something went less well than it should; the session goes on."""

    type: Literal["warning"] = "warning"
    code: str
    message: str


class SessionEnded(_Event):
    """The recording has stopped and everything heard has been published."""

    type: Literal["session.ended"] = "session.ended"

    def apply(self, timeline: Timeline) -> None:
        super().apply(timeline)
        timeline.ended = True


Event = (
    SessionStarted
    | HopHeard
    | TurnUpdated
    | TurnRevised
    | SpeakersMerged
    | SpeakerNamed
    | WordsHeard
    | EmotionRead
    | ChunkClosed
    | Warned
    | SessionEnded
)

_parser: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def parse(text: str | bytes) -> Event:
    """Read one event from its JSON. Raises `pydantic.ValidationError` for an unknown type or version."""
    return _parser.validate_json(text)
