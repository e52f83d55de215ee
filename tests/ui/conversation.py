"""A scripted conversation of three people, the same in every run: what a backend would publish, hop by hop."""

from __future__ import annotations

import random
from collections.abc import Iterator

from pipeline.events import EmotionRead, Event, HopHeard, SessionEnded, SpeakersMerged, TurnRevised, TurnUpdated
from pipeline.timeline import EMOTIONS, HOP_SECONDS, UNSURE, EmotionReading, Turn

VALENCE = dict(zip(EMOTIONS, (-0.7, 0.5, -0.6, -0.7, 0.8, 0.0, -0.7, 0.2), strict=True))
AROUSAL = dict(zip(EMOTIONS, (0.8, -0.6, 0.2, 0.6, 0.6, -0.1, -0.5, 0.8), strict=True))
MOODS = {
    1: ("neutral", "sad", "sad", "fear", "sad", "angry", "neutral"),
    2: ("calm", "neutral", "calm", "happy", "calm", "surprise"),
    3: ("neutral", "", "surprise", "happy", "disgust"),
}
STRANGER = 4  # heard once and then understood to have been speaker 2
LAST_MERGE = 40.0


def reading(turn: int, start: float, end: float, mood: str, chance: random.Random) -> EmotionReading:
    """A reading with most of its weight on a mood; an empty mood is unsure."""
    weights = {emotion: 0.25 + chance.random() for emotion in EMOTIONS}
    if mood:
        weights[mood] += 4 + 12 * chance.random()
    total = sum(weights.values())
    probabilities = tuple(weights[emotion] / total for emotion in EMOTIONS)
    top = max(EMOTIONS, key=lambda emotion: weights[emotion])
    return EmotionReading(
        start=start,
        end=end,
        turn=turn,
        probabilities=probabilities,
        label=top if max(probabilities) > 0.32 else UNSURE,
        valence=sum(p * VALENCE[e] for p, e in zip(probabilities, EMOTIONS, strict=True)),
        arousal=sum(p * AROUSAL[e] for p, e in zip(probabilities, EMOTIONS, strict=True)),
        heard=min(4.0, end),
        model="scripted",
    )


def turns(seconds: float) -> list[Turn]:
    """Who speaks when: mostly two people, now and then a third, with pauses."""
    chance = random.Random(7)
    spoken: list[Turn] = []
    at, speaker = 1.0, 2
    while at < seconds:
        end = round((at + 3 + 9 * chance.random()) / HOP_SECONDS) * HOP_SECONDS
        spoken.append(Turn(id=len(spoken), speaker=speaker, start=at, end=end, final=True))
        at = end + chance.choice((0.0, 0.5, 1.0, 2.0))
        speaker = 3 if chance.random() < 0.18 else (1 if speaker != 1 else 2)
    return [turn for turn in spoken if turn.end <= seconds]


def hops(seconds: float) -> Iterator[list[Event]]:
    """The events of each hop in order. Around 40 s a fourth voice turns out to be the second, and a turn moves."""
    chance = random.Random(11)
    script = turns(seconds)
    for number in range(int(seconds / HOP_SECONDS)):
        start, now = number * HOP_SECONDS, (number + 1) * HOP_SECONDS
        events: list[Event] = []
        for turn in script:
            if not (turn.start < now <= turn.end):
                continue
            as_heard = STRANGER if turn.speaker == 2 and 25 < turn.start < LAST_MERGE else turn.speaker
            grown = Turn(id=turn.id, speaker=as_heard, start=turn.start, end=now, final=now == turn.end)
            events.append(TurnUpdated(heard_until=now, turn=grown))
            mood = MOODS[turn.speaker][int(start / 4) % len(MOODS[turn.speaker])]
            if now - turn.start >= 1.0:
                begins = turn.start if now - turn.start == 1.0 else start
                events.append(EmotionRead(heard_until=now, reading=reading(turn.id, begins, now, mood, chance)))
        if now == LAST_MERGE + 2:
            events.append(SpeakersMerged(heard_until=now, kept=2, merged=STRANGER))
        if now == LAST_MERGE + 4:
            first = script[0]
            events.append(TurnRevised(heard_until=now, removed=(first.id,), turns=(first,)))
        speech = any(isinstance(event, TurnUpdated) for event in events)
        events.append(HopHeard(heard_until=now, speech=speech))
        yield events


def ended(seconds: float) -> SessionEnded:
    """What closes the stream."""
    return SessionEnded(heard_until=seconds)
