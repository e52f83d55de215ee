"""How right a diarisation is: parts of each conversation that add up, and the figures that a set of them comes to.

The metrics are pyannote.metrics' (Bredin 2017, "pyannote.metrics: a toolkit for reproducible evaluation, diagnostic,
and error analysis of speaker diarization systems"). A figure of a set is a sum over its conversations divided by
another one, and so it is in every bootstrap resample: a long conversation counts for more than a short one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from typing import Final

import numpy as np
from pyannote.core import Annotation, Segment, Timeline  # type: ignore[import-untyped]
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

from pipeline.timeline import CHUNK_SECONDS
from training.evaluate import Rate

COLLAR: Final = 0.25  # s on each side of a boundary of the reference; pyannote.metrics asks for both sides together
BOOTSTRAPS: Final = 2000
PERCENT, NUMBER = "%", ""
CONVENTIONS: Final = (
    "DER: missed + false alarm + confusion over reference speech, overlap included, no collar; DER 0.25: without 0.25 s"
    " on each side of every reference boundary; JER: mean over reference speakers (DIHARD II); speakers: distinct"
    " labels shown less speakers in the reference; labels swapped: of a speaker's neighbouring 30 s chunks, the share"
    " in which another label holds the most of their time in the later than in the earlier"
)


@dataclass(frozen=True)
class Score:
    """One conversation's parts: in seconds, where nothing else is said."""

    conversations: int  # 1
    spoken: float  # reference speech; where two speak at once, it counts twice
    missed: float
    false_alarm: float
    confusion: float
    error: float  # the sum of these three
    spoken_inside: float  # reference speech outside the collars
    error_inside: float  # outside the collars
    speakers: int  # in the reference
    jaccard: float  # sum of the speakers' Jaccard error rates, each from 0 to 1
    miscounted: int  # |speakers found - speakers|
    too_many: int  # speakers found - speakers
    chunk_pairs: int  # see `swaps`
    swapped: int


@dataclass(frozen=True)
class Figure:
    """What a set of conversations is asked for: the sum of one part of a Score over that of another."""

    part: str
    whole: str
    unit: str = PERCENT


FIGURES: Final[Mapping[str, Figure]] = {
    "missed": Figure("missed", "spoken"),
    "false alarm": Figure("false_alarm", "spoken"),
    "confusion": Figure("confusion", "spoken"),
    "DER": Figure("error", "spoken"),
    "DER 0.25": Figure("error_inside", "spoken_inside"),
    "JER": Figure("jaccard", "speakers"),
    "speakers, off by": Figure("miscounted", "conversations", NUMBER),
    "speakers, too many": Figure("too_many", "conversations", NUMBER),
    "labels swapped": Figure("swapped", "chunk_pairs"),
}


def score(reference: Annotation, hypothesis: Annotation, seconds: float) -> Score:
    """What is right and wrong in a conversation of so many seconds; whatever the reference says beyond them counts.

    Neither side's labels mean anything to the other: they are matched one to one, so that as much time as can be
    agrees.
    """
    reference, hypothesis = reference.support(), hypothesis.support()
    end = max(seconds, reference.get_timeline().extent().end if reference else 0.0)
    everything = Timeline([Segment(0, end)])
    plain = DiarizationErrorRate().compute_components(reference, hypothesis, uem=everything)
    inside = DiarizationErrorRate(collar=2 * COLLAR).compute_components(reference, hypothesis, uem=everything)
    jaccard = JaccardErrorRate().compute_components(reference, hypothesis, uem=everything)  # type: ignore[no-untyped-call]
    found, speakers = len(hypothesis.labels()), len(reference.labels())
    pairs, swapped = swaps(reference, hypothesis, end)
    return Score(
        conversations=1,
        spoken=plain["total"],
        missed=plain["missed detection"],
        false_alarm=plain["false alarm"],
        confusion=plain["confusion"],
        error=_error(plain),
        spoken_inside=inside["total"],
        error_inside=_error(inside),
        speakers=speakers,
        jaccard=jaccard["speaker error"],
        miscounted=abs(found - speakers),
        too_many=found - speakers,
        chunk_pairs=pairs,
        swapped=swapped,
    )


def swaps(reference: Annotation, hypothesis: Annotation, seconds: float) -> tuple[int, int]:
    """How often a speaker is met in two neighbouring chunks, and how often under another label in the second.

    A pair is one reference speaker and two neighbouring chunks of CHUNK_SECONDS in both of which they speak and are
    heard at all. In each chunk they go by the label that shares the most time with their speech there (the first in
    order of the alphabet among equals). What was missed altogether is no swap; DER counts it.
    """
    names: list[dict[str, str]] = []
    for number in range(math.ceil(seconds / CHUNK_SECONDS)):
        chunk = Segment(number * CHUNK_SECONDS, (number + 1) * CHUNK_SECONDS)
        spoken, shown = reference.crop(chunk), hypothesis.crop(chunk)
        together = np.asarray(spoken * shown) if spoken and shown else np.zeros((0, 0))
        labels = shown.labels()
        names.append(
            {
                speaker: str(labels[int(row.argmax())])
                for speaker, row in zip(spoken.labels(), together, strict=False)
                if row.max() > 0
            }
        )
    pairs = [
        (earlier[speaker], later[speaker])
        for earlier, later in pairwise(names)
        for speaker in earlier.keys() & later.keys()
    ]
    return len(pairs), sum(before != after for before, after in pairs)


def figures_of(scores: Sequence[Score], seed: int) -> dict[str, Rate]:
    """FIGURES of a set, by their names, each with the 95 % interval that resampling whole conversations gives it.

    A figure that has no whole, such as swaps where nobody is met in two chunks, is not a number; nor are the ends of
    the interval where there is one conversation, which tells nothing of others.
    """
    parts = np.array([astuple(one) for one in scores], float)
    column = {part.name: number for number, part in enumerate(fields(Score))}
    drawn = np.random.default_rng(seed).integers(len(parts), size=(BOOTSTRAPS, len(parts)))
    total, resampled = parts.sum(axis=0), parts[drawn].sum(axis=1)

    def rate(figure: Figure) -> Rate:
        if total[column[figure.whole]] == 0:
            return Rate(math.nan, math.nan, math.nan)
        with np.errstate(invalid="ignore"):  # a resample may hold none of what is asked for
            value, others = (
                sums[..., column[figure.part]] / sums[..., column[figure.whole]] for sums in (total, resampled)
            )
        low, high = np.nanpercentile(others, (2.5, 97.5)) if len(parts) > 1 else (math.nan, math.nan)
        return Rate(float(value), float(low), float(high))

    return {name: rate(figure) for name, figure in FIGURES.items()}


def _error(components: Mapping[str, float]) -> float:
    return components["missed detection"] + components["false alarm"] + components["confusion"]
