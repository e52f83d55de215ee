"""How it sounds: the turns of a recording cut into passages, and a reading for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import msgpack
import numpy as np
from numpy.typing import NDArray

from pipeline.baseline import SpeakerBaseline
from pipeline.emotion import EmotionHead
from pipeline.fragments import LONGEST, SHORTEST, Stretch, talked_over
from pipeline.hearing import DIARISING_SHARE, READING, Ears, Embedding, Listening, Progress, in_order
from pipeline.sound import Pcm, Sound
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE, EmotionReading, Turn

BATCH: Final = 16  # fragments in one call of the emotion model


@dataclass(frozen=True, slots=True)
class Passage:
    """The stretch [start, end) of a turn that one reading stands for, and what is heard of the turn for it."""

    turn: Turn
    start: float
    end: float
    heard_from: float
    heard_until: float


def readings(
    sound: Sound, turns: Sequence[Turn], overlaps: Sequence[Stretch], ears: Ears, head: EmotionHead, how: Listening
) -> Iterator[EmotionReading]:
    """How the turns sound, in the order of the turns and then of time; see `pipeline.recording.read`."""
    passages = [passage for turn in turns if not turn.second_voice for passage in _passages(turn)]
    heard = _embeddings(sound, passages, ears, how)
    mixed = [talked_over((p.start, p.end), (p.heard_from, p.heard_until), overlaps) for p in passages]
    known = _baselines(passages, heard, mixed, head.size)
    for p, embedding, withheld in zip(passages, heard, mixed, strict=True):
        span, seconds = (p.start, p.end), p.heard_until - p.heard_from
        reading = head.reading(p.turn.id, span, seconds, embedding, known[p.turn.id], "full")
        yield reading.as_mixed() if withheld else reading


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


Excerpt = tuple[int, float, float]  # track and seconds: what is heard for a passage


def _embeddings(sound: Sound, passages: Sequence[Passage], ears: Ears, how: Listening) -> list[Embedding]:
    """An embedding for each passage; those that hear the same, as in a short turn, are heard once."""
    excerpts: list[Excerpt] = [
        (p.turn.speaker - 1 if how.channels else 0, p.heard_from, p.heard_until) for p in passages
    ]
    fresh = dict.fromkeys(excerpts)
    batches = list(_batches(fresh))

    def sounds() -> Iterator[tuple[str, list[Pcm] | None]]:
        for key, batch in batches:
            if how.notes.get(key) is not None:
                yield key, None
                continue
            yield key, [sound.read(t, round(a * SAMPLE_RATE), round(b * SAMPLE_RATE)) for t, a, b in batch]

    def embed(item: tuple[str, list[Pcm] | None]) -> NDArray[np.float32]:
        key, fragments = item
        if fragments is None and (noted := how.notes.get(key)) is not None:
            return _unpack_embeddings(noted)
        embeddings = np.stack([np.asarray(one, np.float32) for one in ears.embed(fragments or [])])
        how.notes.put(key, _pack_embeddings(embeddings))
        return embeddings

    known: dict[Excerpt, Embedding] = {}
    with closing(in_order(embed, sounds(), ears.at_once)) as heard:
        for (_, batch), answers in zip(batches, heard, strict=True):
            known |= zip(batch, answers, strict=True)
            share = DIARISING_SHARE + (1 - DIARISING_SHARE) * len(known) / len(fresh)
            how.on_progress(Progress(READING, round(min(batch[-1][2], sound.seconds), 3), min(share, 1.0)))
    how.on_progress(Progress(READING, sound.seconds, 1.0))
    return [known[excerpt] for excerpt in excerpts]


def _batches(excerpts: Iterable[Excerpt]) -> Iterator[tuple[str, list[Excerpt]]]:
    """So many as the model hears at once, each batch with a name that tells its excerpts."""
    waiting = list(excerpts)
    for first in range(0, len(waiting), BATCH):
        batch = waiting[first : first + BATCH]
        track, since, _ = batch[0]
        yield f"embeddings-{first}-{track}-{since}-{batch[-1][2]}", batch


def _pack_embeddings(embeddings: NDArray[np.float32]) -> bytes:
    return bytes(msgpack.packb((embeddings.shape, embeddings.tobytes())))


def _unpack_embeddings(data: bytes) -> NDArray[np.float32]:
    shape, values = msgpack.unpackb(data)
    return np.frombuffer(values, np.float32).reshape(shape)


def _baselines(
    passages: Sequence[Passage], embeddings: Sequence[Embedding], mixed: Sequence[bool], size: int
) -> dict[int, SpeakerBaseline]:
    """For each turn, by its id, how its speaker sounds in all others: its own mood is to be heard, not got used to.

    Where two talk at once, as `mixed` says of each passage, nothing is learnt of either.
    """
    of_turn: dict[int, SpeakerBaseline] = {}
    of_speaker: dict[int, list[int]] = {}
    for passage, embedding, withheld in zip(passages, embeddings, mixed, strict=True):
        turn = passage.turn
        if turn.id not in of_turn:
            of_speaker.setdefault(turn.speaker, []).append(turn.id)
        weight = 0.0 if withheld else passage.end - passage.start
        said = SpeakerBaseline.of(embedding[None], np.array([weight]))
        of_turn[turn.id] = of_turn.get(turn.id, SpeakerBaseline.unknown(size)) + said
    others: dict[int, SpeakerBaseline] = {}
    for turns in of_speaker.values():
        nothing = SpeakerBaseline.unknown(size)
        before = accumulate((of_turn[turn] for turn in turns), initial=nothing)
        after = list(accumulate((of_turn[turn] for turn in reversed(turns)), initial=nothing))[-2::-1]
        others |= {turn: earlier + later for turn, earlier, later in zip(turns, before, after, strict=False)}
    return others
