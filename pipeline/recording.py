"""A whole recording heard at once, with the parts that hear a conversation live and none of its hurry.

    with Sound(decode(path)) as sound:
        timeline = hear(sound, ears_here(LocalDiariser(), EmotionModel.load()), EmotionHead.load())

Three things are better when nobody waits. Every voiceprint takes part in telling the speakers apart, not only those
of the last three minutes. A reading may hear what comes after it in its turn, too. And it is set against
everything else that its speaker says in the recording, later turns included.

Who speaks is heard while the sound is still being decoded (`pipeline.segments`), how it sounds once the turns are known
(`pipeline.passages`), both wherever the ears are (`pipeline.hearing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import ANYBODY, SpeakerMemory
from pipeline.conversation import Question
from pipeline.diarisation import Diariser, Unit
from pipeline.emotion import EmotionHead
from pipeline.events import (
    EmotionRead,
    Event,
    SessionEnded,
    SessionStarted,
    SpeakerNamed,
    TurnUpdated,
    Warned,
    WordsHeard,
)
from pipeline.hearing import PLAINLY, Consult, Ears, Embedder, Listening, OnProgress, ignore
from pipeline.naming import Names
from pipeline.passages import readings
from pipeline.segments import units_by_track, units_of
from pipeline.session import Expected
from pipeline.sound import Pcm, Sound
from pipeline.timeline import CHUNK_SECONDS, SAMPLE_RATE, EmotionReading, Timeline, Turn, Word
from pipeline.turns import overlaps_of

PIECE: Final = 200  # turns or readings that are told at a time: a long recording comes in many small pieces
QUESTION_LEAD: Final = 15.0  # s before a chunk that another diariser hears with it, to know the voices again

Item = TypeVar("Item")


@dataclass(frozen=True)
class Heard:
    """What there is to know of a recording of so many seconds. The readings come as they are asked for, once.

    `names`: of speakers whose voices are enrolled.
    """

    seconds: float
    turns: list[Turn]
    words: list[Word]
    readings: Iterator[EmotionReading]
    names: Sequence[SpeakerNamed] = ()

    def timeline(self) -> Timeline:
        """All of it; it has ended, and every turn in it is final."""
        turns = {turn.id: turn for turn in self.turns}
        names = {named.speaker: named.name for named in self.names}
        readings, until = list(self.readings), self.seconds
        return Timeline(turns=turns, readings=readings, names=names, words=self.words, heard_until=until, ended=True)

    def told(self, purpose: str, warned: Sequence[Warned] = ()) -> Iterator[list[Event]]:
        """The same, once, as the events that a live session would have told in the end, so many at a time.

        `warned`: what went less well while it was heard.
        """
        yield [SessionStarted(purpose=purpose)]
        for turns in _by(PIECE, self.turns):
            yield [TurnUpdated(turn=turn) for turn in turns]
        for piece in _by(PIECE, self.readings):
            yield [EmotionRead(reading=reading) for reading in piece]
        if self.words:
            yield [WordsHeard(since=0.0, until=self.seconds, words=tuple(self.words))]
        # No piece of their own: where a voice is erased before this is told anew, all others must keep their numbers.
        yield [*warned, *self.names, SessionEnded(heard_until=self.seconds)]


def hear(sound: Sound, ears: Ears, head: EmotionHead, how: Listening = PLAINLY) -> Timeline:
    """The timeline of a recording. The same sound gives the same timeline, wherever the ears are.

    Time goes with the recording's length. Memory does not, but for the voiceprints, turns and readings.
    """
    return listen(sound, ears, head, how).timeline()


def listen(sound: Sound, ears: Ears, head: EmotionHead, how: Listening = PLAINLY) -> Heard:
    """The same, with readings that come one by one, for whom a long recording's are too many to hold."""
    units = units_by_track(sound, ears, how)
    spoken = _spoken_by_channel(units, sound) if how.channels else _spoken(units[0], sound, how)
    names = list(Names(how.known()).recognise(spoken.voices, {}))
    overlaps = [] if how.channels else overlaps_of(units[0])  # nobody else is meant to be heard on a channel
    told = readings(sound, spoken.turns, overlaps, ears, head, how)
    return Heard(sound.seconds, spoken.turns, spoken.words, told, names)


def turns_of(
    audio: Pcm, diariser: Diariser, on_progress: OnProgress = ignore, expected: Expected = ANYBODY
) -> list[Turn]:
    """Who speaks when in a recording, int16 (n,), mono at 16 kHz: its turns, all of them final, in order of time."""
    how = Listening(expected=expected, on_progress=on_progress)
    ears = Ears(lambda segment: units_of(diariser, segment), lambda fragments: [])
    with Sound([audio]) as sound:
        return _spoken(units_by_track(sound, ears, how)[0], sound, how).turns


def read(audio: Pcm, turns: Sequence[Turn], model: Embedder, head: EmotionHead) -> list[EmotionReading]:
    """How the turns of a recording, int16 (n,), sound, in the order of the turns and then of time.

    A reading stands for about half a second, and those of a turn cover it without a hole. Each is set against all
    other turns of its speaker; where there are none, it is heard alone. Turns below `fragments.SHORTEST` have no
    readings: they tell next to nothing. Two talk at once where one turn lies beneath another.
    """
    beneath = [(turn.start, turn.end) for turn in turns if turn.second_voice]
    ears = Ears(lambda segment: [], model.embed)
    with Sound([audio]) as sound:
        return list(readings(sound, turns, beneath, ears, head, PLAINLY))


class _Spoken(NamedTuple):
    """Who spoke when, with final turns that all end within the recording, and what.

    `voices`: for each speaker the sum (SIZE,) of the voiceprints of what they said, each times its seconds.
    """

    turns: list[Turn]
    words: list[Word]
    voices: dict[int, NDArray[np.float32]]


def _spoken(units: Sequence[Unit], sound: Sound, how: Listening) -> _Spoken:
    """What one track holds, with all voices told apart at once."""
    memory = SpeakerMemory(how.expected)
    memory.learn(units)
    words = list(_consulted(memory, sound, how.consult)) if how.consult else []
    heard = sorted(chain(*memory.told()), key=lambda turn: turn.start)
    return _Spoken(_final(heard, sound.seconds), words, memory.voices())


def _consulted(memory: SpeakerMemory, sound: Sound, consult: Consult) -> Iterator[Word]:
    """Let another diariser say who spoke, chunk by chunk; the words that it heard."""
    for until in np.append(np.arange(CHUNK_SECONDS, sound.seconds, CHUNK_SECONDS), sound.seconds).tolist():
        since = max(0.0, (np.ceil(until / CHUNK_SECONDS) - 1) * CHUNK_SECONDS)
        start = round(max(0.0, since - QUESTION_LEAD) * SAMPLE_RATE)
        audio = sound.read(0, start, round(until * SAMPLE_RATE))
        telling = consult(Question(audio, start, since, until))
        speakers = memory.tell(telling.words, since, until)
        for word in telling.words:
            if since <= (word.start + word.end) / 2 < until:
                yield Word(start=word.start, end=word.end, text=word.text, speaker=speakers.get(word.tag))


def _spoken_by_channel(tracks: Sequence[Sequence[Unit]], sound: Sound) -> _Spoken:
    """What is said where each track is one speaker, numbered as the tracks are; turns' ids count through all."""
    found: list[Turn] = []
    voices: dict[int, NDArray[np.float32]] = {}
    for number, units in enumerate(tracks, 1):
        memory = SpeakerMemory(Expected(1, 1))
        memory.learn(units)
        found += [turn.model_copy(update={"speaker": number}) for turn in memory.turns()]
        if own := memory.voices():
            voices[number] = np.sum(list(own.values()), axis=0)
    found.sort(key=lambda turn: (turn.start, turn.speaker))
    turns = _final([turn.model_copy(update={"id": 2 * i}) for i, turn in enumerate(found)], sound.seconds)
    return _Spoken(turns, [], voices)


def _final(turns: Iterable[Turn], seconds: float) -> list[Turn]:
    within = (turn for turn in turns if turn.start < seconds)
    return [turn.model_copy(update={"end": min(turn.end, seconds), "final": True}) for turn in within]


def _by(size: int, items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items, so many at a time."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
