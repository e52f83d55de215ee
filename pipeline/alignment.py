"""SpeakerMemory: who said each unit of speech, with names that stay put from hop to hop.

The units of the last three minutes are clustered anew at every hop, or every few, together with one anchor for each
speaker known from before; the clusters then take over the speakers with whom they share the most speech (Hungarian
assignment), so that a number never changes hands. Most online error falls in the first minute, and clustering anew
corrects it; a speaker's anchor remembers the rest of a long conversation in constant space. Once much is known, one
unit more changes little: those that surely are somebody's join them, a few at a time, until all is clustered anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations, count
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering import smoothed, unit_length, voices, weighed
from pipeline.diarisation import Unit
from pipeline.diarisation.tags import TaggedWord, turns_of
from pipeline.matching import best_pairs
from pipeline.session import Expected
from pipeline.telling import speakers_told
from pipeline.timeline import SAMPLE_RATE, Turn
from pipeline.turns import Heard, overlaps_of, told_of
from pipeline.voiceprint import SIZE

ANYBODY: Final = Expected()
ACTIVE_SECONDS: Final = 180.0  # units younger than this may still change their speaker
FEW: Final = 0.01  # units, of those that are known, that may join speakers until all are clustered anew
SURE: Final = 0.45  # cosine to the voice of a speaker from which a unit is theirs ...
BY_FAR: Final = 0.2  # ... if that to everybody else's is less by so much
SAME: Final = 0.3  # distance at which two known speakers turn out to be one: a merge cannot be taken back
REACH: Final = 0.5  # s from the words of a voice within which speech is theirs: a word's times err by some tenths
ANCHOR_SECONDS: Final = 10.0  # weight, in speech, of what is remembered of a speaker when clusters take speakers over


@dataclass
class SpeakerMemory:
    """Speakers of one conversation.

    `anchors`: for each speaker the sum, float32 (SIZE,), of the voiceprints that left the active stretch, each times
    the seconds of its unit. `merged`: numbers of speakers that turned out to be somebody else; nobody gets them again.
    `faces`: under whose number a speaker is shown, where somebody has said that two are one. Their voices stay apart in
    here, for they did not sound alike, or they would have been taken for one. `vouched`: speakers of whom somebody has
    said who they are; two of them are never taken for one, and nobody else gets their numbers. `going_on`: sample up to
    which the newest unit's speech goes on, though it is no unit yet. `joined`: units that joined a speaker since all
    were clustered. `former`: speakers whose voices are not known any more; nobody else gets their numbers.
    """

    expected: Expected = ANYBODY
    heard: list[Heard] = field(default_factory=list)
    anchors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    count: int = 0
    merged: list[int] = field(default_factory=list)
    faces: dict[int, int] = field(default_factory=dict)
    vouched: set[int] = field(default_factory=set)
    going_on: int = 0
    joined: int = 0
    former: set[int] = field(default_factory=set)

    @property
    def speakers(self) -> list[int]:
        """The numbers under which everyone is shown who has been heard so far."""
        everybody = (*self.anchors, *self.former, *(heard.speaker for heard in self.heard))
        return sorted({self.face(speaker) for speaker in everybody if speaker})

    def complete(self, others: Iterable[int] = ()) -> bool:
        """Whether, with some others, as many talk as are expected at most: nobody is new any more."""
        everybody = {*self.speakers, *(self.face(speaker) for speaker in others)}
        return self.expected.most is not None and len(everybody) >= self.expected.most

    def face(self, speaker: int) -> int:
        """The number under which a speaker is shown."""
        return self.faces.get(speaker, speaker)

    def voices(self) -> dict[int, NDArray[np.float32]]:
        """For everyone heard so far the sum (SIZE,) of the voiceprints of what they said, each times its seconds."""
        total: dict[int, NDArray[np.float32]] = {}
        of_all = [
            *self.anchors.items(),
            *((h.speaker, weighed(h.unit)) for h in self.heard if h.unit.voiceprint is not None),
        ]
        for speaker, voice in of_all:
            if speaker is not None:
                total[self.face(speaker)] = total.get(self.face(speaker), np.zeros(SIZE, np.float32)) + voice
        return total

    def overlaps(self) -> list[tuple[float, float]]:
        """The active stretches in which two talk at once, in seconds, in order of time."""
        return overlaps_of(heard.unit for heard in self.heard)

    def join(self, kept: int, merged: int) -> None:
        """Show all that `merged` said, and will say, under the number of `kept`."""
        self.vouched |= {kept, merged}
        shown_so = [merged, *(speaker for speaker, face in self.faces.items() if face == merged)]
        self.faces |= dict.fromkeys(shown_so, kept)

    def expect(self, expected: Expected) -> None:
        """Know better how many talk, and decide anew about all active units."""
        self.expected = expected
        self._cluster()
        self._fill_in()

    def forget_voices(self) -> None:
        """Compare nobody with those heard so far, for another encoder has heard them.

        Who said what stays as it is. Whoever of them goes on talking is somebody new.
        """
        self.former |= {speaker for speaker in (*self.anchors, *(heard.speaker for heard in self.heard)) if speaker}
        self.anchors = {}
        self.heard = [
            replace(heard, unit=replace(heard.unit, voiceprint=None), settled=heard.speaker is not None)
            for heard in self.heard
        ]

    def learn(self, units: Iterable[Unit], going_on: int = 0) -> list[tuple[int, int]]:
        """Take in the units of a hop and decide anew about all active ones.

        `going_on`: sample up to which the speech of the newest unit goes on without a pause, if it does.

        Returns the pairs (kept, merged) of known speakers that turned out to be one, as they are shown.
        """
        self.going_on = going_on
        fresh = [Heard(self.count + i, unit, None) for i, unit in enumerate(units)]
        if not fresh:
            return []
        self.count += len(fresh)
        self.heard += fresh
        merged = self._merge_anchors()
        if merged or not self._recognise(len(fresh)):
            self._cluster()
        self._fill_in()
        return merged

    def turns(self) -> list[Turn]:
        """The active units as turns, in order of time."""
        return self.told()[0]

    def second_voices(self) -> list[Turn]:
        """What is said beneath the turns."""
        return self.told()[1]

    def told(self) -> tuple[list[Turn], list[Turn]]:
        """The turns, and what is said beneath them, see `pipeline.turns`: both are told every hop."""
        return told_of(self.heard, self._faces(), self.going_on)

    def tell(self, words: Sequence[TaggedWord], since: float, until: float) -> dict[int, int]:
        """Let another diariser's words in [since, until) decide, and those before it tell whose tags they are.

        Returns the speaker of each tag, as they are shown. What is further than REACH from all words it may have
        missed: whose that is remains the memory's own to say.
        """
        told = turns_of(words, since, until)
        if not told:
            return {}
        speakers = speakers_told(self, words, told, since)
        self.vouched |= set(speakers.values())
        for i, heard in enumerate(self.heard):
            start, end = heard.unit.start / SAMPLE_RATE, heard.unit.end / SAMPLE_RATE
            if since <= (start + end) / 2 < until:
                nearest = min(told, key=lambda run: run.apart(start, end))
                if nearest.apart(start, end) <= REACH:
                    self.heard[i] = replace(heard, speaker=speakers[nearest.tag], settled=True)
        self._cluster()
        self._fill_in()
        return {tag: self.face(speaker) for tag, speaker in speakers.items()}

    def retire(self, turn: Turn, following: Turn | None) -> None:
        """Let go of a turn's units, the oldest ones here: its speaker is final, its voice joins the anchor."""
        kept = (
            len(self.heard)
            if following is None
            else next(i for i, heard in enumerate(self.heard) if 2 * heard.number == following.id)
        )
        for heard in self.heard[:kept]:
            if heard.unit.voiceprint is not None and heard.speaker is not None:
                anchor = self.anchors.get(heard.speaker, np.zeros(SIZE, np.float32))
                self.anchors[heard.speaker] = anchor + weighed(heard.unit)
        self.heard = self.heard[kept:]

    def pack(self) -> dict[str, Any]:
        """The memory as plain data, but for what is expected."""
        state = {name: value for name, value in vars(self).items() if name != "expected"}
        sets = {"vouched": sorted(self.vouched), "former": sorted(self.former)}
        return state | sets | {"heard": [_plain(heard) for heard in self.heard]}

    @classmethod
    def unpack(cls, state: dict[str, Any], expected: Expected = ANYBODY) -> SpeakerMemory:
        """The memory that was packed."""
        heard = [Heard(row["number"], _unpacked(row["unit"]), row["speaker"], row["settled"]) for row in state["heard"]]
        return cls(
            expected,
            heard,
            state["anchors"],
            state["count"],
            state["merged"],
            state["faces"],
            set(state["vouched"]),
            state["going_on"],
            state.get("joined", 0),  # which snapshots of before do not hold
            set(state.get("former", ())),  # nor this
        )

    def _faces(self) -> list[int | None]:
        """Under whose number each unit is shown."""
        return [None if heard.speaker is None else self.face(heard.speaker) for heard in self.heard]

    def settled(self) -> dict[int, NDArray[np.float32]]:
        """The sum of all voiceprints of each speaker who is settled, the ones that are not here any more included."""
        known = dict(self.anchors)
        for heard in self.heard:
            if heard.settled and heard.speaker is not None and heard.unit.voiceprint is not None:
                voice = known.get(heard.speaker, np.zeros(SIZE, np.float32))
                known[heard.speaker] = voice + weighed(heard.unit)
        return known

    def free_number(self, given: Iterable[int]) -> int:
        """The lowest number that nobody has, beside those just given.

        Where hearing more dissolves a speaker the number is free again, unless somebody has vouched for it: what is
        known of that number is known of that person.
        """
        has = {heard.speaker for heard in self.heard if heard.speaker is not None}
        shown = {*self.faces, *self.faces.values()}
        taken = {*given, *has, *shown, *self.anchors, *self.merged, *self.vouched, *self.former}
        return next(number for number in count(1) if number not in taken)

    def _merge_anchors(self) -> list[tuple[int, int]]:
        merged = []
        for kept, other in combinations(sorted(self.anchors), 2):
            if kept not in self.anchors or other not in self.anchors or {kept, other} <= self.vouched:
                continue
            if 1 - unit_length(self.anchors[kept]) @ unit_length(self.anchors[other]) < SAME:
                self.anchors[kept] = self.anchors[kept] + self.anchors.pop(other)
                self.merged.append(other)
                self.heard = [replace(h, speaker=kept) if h.speaker == other else h for h in self.heard]
                stays, goes = self.face(kept), self.face(other)
                if stays != goes:
                    self.join(stays, goes)
                    merged.append((stays, goes))
        return merged

    def _recognise(self, units: int) -> bool:
        """Let the newest units, so many, join the speakers whose voice each surely is; returns whether all could."""
        before = len(self.heard) - units
        known = [heard for heard in self.heard[:before] if heard.tells and heard.speaker is not None]
        joining = [i for i in range(before, len(self.heard)) if self.heard[i].tells]
        if self.joined + len(joining) > FEW * len(known):
            return False
        if not joining:
            return True
        speakers, sums = self._sums(known)
        alike = np.array([self.heard[i].unit.voiceprint for i in joining], np.float32) @ unit_length(sums).T
        nearest = alike.argmax(axis=1)
        others = alike.copy()
        others[np.arange(len(joining)), nearest] = -1  # as of somebody who is like nobody, where there are no others
        sure = (alike.max(axis=1) >= SURE) & (alike.max(axis=1) - others.max(axis=1) >= BY_FAR)
        if not sure.all():
            return False
        for i, row in zip(joining, nearest.tolist(), strict=True):
            self._tell(i, speakers[row])
        self.joined += len(joining)
        return True

    def _sums(self, known: Sequence[Heard]) -> tuple[list[int], NDArray[np.float32]]:
        """Everybody's number, and the sum (speakers, SIZE) of each one's anchor and of these units, weighed."""
        speakers = sorted({*self.anchors, *(heard.speaker for heard in known if heard.speaker is not None)})
        anchors = [self.anchors.get(speaker, np.zeros(SIZE, np.float32)) for speaker in speakers]
        prints = np.array([heard.unit.voiceprint for heard in known], np.float32)
        seconds = np.array([heard.unit.end - heard.unit.start for heard in known], np.float32) / SAMPLE_RATE
        theirs = np.array([[heard.speaker == speaker for heard in known] for speaker in speakers], np.float32)
        return speakers, np.asarray(np.stack(anchors) + (theirs * seconds) @ prints, np.float32)

    def _cluster(self) -> None:
        """Decide anew about all units whose own voice tells who they are."""
        self.joined = 0
        telling = [i for i, heard in enumerate(self.heard) if heard.tells and not heard.settled]
        if telling:
            for i, speaker in zip(telling, self._speakers(telling), strict=True):
                self._tell(i, speaker)

    def _fill_in(self) -> None:
        """Give what is too short to tell to whoever talks next to it."""
        for i, heard in enumerate(self.heard):
            if not heard.tells and not heard.settled:
                self._tell(i, self._neighbour(i))

    def _tell(self, i: int, speaker: int | None) -> None:
        if self.heard[i].speaker != speaker:  # most stay whose they were, every second anew
            self.heard[i] = replace(self.heard[i], speaker=speaker)

    def _speakers(self, telling: list[int]) -> list[int]:
        """A speaker for each of these units, all of which have a voiceprint."""
        known = self.settled()
        names = sorted(known)
        units = [self.heard[i].unit for i in telling]
        prints = np.concatenate([smoothed(units), *(unit_length(known[speaker])[None] for speaker in names)])
        spoken = np.array([unit.end - unit.start for unit in units]) / SAMPLE_RATE
        seconds = np.append(spoken, np.zeros(len(names)))
        clusters = voices(prints, seconds, len(names), self.expected)
        taken_over = self._take_over(clusters, telling, spoken, names)
        return [taken_over[cluster] for cluster in clusters[: len(telling)].tolist()]

    def _take_over(
        self, clusters: NDArray[np.int64], telling: list[int], seconds: NDArray[np.float64], known: list[int]
    ) -> dict[int, int]:
        """Give each cluster the speaker with whom it shares the most speech, and new numbers to the rest."""
        labels, rows = np.unique(clusters, return_inverse=True)
        had = np.array([*(self.heard[i].speaker or 0 for i in telling), *known])  # nobody has number 0
        before, columns = np.unique(had, return_inverse=True)
        shared = np.zeros((len(labels), len(before)))
        np.add.at(shared, (rows, columns), np.append(seconds, np.full(len(known), ANCHOR_SECONDS)))
        shared[:, before == 0] = 0
        told = {heard.speaker for heard in self.heard if heard.settled}
        for speaker, row in zip(known, rows[len(telling) :], strict=True):
            if speaker in told:  # who they are is known: no other cluster may be them
                shared[np.arange(len(labels)) != row, before == speaker] = 0
        names = {int(labels[row]): int(before[column]) for row, column in best_pairs(shared)}
        for cluster in dict.fromkeys(clusters[: len(telling)].tolist()):
            if cluster not in names:
                left = [speaker for speaker in known if speaker in told and speaker not in names.values()]
                new = self.free_number([*before, *names.values()])
                names[cluster] = left[0] if left and self.complete() else new
        return names

    def _neighbour(self, i: int) -> int | None:
        """The speaker of the nearest unit in time that has one: a sound too short to tell is most often theirs."""
        unit = self.heard[i].unit
        near = []  # units stand in order of time: whoever is nearest is the last told before it or the first after it
        for direction in (range(i - 1, -1, -1), range(i + 1, len(self.heard))):
            others = (self.heard[j] for j in direction)
            near += [next((h for h in others if h.speaker is not None and (h.settled or h.tells)), None)]
        told = [heard for heard in near if heard is not None]
        nearest = min(told, key=lambda h: max(h.unit.start - unit.end, unit.start - h.unit.end), default=None)
        return nearest.speaker if nearest else None


def _plain(heard: Heard) -> dict[str, Any]:
    """As `asdict`, which would copy the voiceprint."""
    row = {each.name: getattr(heard, each.name) for each in fields(heard)}
    return row | {"unit": {each.name: getattr(heard.unit, each.name) for each in fields(heard.unit)}}


def _unpacked(row: dict[str, Any]) -> Unit:
    overlap = row["overlap"]
    return Unit(**row | {"overlap": tuple(overlap) if overlap else None})
