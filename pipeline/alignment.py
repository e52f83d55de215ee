"""SpeakerMemory: who said each unit of speech, with names that stay put from hop to hop.

Every hop, the units of the last minute and a half are clustered anew, together with one anchor for each speaker
known from before; the clusters then take over the speakers with whom they share the most speech (Hungarian
assignment), so that a number never changes hands. Most online error falls in the first minute, and clustering anew
corrects it; a speaker's anchor remembers the rest of a long conversation in constant space.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment

from pipeline.diarisation import Unit
from pipeline.timeline import SAMPLE_RATE, Turn
from pipeline.voiceprint import SIZE

ACTIVE_SECONDS: Final = 90.0  # units younger than this may still change their speaker
APART: Final = 0.37  # mean cosine distance at which two groups of voiceprints are two voices
NEWCOMER_SECONDS: Final = 2.0  # speech that a new voice must have before it becomes a speaker
SAME: Final = APART / 2  # distance at which two known speakers turn out to be one: a merge cannot be taken back
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
    """Speakers of one conversation. `anchors`: sum of the voiceprints that left the active stretch, per speaker."""

    heard: list[Heard] = field(default_factory=list)
    anchors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    count: int = 0

    def learn(self, units: Iterable[Unit]) -> list[tuple[int, int]]:
        """Take in the units of a hop and decide anew about all active ones.

        Returns the pairs (kept, merged) of known speakers that turned out to be one.
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
                and heard.speaker == run[-1].speaker
                and heard.unit.start - run[-1].unit.end <= TURN_PAUSE
                and heard.unit.end - run[0].unit.start <= LONGEST_TURN
            ):
                run.append(heard)
            else:
                runs.append([heard])
        return [
            Turn(
                id=run[0].number,
                speaker=run[0].speaker,
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
            if heard.unit.voiceprint is not None:
                anchor = self.anchors.get(turn.speaker, np.zeros(SIZE, np.float32))
                self.anchors[turn.speaker] = anchor + heard.unit.voiceprint
        self.heard = self.heard[kept:]

    def pack(self) -> dict[str, Any]:
        """The memory as plain data."""
        return asdict(self)

    @classmethod
    def unpack(cls, state: dict[str, Any]) -> SpeakerMemory:
        """The memory that was packed."""
        heard = [Heard(row["number"], Unit(**row["unit"]), row["speaker"]) for row in state["heard"]]
        return cls(heard, state["anchors"], state["count"])

    def _merge_anchors(self) -> list[tuple[int, int]]:
        merged = []
        for kept, other in combinations(sorted(self.anchors), 2):
            if kept not in self.anchors or other not in self.anchors:
                continue
            if 1 - _unit(self.anchors[kept]) @ _unit(self.anchors[other]) < SAME:
                self.anchors[kept] = self.anchors[kept] + self.anchors.pop(other)
                self.heard = [replace(h, speaker=kept) if h.speaker == other else h for h in self.heard]
                merged.append((kept, other))
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
        prints = np.stack([self._smoothed(i) for i in telling] + [_unit(self.anchors[s]) for s in known])
        seconds = np.array([self.heard[i].unit.end - self.heard[i].unit.start for i in telling]) / SAMPLE_RATE
        clusters = _absorb_small(_cluster(prints), prints, seconds, len(telling))
        names = self._take_over(clusters, telling, seconds, known)
        return [names[cluster] for cluster in clusters[: len(telling)]]

    def _smoothed(self, i: int) -> NDArray[np.float32]:
        """A unit's voiceprint together with the next ones whose windows hold it too: speech on both sides."""
        unit = self.heard[i].unit
        middle = (unit.start + unit.end) // 2
        total = np.zeros(SIZE, np.float32)
        for heard in self.heard[i : i + 3]:
            if heard.unit.voiceprint is not None and heard.unit.window <= middle:
                total += heard.unit.voiceprint.astype(np.float32) * (heard.unit.end - heard.unit.window)
        return _unit(total)

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
        free = (number for number in range(1, len(labels) + len(before) + 1) if number not in names.values())
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


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def _cluster(prints: NDArray[np.float32]) -> NDArray[np.int64]:
    """A cluster number for each unit vector (n, 256): average linkage of cosine distances, cut at APART."""
    if len(prints) == 1:
        return np.zeros(1, np.int64)
    return np.asarray(fcluster(linkage(prints, "average", "cosine"), APART, "distance"), np.int64)


def _absorb_small(
    clusters: NDArray[np.int64], prints: NDArray[np.float32], seconds: NDArray[np.float64], active: int
) -> NDArray[np.int64]:
    """Give clusters with too little speech for a new speaker to the nearest cluster that has enough."""
    labels = sorted(set(clusters.tolist()))
    anchored = set(clusters[active:].tolist())
    spoken = {label: float(seconds[clusters[:active] == label].sum()) for label in labels}
    strong = [label for label in labels if label in anchored or spoken[label] >= NEWCOMER_SECONDS]
    if not strong:
        strong = [max(labels, key=lambda label: spoken[label])]
    centres = np.stack([_unit(prints[clusters == label].sum(0)) for label in strong])
    absorbed = clusters.copy()
    for label in labels:
        if label not in strong:
            centre = _unit(prints[clusters == label].sum(0))
            absorbed[clusters == label] = strong[int(np.argmax(centres @ centre))]
    return absorbed
