"""SpeakerMemory: who said each unit of speech, with names that stay put from hop to hop.

Every hop, the units of the last minute and a half are clustered anew, together with one anchor for each speaker
known from before; the clusters then take over the speakers with whom they share the most speech (Hungarian
assignment), so that a number never changes hands. Most online error falls in the first minute, and clustering anew
corrects it; a speaker's anchor remembers the rest of a long conversation in constant space.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations, count
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment

from pipeline.diarisation import Unit
from pipeline.timeline import SAMPLE_RATE, Turn
from pipeline.voiceprint import SIZE

ACTIVE_SECONDS: Final = 90.0  # units younger than this may still change their speaker
APART: Final = 0.66  # mean cosine distance at which two groups of voiceprints are two voices: .63 splits acted
# emotions off their speaker, .69 takes readers together; measured on simulated conversations of both, unheard voices
NEWCOMER_SECONDS: Final = 2.0  # speech that a new voice must have before it becomes a speaker
NEWCOMER_SHARE: Final = 0.1  # of all active speech, too: the longer one talks, the more one sounds unlike oneself
DISTINCT: Final = 0.2  # cosine to everyone else below which a new voice is believed ...
DISTINCT_SECONDS: Final = 1.0  # ... after this much speech already
SAME: Final = 0.3  # distance at which two known speakers turn out to be one: a merge cannot be taken back
ANCHOR_SECONDS: Final = 10.0  # weight, in speech, of what is remembered of a speaker when clusters take speakers over
TURN_PAUSE: Final = round(0.3 * SAMPLE_RATE)  # a longer pause ends a turn; shorter ones are bridged
LONGEST_TURN: Final = 30 * SAMPLE_RATE  # a monologue is cut here, so that what may still change stays small


@dataclass(frozen=True, slots=True)
class Heard:
    """A unit and its speaker; `number` counts the units of the conversation."""

    number: int
    unit: Unit
    speaker: int | None


@dataclass
class SpeakerMemory:
    """Speakers of one conversation.

    `anchors`: for each speaker the sum, float32 (SIZE,), of the voiceprints that left the active stretch, each times
    the seconds of its unit. `merged`: numbers of speakers that turned out to be somebody else; nobody gets them again.
    `faces`: under whose number a speaker is shown, where somebody has said that two are one. Their voices stay apart in
    here, for they did not sound alike, or they would have been taken for one.
    """

    heard: list[Heard] = field(default_factory=list)
    anchors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    count: int = 0
    merged: list[int] = field(default_factory=list)
    faces: dict[int, int] = field(default_factory=dict)

    @property
    def speakers(self) -> list[int]:
        """The numbers under which everyone is shown who has been heard so far."""
        return sorted({self.face(speaker) for speaker in (*self.anchors, *(h.speaker for h in self.heard)) if speaker})

    def face(self, speaker: int) -> int:
        """The number under which a speaker is shown."""
        return self.faces.get(speaker, speaker)

    def join(self, kept: int, merged: int) -> None:
        """Show all that `merged` said, and will say, under the number of `kept`."""
        shown_so = [merged, *(speaker for speaker, face in self.faces.items() if face == merged)]
        self.faces |= dict.fromkeys(shown_so, kept)

    def learn(self, units: Iterable[Unit]) -> list[tuple[int, int]]:
        """Take in the units of a hop and decide anew about all active ones.

        Returns the pairs (kept, merged) of known speakers that turned out to be one, as they are shown.
        """
        fresh = [Heard(self.count + i, unit, None) for i, unit in enumerate(units)]
        if not fresh:
            return []
        self.count += len(fresh)
        self.heard += fresh
        merged = self._merge_anchors()
        self._decide()
        return merged

    def turns(self) -> list[Turn]:
        """The active units as turns, in order of time; a turn's id is the number of its first unit."""
        runs: list[list[Heard]] = []
        for heard in self.heard:
            run = runs[-1] if runs else None
            if (
                run
                and heard.speaker is not None
                and run[-1].speaker is not None
                and self.face(heard.speaker) == self.face(run[-1].speaker)
                and heard.unit.start - run[-1].unit.end <= TURN_PAUSE
                and heard.unit.end - run[0].unit.start <= LONGEST_TURN
            ):
                run.append(heard)
            else:
                runs.append([heard])
        return [
            Turn(
                id=run[0].number,
                speaker=self.face(run[0].speaker),
                start=round(run[0].unit.start / SAMPLE_RATE, 3),
                end=round(run[-1].unit.end / SAMPLE_RATE, 3),
            )
            for run in runs
            if run[0].speaker is not None
        ]

    def retire(self, turn: Turn, following: Turn | None) -> None:
        """Let go of a turn's units, the oldest ones here: its speaker is final, its voice joins the anchor."""
        kept = (
            len(self.heard)
            if following is None
            else next(i for i, heard in enumerate(self.heard) if heard.number == following.id)
        )
        for heard in self.heard[:kept]:
            if heard.unit.voiceprint is not None and heard.speaker is not None:
                anchor = self.anchors.get(heard.speaker, np.zeros(SIZE, np.float32))
                seconds = np.float32((heard.unit.end - heard.unit.start) / SAMPLE_RATE)
                self.anchors[heard.speaker] = anchor + seconds * heard.unit.voiceprint
        self.heard = self.heard[kept:]

    def pack(self) -> dict[str, Any]:
        """The memory as plain data."""
        return asdict(self)

    @classmethod
    def unpack(cls, state: dict[str, Any]) -> SpeakerMemory:
        """The memory that was packed."""
        heard = [Heard(row["number"], Unit(**row["unit"]), row["speaker"]) for row in state["heard"]]
        return cls(heard, state["anchors"], state["count"], state["merged"], state["faces"])

    def _merge_anchors(self) -> list[tuple[int, int]]:
        merged = []
        for kept, other in combinations(sorted(self.anchors), 2):
            if kept not in self.anchors or other not in self.anchors:
                continue
            if 1 - _unit(self.anchors[kept]) @ _unit(self.anchors[other]) < SAME:
                self.anchors[kept] = self.anchors[kept] + self.anchors.pop(other)
                self.merged.append(other)
                self.heard = [replace(h, speaker=kept) if h.speaker == other else h for h in self.heard]
                stays, goes = self.face(kept), self.face(other)
                if stays != goes:
                    self.join(stays, goes)
                    merged.append((stays, goes))
        return merged

    def _decide(self) -> None:
        telling = [i for i, heard in enumerate(self.heard) if heard.unit.voiceprint is not None]
        if telling:
            speakers = self._speakers(telling)
            for i, speaker in zip(telling, speakers, strict=True):
                self.heard[i] = replace(self.heard[i], speaker=speaker)
        for i, heard in enumerate(self.heard):
            if heard.unit.voiceprint is None:
                self.heard[i] = replace(heard, speaker=self._neighbour(i))

    def _speakers(self, telling: list[int]) -> list[int]:
        """A speaker for each unit that has a voiceprint."""
        known = sorted(self.anchors)
        units = [self.heard[i].unit for i in telling]
        prints = np.concatenate([_smoothed(units), *(_unit(self.anchors[speaker])[None] for speaker in known)])
        spoken = np.array([unit.end - unit.start for unit in units]) / SAMPLE_RATE
        enough = max(NEWCOMER_SECONDS, NEWCOMER_SHARE * float(spoken.sum()))
        seconds = np.append(spoken, np.full(len(known), enough))  # who is known need not prove it again
        clusters = _absorb_small(_cluster(prints), prints, seconds, enough)
        names = self._take_over(clusters, telling, spoken, known)
        return [names[cluster] for cluster in clusters[: len(telling)]]

    def _take_over(
        self, clusters: NDArray[np.int64], telling: list[int], seconds: NDArray[np.float64], known: list[int]
    ) -> dict[int, int]:
        """Give each cluster the speaker with whom it shares the most speech, and new numbers to the rest."""
        labels = sorted(set(clusters.tolist()))
        before = sorted({s for i in telling if (s := self.heard[i].speaker)} | set(known))
        shared = np.zeros((len(labels), len(before)))
        for i, cluster, duration in zip(telling, clusters, seconds, strict=False):
            if speaker := self.heard[i].speaker:
                shared[labels.index(cluster), before.index(speaker)] += duration
        for speaker, cluster in zip(known, clusters[len(telling) :], strict=True):
            shared[labels.index(cluster), before.index(speaker)] += ANCHOR_SECONDS
        rows, columns = linear_sum_assignment(-shared)
        names = {labels[r]: before[c] for r, c in zip(rows, columns, strict=True) if shared[r, c] > 0}
        taken = {*before, *known, *self.merged}  # a number never changes hands
        free = (number for number in count(1) if number not in taken)
        spoken = dict.fromkeys(clusters[: len(telling)].tolist())
        return names | {cluster: next(free) for cluster in spoken if cluster not in names}

    def _neighbour(self, i: int) -> int | None:
        """The speaker of the nearest unit in time that has one: a sound too short to tell is most often theirs."""
        unit = self.heard[i].unit
        told = [heard for heard in self.heard if heard.unit.voiceprint is not None and heard.speaker is not None]
        nearest = min(
            told,
            key=lambda heard: max(heard.unit.start - unit.end, unit.start - heard.unit.end),
            default=None,
        )
        return nearest.speaker if nearest else None


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (..., SIZE) at length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float32)


def _smoothed(units: list[Unit]) -> NDArray[np.float32]:
    """Each unit's voiceprint together with the next ones whose windows hold it too: speech on both sides of it."""
    start, end, window = np.array([(unit.start, unit.end, unit.window) for unit in units]).T
    prints = np.array([unit.voiceprint for unit in units], np.float32) * (end - window)[:, None].astype(np.float32)
    total = prints.copy()
    for later in (1, 2):
        holds = window[later:] <= ((start + end) // 2)[:-later]
        total[:-later] += prints[later:] * holds[:, None]
    return _unit(total)


def _cluster(prints: NDArray[np.float32]) -> NDArray[np.int64]:
    """A cluster number for each unit vector (n, SIZE): average linkage of cosine distances, cut at APART."""
    if len(prints) == 1:
        return np.zeros(1, np.int64)
    return np.asarray(fcluster(linkage(prints, "average", "cosine"), APART, "distance"), np.int64)


def _absorb_small(
    clusters: NDArray[np.int64], prints: NDArray[np.float32], seconds: NDArray[np.float64], enough: float
) -> NDArray[np.int64]:
    """Keep clusters with `enough` seconds of speech, and distinct ones; give the rest to the nearest of those."""
    labels, members = np.unique(clusters, return_inverse=True)
    speech = np.bincount(members, weights=seconds)
    centres = _unit(np.stack([prints[members == member].sum(0) for member in range(len(labels))]))
    alike = centres @ centres.T
    strong = speech >= min(enough, speech.max())
    for member in np.argsort(-speech, kind="stable"):
        if speech[member] >= DISTINCT_SECONDS and alike[member, strong].max() < DISTINCT:
            strong[member] = True
    heirs = np.flatnonzero(strong)[np.argmax(alike[:, strong], axis=1)]
    return np.asarray(labels[np.where(strong, np.arange(len(labels)), heirs)[members]], np.int64)
