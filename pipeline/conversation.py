"""One conversation as it is heard: from a frame of sound to the events that it gives rise to.

The steps of a hop, in order, with the two models called in between by whoever owns the conversation (the session
actor live, `training` offline), so that this module neither waits nor knows where the models run:

    for hop in conversation.hear(pcm, arrived_at):
        observation = diariser.observe([conversation.stretch(hop)])
        fragments = conversation.align(observation)
        embeddings = model.embed([conversation.audio(fragment) for fragment in fragments])
        events = conversation.conclude(hop, fragments, embeddings)

The same samples at the same cadence give the same events, however they were cut into frames and whenever the
conversation was packed and unpacked in between: that is what makes replaying a journal safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise, zip_longest
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline import snapshot
from pipeline.alignment import ACTIVE_SECONDS, ANYBODY, SpeakerMemory
from pipeline.baseline import SpeakerBaselines
from pipeline.corrections import Correction, Merging, Naming, Telling, check_merge, check_speaker
from pipeline.diarisation import DiariserState, Observation, Stretch
from pipeline.diarisation.local import REACH_SECONDS
from pipeline.diarisation.tags import REPEATED_SECONDS, REQUEST_SECONDS
from pipeline.emotion import EmotionHead
from pipeline.enrolment import version
from pipeline.events import (
    ChunkClosed,
    EmotionRead,
    Event,
    HopHeard,
    SessionEnded,
    SpeakerNamed,
    SpeakersMerged,
    TurnUpdated,
    WordsHeard,
)
from pipeline.fragments import Fragment, talked_over, unread
from pipeline.naming import Names
from pipeline.revising import revisions
from pipeline.session import Expected, Voice
from pipeline.speech import SpeechState
from pipeline.tail import Tail
from pipeline.timeline import CHUNK_SECONDS, HOP_SECONDS, SAMPLE_RATE, EmotionReading, Timeline, Turn, Word
from pipeline.turns import LONGEST_TURN, TURN_PAUSE

HOP: Final = round(HOP_SECONDS * SAMPLE_RATE)  # samples
TAIL_SECONDS: Final = 8.0  # kept behind the newest hop: the longest fragment, and the wait for its end
FORMAT: Final = 3  # of a packed conversation


@dataclass(frozen=True, slots=True)
class Hop:
    """Half a second to be heard, `together` with the ones before it that were not: 1 where it is heard alone.

    Numbers start at 1; `end`: samples of the conversation up to its end; `arrived_at`: of its last sample, Unix time.
    """

    number: int
    end: int
    arrived_at: float
    together: int = 1

    @property
    def until(self) -> float:
        """Seconds of the conversation up to its end."""
        return self.end / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Question:
    """Sound for another diariser: int16 (n,) from sample `start` on, of which [since, until), in seconds, is new."""

    audio: NDArray[np.int16]
    start: int
    since: float
    until: float


class Conversation:
    """The state of one conversation. Not for two tasks at once: a hop is concluded before the next is stretched."""

    def __init__(
        self, head: EmotionHead, expected: Expected = ANYBODY, voices: Sequence[Voice] = (), tail: float = TAIL_SECONDS
    ) -> None:
        """`expected`: how many people talk; `voices`: whom to call by their names; `tail`: seconds of sound kept."""
        self._head = head
        self._keeps = round(tail * SAMPLE_RATE)
        self.next_frame = 0  # the first journal frame that has not been heard
        self.corrected = 0  # how many corrections have taken effect
        self.estranged = False  # whether those who talked before it was packed can be recognised no more
        self._tail = Tail()
        self._hops = 0
        self._diariser = DiariserState()
        self._expected = expected
        self._memory = SpeakerMemory(Expected(1, expected.most))  # who has not talked yet cannot be told apart
        self._timeline = Timeline()
        self._read_until = 0.0
        self._baselines = SpeakerBaselines(head.size)
        self._names = Names(voices)
        self._told_until = 0.0  # up to where another diariser has been asked
        self._published: dict[int, Turn] = {}
        self._news: list[Event] = []
        self._chunks = 0
        self._speech = False
        self._arrived_at = 0.0
        self._recorded: int | None = None  # samples, once the recording is over

    @property
    def hops(self) -> int:
        """The number of the newest hop."""
        return self._hops

    @property
    def samples(self) -> int:
        """Samples received so far."""
        return self._tail.end

    def hear(self, pcm: NDArray[np.int16], arrived_at: float, cadence: int = 1) -> list[Hop]:
        """Take in int16 samples (n,) at 16 kHz that arrived at a Unix time; returns the hops that they complete.

        `cadence`: how many hops are to be heard together, which costs less.
        """
        self._tail.add(pcm)
        self._arrived_at = arrived_at
        completed = range(self._hops + 1, self.samples // HOP + 1)
        numbers = [number for number in completed if number % cadence == 0]
        before = [self._hops, *numbers]
        self._hops = before[-1]
        return [Hop(n, n * HOP, arrived_at, n - m) for m, n in pairwise(before)]

    def finish(self) -> Hop:
        """The last hop, filled up with the silence that ends whatever is being said."""
        self._recorded = self.samples
        together = 1 + self.samples // HOP - self._hops
        padding = np.zeros((-self.samples) % HOP + HOP, np.int16)
        self._tail.add(padding)
        self._hops = self.samples // HOP
        return Hop(self._hops, self.samples, self._arrived_at, together)

    def stretch(self, hop: Hop) -> Stretch:
        """What the diariser is to hear at a hop."""
        start = hop.end - hop.together * HOP - round(REACH_SECONDS * SAMPLE_RATE)
        start = max(0, min(start, self._diariser.speech.position - HOP))
        return Stretch(self._tail.between(start, hop.end), start, self._diariser, hop.together)

    def align(self, observation: Observation) -> list[Fragment]:
        """Learn who spoke; returns the fragments whose emotion is to be read."""
        known_until, self._diariser = self._known_until, observation.state
        self._speech = bool(observation.islands)
        for kept, merged in self._memory.learn(observation.units, observation.going_on):
            self._join(kept, merged)
        # Of somebody estranged nobody knows whether they are one of those who have talked since.
        if self._recorded is not None and self._expected.least > 1 and not self._memory.former:
            self._memory.expect(self._expected)  # everybody has talked by now
        turns, beneath = self._told()
        self._revise([*turns, *beneath])
        self._look_again(known_until)
        if self._names.listening:
            memory = self._memory
            for named in self._names.recognise(memory.voices(), self._timeline.names, memory.speakers):
                self._tell(named)
        quiet = self._diariser.speech.position - max((turn.end for turn in turns), default=0) * SAMPLE_RATE
        return unread(turns, self._read_until, over=quiet > TURN_PAUSE)

    def audio(self, fragment: Fragment) -> NDArray[np.int16]:
        """What the emotion model is to hear of a fragment: int16 samples (n,)."""
        return self._tail.between(round(fragment.heard_from * SAMPLE_RATE), round(fragment.end * SAMPLE_RATE))

    def conclude(
        self, hop: Hop, fragments: Sequence[Fragment], embeddings: Sequence[NDArray[np.float32]]
    ) -> list[Event]:
        """The events of a hop, in order; `embeddings` answer the fragments one to one."""
        for fragment, embedding in zip(fragments, embeddings, strict=True):
            self._tell(EmotionRead(reading=self._reading(fragment, embedding)))
            self._baselines.keep(fragment.start, embedding)
            self._read_until = fragment.end
        self._finalise(hop.until - ACTIVE_SECONDS)
        if min(hop.until, self._seconds) >= (self._chunks + 1) * CHUNK_SECONDS:
            self._close_chunk()
        self._tell(HopHeard(speech=self._speech))
        self._forget(hop)
        return self._take_news(hop.until, hop.arrived_at)

    def end(self) -> list[Event]:
        """The last events, once the last hop is concluded: every turn becomes final."""
        self._finalise(float("inf"))
        if self._seconds > self._chunks * CHUNK_SECONDS:
            self._close_chunk()
        self._tell(SessionEnded())
        return self._take_news(self._seconds, self._arrived_at)

    def correct(self, correction: Correction) -> list[Event]:
        """The events of a correction, between two hops; `hops` tells after which it took effect.

        Raises `UnknownSpeaker` or `ValueError` where it makes no sense, and nothing has changed then.
        """
        match correction:
            case Naming():
                check_speaker(self._memory.speakers, correction.speaker)
                self._names.give(correction.speaker)
                self._memory.vouched.add(correction.speaker)
                self._tell(SpeakerNamed(speaker=correction.speaker, name=correction.name))
            case Merging():
                check_merge(self._memory.speakers, correction)
                self._memory.join(correction.kept, correction.merged)
                self._join(correction.kept, correction.merged)
                self._revise(list(chain(*self._told())))
            case Telling():
                self._learn(correction)
        self.corrected += 1
        return self._take_news(self._hops * HOP_SECONDS, self._arrived_at)

    def question(self) -> Question | None:
        """What another diariser has not been asked yet, once a chunk is closed or the recording is over."""
        until = self._chunks * CHUNK_SECONDS if self._recorded is None else self._seconds
        since = max(self._told_until, until - REQUEST_SECONDS + REPEATED_SECONDS, self._tail.start / SAMPLE_RATE)
        if since >= until:
            return None
        start = max(self._tail.start, round((since - REPEATED_SECONDS) * SAMPLE_RATE))
        return Question(self._tail.between(start, round(until * SAMPLE_RATE)).copy(), start, since, until)

    def pack(self) -> bytes:
        """Everything needed to go on elsewhere; call it between hops."""
        return snapshot.pack(
            {
                "format": FORMAT,
                "next_frame": self.next_frame,
                "corrected": self.corrected,
                "tail": self._tail.pcm,
                "tail_start": self._tail.start,
                "hops": self._hops,
                "speech": asdict(self._diariser.speech),
                "cut": self._diariser.cut,
                "memory": self._memory.pack(),
                "voiceprints": version(),
                "timeline": self._timeline.model_dump_json(),
                "published": [turn.model_dump() for turn in self._published.values()],
                "read_until": self._read_until,
                "model": self._head.version,
                **self._baselines.pack(),
                "chunks": self._chunks,
                **self._names.pack(),
                "told_until": self._told_until,
                "arrived_at": self._arrived_at,
            }
        )

    @classmethod
    def unpack(
        cls,
        data: bytes,
        head: EmotionHead,
        expected: Expected = ANYBODY,
        voices: Sequence[Voice] = (),
        tail: float = TAIL_SECONDS,
    ) -> Conversation:
        """The conversation that was packed. Raises `ValueError` for another format.

        Where another encoder made its voiceprints, or another emotion model its embeddings, it goes on without those.
        """
        state = snapshot.unpack(data)
        if state.get("format") != FORMAT:
            raise ValueError(f"a snapshot of format {state.get('format')!r}; this version reads format {FORMAT}")
        conversation = cls(head, expected, voices, tail)
        conversation.next_frame = state["next_frame"]
        conversation.corrected = state["corrected"]
        conversation._tail = Tail(state["tail"], state["tail_start"])
        conversation._hops = state["hops"]
        conversation._diariser = DiariserState(SpeechState(**state["speech"]), state["cut"])
        conversation._memory = SpeakerMemory.unpack(state["memory"], conversation._memory.expected)
        if state.get("voiceprints") != version():  # they cannot be compared, and may be of another length
            conversation._memory.forget_voices()
            conversation.estranged = bool(conversation._memory.former)
        conversation._timeline = Timeline.model_validate_json(state["timeline"])
        conversation._published = {row["id"]: Turn(**row) for row in state["published"]}
        conversation._read_until = state["read_until"]
        if state["model"] == head.version:  # another model's embeddings mean nothing to this one
            conversation._baselines.unpack(state)
        conversation._chunks = state["chunks"]
        conversation._names.unpack(state)
        conversation._told_until = state["told_until"]
        conversation._arrived_at = state["arrived_at"]
        return conversation

    @property
    def _seconds(self) -> float:
        """What was recorded so far; the silence that fills up the last hop never was."""
        return (self.samples if self._recorded is None else self._recorded) / SAMPLE_RATE

    def _join(self, kept: int, merged: int) -> None:
        """Two speakers are one from now on."""
        self._names.join(kept, merged, self._timeline.names)
        self._tell(SpeakersMerged(kept=kept, merged=merged))
        self._baselines.join(kept, merged)
        self._published = {
            turn.id: turn.model_copy(update={"speaker": kept}) if turn.speaker == merged else turn
            for turn in self._published.values()
        }

    def _told(self) -> tuple[list[Turn], list[Turn]]:
        """The turns that may still change and what is said beneath them, none of it longer than the recording."""
        turns, beneath = self._memory.told()
        return self._within(turns), self._within(beneath)

    def _within(self, turns: Sequence[Turn]) -> list[Turn]:
        seconds = self._seconds
        begun = (turn for turn in turns if turn.start < seconds)
        return [turn if turn.end <= seconds else turn.model_copy(update={"end": seconds}) for turn in begun]

    def _learn(self, telling: Telling) -> None:
        """Another diariser's words say who spoke."""
        speakers = self._memory.tell(telling.words, telling.since, telling.until)
        self._revise(list(chain(*self._told())))
        said = [
            Word(start=word.start, end=word.end, text=word.text, speaker=speakers.get(word.tag))
            for word in telling.words
            if telling.since <= (word.start + word.end) / 2 < telling.until
        ]
        if said:
            self._tell(WordsHeard(since=telling.since, until=telling.until, words=tuple(said)))
        self._told_until = max(self._told_until, telling.until)

    def _revise(self, turns: Sequence[Turn]) -> None:
        """Tell what is different from what was published."""
        known, self._published = self._published, {turn.id: turn for turn in turns}
        for event in revisions(known, turns):
            self._tell(event)

    def _finalise(self, instant: float) -> None:
        """Make the turns final that ended before an instant."""
        if all(turn.end >= instant for turn in self._published.values()):
            return
        turns, beneath = self._told()
        for turn, following in zip_longest(turns, turns[1:]):
            if turn.end >= instant:
                break
            next_id = following.id if following else inf
            self._memory.retire(turn, following)
            readings = [reading for reading in self._timeline.readings if reading.turn == turn.id]
            self._baselines.finish(turn.speaker, readings)
            for done in (turn, *(second for second in beneath if turn.id < second.id < next_id)):
                self._published.pop(done.id, None)
                self._tell(TurnUpdated(turn=done.model_copy(update={"final": True})))

    def _reading(self, fragment: Fragment, embedding: NDArray[np.float32]) -> EmotionReading:
        heard, span = fragment.end - fragment.heard_from, (fragment.start, fragment.end)
        speaker = self._timeline.turns[fragment.turn].speaker
        # Within a turn, a mood is to be heard and not got used to.
        earlier = [reading for reading in self._timeline.readings_of(speaker) if reading.turn != fragment.turn]
        baseline = self._baselines.of(speaker, earlier)
        reading = self._head.reading(fragment.turn, span, heard, embedding, baseline, "causal")
        return reading.as_mixed() if self._mixed(reading, self._memory.overlaps()) else reading

    @property
    def _known_until(self) -> float:
        """Seconds up to which it is known where two talk at once: speech that goes on is read before it is a unit."""
        return self._diariser.cut / SAMPLE_RATE if self._memory.going_on else inf

    def _mixed(self, reading: EmotionReading, overlaps: Sequence[tuple[float, float]]) -> bool:
        span, heard = (reading.start, reading.end), (reading.end - reading.heard, reading.end)
        return talked_over(span, heard, overlaps, self._known_until)

    def _look_again(self, known_until: float) -> None:
        """Tell anew what was read of speech after so many seconds, where more is known by now of who talks in it."""
        if known_until == inf:
            return
        overlaps = self._memory.overlaps()
        for reading in [reading for reading in self._timeline.readings if reading.end > known_until]:
            if self._mixed(reading, overlaps) != reading.mixed:
                self._tell(EmotionRead(reading=self._head.unmixed(reading) if reading.mixed else reading.as_mixed()))

    def _close_chunk(self) -> None:
        self._tell(ChunkClosed(number=self._chunks, speakers=self._timeline.chunk(self._chunks)))
        self._chunks += 1

    def _tell(self, event: Event) -> None:
        event.apply(self._timeline)
        self._news.append(event)

    def _take_news(self, heard_until: float, arrived_at: float) -> list[Event]:
        news, self._news = self._news, []
        stamp = {"heard_until": min(heard_until, self._seconds), "arrived_at": arrived_at}
        return [event.model_copy(update=stamp) for event in news]

    def _forget(self, hop: Hop) -> None:
        changing = min((turn.start for turn in self._published.values()), default=hop.until)
        self._timeline.forget_before(min(hop.until - ACTIVE_SECONDS, self._chunks * CHUNK_SECONDS, changing))
        self._baselines.forget_before(hop.until - ACTIVE_SECONDS - LONGEST_TURN / SAMPLE_RATE)
        self._tail.forget_before(hop.end - self._keeps)
