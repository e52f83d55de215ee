"""Tagged words: what a diariser says that tells the voices of one request apart, and not those of another.

    speakers = speakers_of(words, turns, likeness, before=chunk_start, speakers=everyone)
    corrected = [(told, speakers[told.tag]) for told in turns_of(words, chunk_start, chunk_end)]

Times are seconds of the conversation.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pipeline.matching import best_pairs
from pipeline.timeline import Turn

REPEATED_SECONDS: Final = 15.0  # of the chunk before, heard again: long enough to hear most of those who take part
REQUEST_SECONDS: Final = 60.0  # that a request may hold at most
SHARED: Final = 0.3  # s that a tag and a speaker must share: neighbours share less, where words and turns end unevenly
LIKENESS: Final = 0.3  # cosine from which two voiceprints are one voice: with 5 s of speech, read or acted, 1 in 30 is
# then mistaken for a given other one; more would part moods of one voice
PAUSE: Final = 0.35  # s of silence that one voice's turn may hold; between two steps of Google's, often of 0.1 s


@dataclass(frozen=True, slots=True)
class TaggedWord:
    """A word, when it was said, and the tag (1 and up) of the voice that said it."""

    start: float
    end: float
    text: str
    tag: int


@dataclass(frozen=True, slots=True)
class Told:
    """What one voice said with no other's word between."""

    start: float
    end: float
    tag: int

    def apart(self, start: float, end: float) -> float:
        """Seconds between it and the stretch [start, end); below 0 where they overlap, the more the longer."""
        return max(self.start - end, start - self.end)


def speakers_of(
    words: Sequence[TaggedWord],
    known: Sequence[Turn],
    likeness: Callable[[int, int], float],
    *,
    before: float = math.inf,
    speakers: Iterable[int] = (),
) -> dict[int, int | None]:
    """Which known speaker each tag is; None is somebody new. No two tags are the same speaker.

    First a tag is the speaker in whose turns its words lie: the assignment, one to one, that shares the most seconds
    in all (Kuhn 1955, "The Hungarian method"), of pairs that share SHARED or more. Tags that nobody's turns explain
    are then assigned in the same way to the speakers left over, by `likeness`, of pairs with LIKENESS or more.

    `known` are turns whose speakers are settled; only what lies before the instant `before`, where the chunk begins
    that is new, counts. `likeness(tag, speaker)` is the cosine of their voiceprints; -1 where there is none.
    `speakers` are those known from before `known`.
    """
    shared: defaultdict[tuple[int, int], float] = defaultdict(float)
    recent = [turn for turn in known if words and turn.overlap(words[0].start, before) > 0]
    for word in words:
        for turn in recent:
            shared[word.tag, turn.speaker] += turn.overlap(word.start, min(word.end, before))
    tags = list(dict.fromkeys(word.tag for word in words))  # as they come: their numbers are to change nothing
    found = _matched(tags, sorted({turn.speaker for turn in recent}), lambda *pair: shared[pair], SHARED)
    left = [tag for tag in tags if tag not in found]
    free = {*speakers, *(turn.speaker for turn in known)} - set(found.values())
    found |= _matched(left, sorted(free), likeness, LIKENESS)
    return {tag: found.get(tag) for tag in tags}


def turns_of(words: Iterable[TaggedWord], since: float, until: float, pause: float = PAUSE) -> list[Told]:
    """The runs of one tag's words in [since, until), with pauses up to `pause` seconds bridged.

    A word across either end belongs to the side on which its middle lies, and is cut there.
    """
    runs: list[Told] = []
    for word in words:
        if not since <= (word.start + word.end) / 2 < until:
            continue
        start, end = max(word.start, since), min(word.end, until)
        if runs and runs[-1].tag == word.tag and start - runs[-1].end <= pause:
            runs[-1] = replace(runs[-1], end=max(runs[-1].end, end))
        else:
            runs.append(Told(start, end, word.tag))
    return [run for run in runs if run.end > run.start]


def _matched(
    tags: Sequence[int], speakers: Sequence[int], worth: Callable[[int, int], float], least: float
) -> dict[int, int]:
    """Speakers by tag: the one-to-one pairs of the greatest worth in all, of pairs that are worth `least` or more."""
    matrix = np.array([[worth(tag, speaker) for speaker in speakers] for tag in tags]).reshape(len(tags), len(speakers))
    return {tags[i]: speakers[j] for i, j in best_pairs(np.where(matrix >= least, matrix, 0.0))}
