"""What must hold of every session and every recording, whatever breaks meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from pipeline.events import Event
from pipeline.timeline import HOP_SECONDS
from tests.service import assert_same

TOLD_AFTER: Final = 6.0  # s of silence within which a client must have been told of it
BEFORE: Final = 1.0  # s: what ends a line may be told while the last that was heard is still on its way
TELLING: Final = {429, 503, 507}  # statuses that tell why, and to come again


def hops_wrong(heard: Sequence[float], seconds: float) -> list[str]:
    """What is wrong with the ends of a session's hops, in seconds, in the order in which they were published.

    The last hop ends with the sound, wherever that is: also where the one before it does.
    """
    whole = [HOP_SECONDS * number for number in range(1, int(seconds / HOP_SECONDS) + 1)]
    expected, counted = (Counter(round(at, 3) for at in ends) for ends in ([*whole, seconds], heard))
    more = sorted((counted - expected).keys())
    return [
        *(f"the hop at {at:g} s was lost" for at in sorted((expected - counted).keys())),
        *(f"the hop at {at:g} s was published {counted[at]} times" for at in more if at in expected),
        *(f"the hop at {at:g} s is none that was said" for at in more if at not in expected),
        *(["hops were published out of order"] if list(heard) != sorted(heard) else []),
    ]


def timeline_wrong(timeline: Any, undisturbed: Any) -> list[str]:
    """How a timeline differs from that of an undisturbed run, beyond what `assert_same` forgives."""
    try:
        assert_same(timeline, undisturbed)
    except (AssertionError, ValueError) as error:
        return [f"the timeline is not the undisturbed one: {(str(error).splitlines() or ['it differs'])[0]}"]
    return [] if timeline["ended"] else ["the session has not ended"]


def telling_wrong(silences: Sequence[tuple[float, float]], told_at: Sequence[float]) -> list[str]:
    """Whether a client was told of each silence, by a warning or a close code, while it lasted and soon enough.

    `silences`: from and until what moment nothing was heard, in seconds.
    """
    return [
        f"nobody was told within {TOLD_AFTER:g} s of {until - since:.1f} s of silence"
        for since, until in silences
        if until - since > TOLD_AFTER and not any(since - BEFORE <= at <= since + TOLD_AFTER for at in told_at)
    ]


def silences(since: float, heard_at: Sequence[float]) -> list[tuple[float, float]]:
    """The times in which nothing was heard of a session from a moment on; `heard_at`: the moments at which it was."""
    return list(pairwise([since, *(at for at in heard_at if at > since)]))


def refused_wrong(what: str, statuses: Sequence[int]) -> list[str]:
    """What is wrong with the statuses with which any of this was refused."""
    return [
        f"{what}: refused {times} times with status {status}, which tells nobody when to come again"
        for status, times in sorted(Counter(statuses).items())
        if status not in TELLING
    ]


def recovery_wrong(recovered: float | None, further: float | None, most: float) -> list[str]:
    """Whether everything was back, and an upload got further, after that many seconds at most; None: it was not."""
    return [
        *([f"not everything was back after {most:g} s"] if recovered is None else []),
        *([f"no upload got further in {most:g} s"] if further is None else []),
    ]


def arrived_wrong(arrived: float, acknowledged: float, sent: float) -> list[str]:
    """What is wrong with how many seconds arrived of a client that went; what is in between may have arrived or not."""
    if acknowledged <= arrived <= sent:
        return []
    return [f"{arrived:g} s are there, where {acknowledged:g} s were acknowledged and {sent:g} s sent"]


def hops_of(events: Sequence[Event]) -> list[float]:
    """The ends of all hops that were published, in seconds."""
    return [float(np.round(event.heard_until, 6)) for event in events if event.type == "hop.heard"]


def turns_wrong(events: Sequence[dict[str, Any]], timeline: Any) -> list[str]:
    """What is wrong with the event stream of an uploaded recording."""
    kinds = Counter(event["type"] for event in events)
    told = [event["turn"]["id"] for event in events if event["type"] == "turn.updated"]
    wrong = [] if told == [turn["id"] for turn in timeline["turns"]] else ["its turns were not told once each"]
    return wrong + [
        f"{kind} was told {kinds[kind]} times" for kind in ("session.started", "session.ended") if kinds[kind] != 1
    ]
