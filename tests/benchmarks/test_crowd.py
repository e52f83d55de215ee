"""Who is listened to among those who talk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deployments.client import Session
from tests.benchmarks.crowd import Crowd, Stream, as_heard
from tests.benchmarks.figures import Heard


async def test_only_those_who_were_there_are_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    there, newcomer = (
        Stream(Session("http://nowhere", name, "", ""), sent_at=[10.0, 10.5]) for name in ("there", "newcomer")
    )
    told = {"there": {0: Heard(10.0, 10.0, 10.1)}, "newcomer": {0: Heard(10.0, 10.0, 14.0)}}
    service: Any = None
    crowd = Crowd(service, np.zeros(16_000, np.int16))
    crowd.streams = [there, newcomer]
    monkeypatch.setattr(crowd, "hops", lambda stream: told[stream.session.id])
    hops, unheard = await crowd.heard(11.0, [there])
    assert [hop.published_at for hop in hops] == [10.1]
    assert unheard == [10.5]


def test_what_was_sent_before_anybody_listened_does_not_count() -> None:
    late, soon = Heard(9.0, 9.0, 12.0), Heard(10.0, 10.0, 10.2, together=2)
    told = as_heard([late, soon, soon], [9.5], since=10.0)
    assert (told["count"], told["kept_up"]) == (2, 1.0)
    assert told["p95"] == pytest.approx(0.2)
    assert told["every"] == 1.0
