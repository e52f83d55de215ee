"""A whole recording heard at once, with the parts that hear a conversation live and none of its hurry.

    timeline = hear(audio, LocalDiariser(), EmotionModel.load(), EmotionHead.load())

Three things are better when nobody waits. Every voiceprint takes part in telling the speakers apart, not only those
of the last three minutes. A reading may hear what comes after it in its turn, too. And it is set against
everything else that its speaker says in the recording, later turns included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import ANYBODY, SpeakerMemory
from pipeline.baseline import SpeakerBaseline
from pipeline.diarisation import Diariser, DiariserState, Stretch, Unit
from pipeline.diarisation.local import REACH_SECONDS
from pipeline.emotion import EmotionHead
from pipeline.fragments import LONGEST, MIXED_SHARE, SHORTEST
from pipeline.session import Expected
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE, EmotionReading, Timeline, Turn

STRETCH: Final = 10 * SAMPLE_RATE  # samples that the diariser hears at a time: long enough to fill its batches
SILENCE: Final = SAMPLE_RATE // 2  # samples put after the recording, in which whatever is being said ends
BATCH: Final = 16  # fragments in one call of the emotion model
DIARISING, READING = "who speaks", "how it sounds"

Progress = Callable[[str, float], None]


class Embedder(Protocol):
    """What hears fragments; `pipeline.emotion.EmotionModel` is one."""

    def embed(self, fragments: Sequence[NDArray[np.int16]]) -> Sequence[NDArray[np.float32]]:
        """An embedding, float32 (size,), of each fragment, int16 (n,) at 16 kHz."""
        ...


@dataclass(frozen=True, slots=True)
class Passage:
    """The stretch [start, end) of a turn that one reading stands for, and what is heard of the turn for it."""

    turn: Turn
    start: float
    end: float
    heard_from: float
    heard_until: float


def _ignore(step: str, share: float) -> None:
    """Nobody asks how far it is."""


def hear(
    audio: NDArray[np.int16],
    diariser: Diariser,
    model: Embedder,
    head: EmotionHead,
    on_progress: Progress = _ignore,
    expected: Expected = ANYBODY,
) -> Timeline:
    """The timeline of a recording, int16 (n,), mono at 16 kHz. It has ended, and every turn in it is final.

    The same sound gives the same timeline.
    `expected`: how many people talk, where somebody knows.
    `on_progress` is told the step, `DIARISING` and then `READING`, and the share of it that is done, up to 1.

    Time goes with the recording's length, and so does memory, but for the clustering of the voiceprints: its memory
    and time grow with the square of the speech. An hour takes some 0.4 GB and a few seconds.
    """
    seconds = len(audio) / SAMPLE_RATE
    turns = turns_of(audio, diariser, on_progress, expected)
    readings = read(audio, turns, model, head, on_progress)
    return Timeline(turns={turn.id: turn for turn in turns}, readings=readings, heard_until=seconds, ended=True)


def turns_of(
    audio: NDArray[np.int16], diariser: Diariser, on_progress: Progress = _ignore, expected: Expected = ANYBODY
) -> list[Turn]:
    """Who speaks when in a recording, int16 (n,), mono at 16 kHz: its turns, all of them final, in order of time."""
    return _turns(_units(audio, diariser, on_progress), len(audio) / SAMPLE_RATE, expected)


def read(
    audio: NDArray[np.int16],
    turns: Sequence[Turn],
    model: Embedder,
    head: EmotionHead,
    on_progress: Progress = _ignore,
) -> list[EmotionReading]:
    """How the turns of a recording sound, in the order of the turns and then of time.

    A reading stands for about half a second, and those of a turn cover it without a hole. Each is set against all
    other turns of its speaker; where there are none, it is heard alone. Turns below `fragments.SHORTEST` have no
    readings: they tell next to nothing.
    """
    beneath = [turn for turn in turns if turn.second_voice]
    passages = [passage for turn in turns if not turn.second_voice for passage in _passages(turn)]
    heard = _embeddings(audio, passages, model, on_progress)
    known = _baselines(passages, heard, head.size)
    readings = [
        head.reading(p.turn.id, (p.start, p.end), p.heard_until - p.heard_from, embedding, known[p.turn.id], "full")
        for p, embedding in zip(passages, heard, strict=True)
    ]
    return [reading.as_mixed() if _mixed(reading, beneath) else reading for reading in readings]


def _units(audio: NDArray[np.int16], diariser: Diariser, on_progress: Progress) -> list[Unit]:
    """All units of speech in the recording, in order of time."""
    padded = np.concatenate([audio, np.zeros(SILENCE, np.int16)])
    reach = round(REACH_SECONDS * SAMPLE_RATE)
    units: list[Unit] = []
    state = DiariserState()
    for begin in range(0, len(padded), STRETCH):
        end = min(begin + STRETCH, len(padded))
        start = max(0, begin - reach)
        (observation,) = diariser.observe([Stretch(padded[start:end], start, state)])
        units += observation.units
        state = observation.state
        on_progress(DIARISING, end / len(padded))
    return units


def _turns(units: Sequence[Unit], seconds: float, expected: Expected) -> list[Turn]:
    """The turns, final and none of them longer than the recording, with all voices told apart at once."""
    memory = SpeakerMemory(expected)
    memory.learn(units)
    heard = sorted([*memory.turns(), *memory.second_voices()], key=lambda turn: turn.start)
    turns = [turn for turn in heard if turn.start < seconds]
    return [turn.model_copy(update={"end": min(turn.end, seconds), "final": True}) for turn in turns]


def _mixed(reading: EmotionReading, beneath: Sequence[Turn]) -> bool:
    """Whether another talks beneath most of what a reading stands for."""
    together = sum(turn.overlap(reading.start, reading.end) for turn in beneath)
    return together >= MIXED_SHARE * reading.duration


def _passages(turn: Turn) -> Iterator[Passage]:
    """The turn in equal steps of about a hop, each heard with as much of the turn on both sides of it."""
    if turn.duration < SHORTEST - 1e-6:
        return
    steps = max(1, round(turn.duration / HOP_SECONDS))
    inner = np.round(np.linspace(turn.start, turn.end, steps + 1)[1:-1], 3).tolist()
    for start, end in pairwise([turn.start, *inner, turn.end]):
        heard_from = min((start + end - LONGEST) / 2, turn.end - LONGEST)
        heard_from = round(max(heard_from, turn.start), 3)
        yield Passage(turn, start, end, heard_from, min(turn.end, heard_from + LONGEST))


def _embeddings(
    audio: NDArray[np.int16], passages: Sequence[Passage], model: Embedder, on_progress: Progress
) -> list[NDArray[np.float32]]:
    """An embedding for each passage; those that hear the same, as in a short turn, are heard once."""
    spans = [(passage.heard_from, passage.heard_until) for passage in passages]
    fresh = list(dict.fromkeys(spans))
    known: dict[tuple[float, float], NDArray[np.float32]] = {}
    for first in range(0, len(fresh), BATCH):
        batch = fresh[first : first + BATCH]
        sounds = [audio[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)] for begin, end in batch]
        known |= zip(batch, model.embed(sounds), strict=True)
        on_progress(READING, len(known) / len(fresh))
    return [known[span] for span in spans]


def _baselines(
    passages: Sequence[Passage], embeddings: Sequence[NDArray[np.float32]], size: int
) -> dict[int, SpeakerBaseline]:
    """For each turn, by its id, how its speaker sounds in all others: its own mood is to be heard, not got used to."""
    of_turn: dict[int, SpeakerBaseline] = {}
    of_speaker: dict[int, list[int]] = {}
    for passage, embedding in zip(passages, embeddings, strict=True):
        turn = passage.turn
        if turn.id not in of_turn:
            of_speaker.setdefault(turn.speaker, []).append(turn.id)
        said = SpeakerBaseline.of(embedding[None], np.array([passage.end - passage.start]))
        of_turn[turn.id] = of_turn.get(turn.id, SpeakerBaseline.unknown(size)) + said
    others: dict[int, SpeakerBaseline] = {}
    for turns in of_speaker.values():
        nothing = SpeakerBaseline.unknown(size)
        before = accumulate((of_turn[turn] for turn in turns), initial=nothing)
        after = list(accumulate((of_turn[turn] for turn in reversed(turns)), initial=nothing))[-2::-1]
        others |= {turn: earlier + later for turn, earlier, later in zip(turns, before, after, strict=False)}
    return others
