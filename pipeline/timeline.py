"""What is known of a conversation: spans, turns, readings, and the timeline that holds them.

Times are float seconds from the session's first sample; probabilities follow the order of `EMOTIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

EMOTIONS = ("angry", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise")
UNSURE = "unsure"
Mode = Literal["none", "causal", "full"]  # what a reading knew of the speaker: nothing, what came before, everything

SAMPLE_RATE = 16_000  # Hz; all audio inside ToneTrack is mono at this rate
HOP_SECONDS = 0.5  # the live path hears, decides and publishes once a hop
CHUNK_SECONDS = 30.0  # every chunk closes with the integrated JSON of `Timeline.chunk`


class Span(BaseModel):
    """The half-open stretch [start, end) of a conversation, in seconds."""

    model_config = ConfigDict(frozen=True)

    start: float = Field(ge=0)
    end: float

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Span:
        if self.end < self.start:
            raise ValueError(f"a span cannot end ({self.end} s) before it starts ({self.start} s)")
        return self

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return self.end - self.start

    @property
    def middle(self) -> float:
        """The instant halfway."""
        return (self.start + self.end) / 2

    def __contains__(self, instant: float) -> bool:
        return self.start <= instant < self.end

    def overlap(self, start: float, end: float) -> float:
        """Seconds shared with [start, end); 0 where the two are apart."""
        return max(0.0, min(self.end, end) - max(self.start, start))


AnySpan = TypeVar("AnySpan", bound=Span)


class Turn(Span):
    """One speaker's uninterrupted speech. Provisional until `final`: it may still grow, shrink, split or change hands.

    What is final keeps its bounds; only when two speakers turn out to be one is it renamed with all their turns.
    """

    id: int = Field(ge=0, description="stays the same while the turn grows")
    speaker: int = Field(ge=1)
    final: bool = False
    second_voice: bool = Field(False, description="heard beneath another turn: two talked at once")


class EmotionReading(Span):
    """How a stretch of a turn sounds. It says how someone sounds, not how they feel.

    The span is the speech that the reading stands for; `heard` tells how much speech of the turn the model listened
    to: live what came before the span's end, in a whole recording what is on both sides of it.
    """

    turn: int = Field(ge=0, description="id of the turn that it belongs to")
    probabilities: tuple[float, ...] = Field(min_length=len(EMOTIONS), max_length=len(EMOTIONS))
    label: str = Field(description="the most probable emotion, or 'unsure'")
    valence: float = Field(ge=-1, le=1, description="unpleasant to pleasant, derived from the probabilities")
    arousal: float = Field(ge=-1, le=1, description="quiet to excited, derived from the probabilities")
    heard: float = Field(gt=0, description="seconds of speech that the model heard")
    mode: Mode = Field("none", description="which other speech of the speaker it was set against")
    baseline: float = Field(0.0, ge=0, description="how many seconds of it there were")
    mixed: bool = Field(False, description="others talked at the same time: whose tone it is cannot be told")
    model: str = Field(description="version of the emotion model")

    @property
    def confidence(self) -> float:
        """The calibrated probability of the most probable emotion."""
        return max(self.probabilities)

    def as_mixed(self) -> EmotionReading:
        """The same where two talk at once: unsure, whatever the model made of it."""
        return self.model_copy(update={"mixed": True, "label": UNSURE})


class Word(Span):
    """A word of the transcript, and who said it, where that is known."""

    text: str
    speaker: int | None = None


class ChunkSpeaker(BaseModel):
    """One speaker's share of a chunk, as the JSON of 30 seconds has it."""

    model_config = ConfigDict(frozen=True)

    start_times: list[float]
    end_times: list[float]
    emotion: list[str] = Field(description="one label for each second, begun or whole, of each stretch in turn")


class Timeline(BaseModel):
    """A conversation so far. Events change it through the methods below (see `pipeline.events`).

    `readings` are in order of time. A reading's speaker is its turn's, so that a correction of the turn corrects
    the reading with it.
    """

    turns: dict[int, Turn] = Field(default_factory=dict, description="by turn id")
    readings: list[EmotionReading] = Field(default_factory=list)
    names: dict[int, str] = Field(default_factory=dict, description="by speaker, where somebody has named them")
    words: list[Word] = Field(default_factory=list, description="the transcript, where the diariser gives one")
    heard_until: float = 0.0
    ended: bool = False

    def put(self, turn: Turn) -> None:
        """Add a turn, or replace the one with the same id."""
        self.turns[turn.id] = turn

    def revise(self, removed: Iterable[int], turns: Iterable[Turn]) -> None:
        """Replace turns, and move the readings of the old ones to the new turns that cover them.

        A reading whose stretch is nobody's speech any more goes with its turn.
        """
        revised = list(turns)
        gone = set(removed)
        for turn_id in gone:
            self.turns.pop(turn_id, None)
        for turn in revised:
            self.put(turn)
        touched = gone | {turn.id for turn in revised}

        def rehomed() -> Iterator[EmotionReading]:
            for reading in self.readings:
                if reading.turn not in touched:
                    yield reading
                    continue
                homes = (turn for turn in revised if not turn.second_voice)
                home = max(homes, key=lambda turn: turn.overlap(reading.start, reading.end), default=None)
                if home is not None and home.overlap(reading.start, reading.end) > 0:
                    yield reading if home.id == reading.turn else reading.model_copy(update={"turn": home.id})

        self.readings = list(rehomed())

    def merge_speakers(self, kept: int, merged: int) -> None:
        """Give every turn and word of the merged speaker to the kept one, and the name to whoever has none."""
        for turn in list(self.turns.values()):
            if turn.speaker == merged:
                self.put(turn.model_copy(update={"speaker": kept}))
        own = [turn for turn in self.turns_of(kept) if not turn.second_voice]
        for turn in self.turns_of(kept):  # nobody talks beneath themselves
            if turn.second_voice and any(over.overlap(turn.start, turn.end) > 0 for over in own):
                del self.turns[turn.id]
        self.words = [
            word.model_copy(update={"speaker": kept}) if word.speaker == merged else word for word in self.words
        ]
        if (name := self.names.pop(merged, None)) is not None:
            self.names.setdefault(kept, name)

    def name_speaker(self, speaker: int, name: str) -> None:
        """Call a speaker by a name; an empty one takes the name away."""
        if name:
            self.names[speaker] = name
        else:
            self.names.pop(speaker, None)

    def transcribe(self, since: float, until: float, words: Iterable[Word]) -> None:
        """Put the words of a stretch in place of those that stood there."""
        kept = [word for word in self.words if not since <= word.middle < until]
        self.words = sorted([*kept, *words], key=lambda word: word.start)

    def add(self, reading: EmotionReading) -> None:
        """Append a reading, newest last, or put it in place of what was read of the same stretch before."""
        for i in reversed(range(len(self.readings))):
            earlier = self.readings[i]
            if earlier.end <= reading.start:
                break
            if (earlier.turn, earlier.start, earlier.end) == (reading.turn, reading.start, reading.end):
                self.readings[i] = reading
                return
        self.readings.append(reading)

    def forget_before(self, instant: float) -> None:
        """Drop what ended before an instant, so that a long conversation stays small in memory."""
        self.turns = {turn.id: turn for turn in self.turns.values() if turn.end > instant}
        self.readings = [reading for reading in self.readings if reading.end > instant]
        self.words = [word for word in self.words if word.end > instant]

    @property
    def speakers(self) -> list[int]:
        """Everyone who holds a turn, in order of their numbers."""
        return sorted({turn.speaker for turn in self.turns.values()})

    def name_of(self, speaker: int) -> str:
        """What to call a speaker."""
        return self.names.get(speaker, f"Speaker {speaker}")

    def speaker_of(self, reading: EmotionReading) -> int | None:
        """Who a reading belongs to, or None when its turn is unknown."""
        turn = self.turns.get(reading.turn)
        return turn.speaker if turn else None

    def turns_of(self, speaker: int) -> list[Turn]:
        """One speaker's turns in order of time."""
        return sorted((turn for turn in self.turns.values() if turn.speaker == speaker), key=lambda turn: turn.start)

    def readings_of(self, speaker: int) -> list[EmotionReading]:
        """One speaker's readings in order of time."""
        return [reading for reading in self.readings if self.speaker_of(reading) == speaker]

    def talk_seconds(self, speaker: int) -> float:
        """How long a speaker has talked."""
        return sum(turn.duration for turn in self.turns_of(speaker))

    def document(self) -> dict[str, Any]:
        """The timeline as plain data for JSON, in the one shape in which it leaves ToneTrack."""
        return {
            "heard_until": self.heard_until,
            "ended": self.ended,
            "speakers": self.speakers,
            "turns": [turn.model_dump() for turn in sorted(self.turns.values(), key=lambda turn: turn.start)],
            "readings": [reading.model_dump() for reading in self.readings],
            "names": self.names,
            "words": [word.model_dump() for word in self.words],
        }

    def chunk(self, number: int) -> dict[str, ChunkSpeaker]:
        """The integrated JSON of one 30 s chunk, keyed by speaker number, with corrections applied.

        Each stretch of a speaker within the chunk gets one label for each second that it begins: the label of
        the reading that covers the most of that second, or `unsure` where there is none.
        """
        window = Span(start=number * CHUNK_SECONDS, end=(number + 1) * CHUNK_SECONDS)
        readings = [reading for reading in self.readings if reading.overlap(window.start, window.end) > 0]
        return self._integrated(window, self.turns.values(), readings)

    def chunks(self) -> Iterator[dict[str, ChunkSpeaker]]:
        """`chunk` of every 30 s that are known of, in order; the last may be cut short.

        Turns and readings are sorted into chunks once, so that a recording of hours takes no longer an hour than one
        of minutes.
        """
        known_until = max([self.heard_until, *(turn.end for turn in self.turns.values())])
        count = math.ceil(round(known_until / CHUNK_SECONDS, 6))
        turns, readings = _by_chunk(self.turns.values()), _by_chunk(self.readings)
        for number in range(count):
            window = Span(start=number * CHUNK_SECONDS, end=(number + 1) * CHUNK_SECONDS)
            yield self._integrated(window, turns.get(number, []), readings.get(number, []))

    def _integrated(
        self, window: Span, turns: Iterable[Turn], readings: Iterable[EmotionReading]
    ) -> dict[str, ChunkSpeaker]:
        """The integrated JSON of a window, of all turns and readings that reach into it."""
        stretches: dict[int, list[Span]] = {}
        for turn in sorted(turns, key=lambda turn: turn.start):
            if turn.overlap(window.start, window.end) > 0:
                stretch = Span(start=max(turn.start, window.start), end=min(turn.end, window.end))
                stretches.setdefault(turn.speaker, []).append(stretch)
        heard: dict[int | None, list[EmotionReading]] = {}
        for reading in readings:
            heard.setdefault(self.speaker_of(reading), []).append(reading)
        return {
            str(speaker): ChunkSpeaker(
                start_times=[round(stretch.start, 3) for stretch in own],
                end_times=[round(stretch.end, 3) for stretch in own],
                emotion=[label for stretch in own for label in _label_each_second(stretch, heard.get(speaker, []))],
            )
            for speaker, own in sorted(stretches.items())
        }


def _by_chunk(spans: Iterable[AnySpan]) -> dict[int, list[AnySpan]]:
    """The spans that reach into each chunk, by its number, in the order in which they came."""
    chunks: dict[int, list[AnySpan]] = {}
    for span in spans:
        for number in range(int(span.start // CHUNK_SECONDS), int(span.end // CHUNK_SECONDS) + 1):
            chunks.setdefault(number, []).append(span)
    return chunks


def _label_each_second(stretch: Span, readings: list[EmotionReading]) -> Iterator[str]:
    for second in range(math.ceil(round(stretch.duration, 6))):
        start = stretch.start + second
        end = min(start + 1, stretch.end)
        best = max(readings, key=lambda reading: reading.overlap(start, end), default=None)
        yield best.label if best is not None and best.overlap(start, end) > 0 else UNSURE
