from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.events import HopHeard, SessionEnded, SpeakersMerged, TurnRevised, TurnUpdated, parse
from pipeline.timeline import Timeline, Turn


def test_folding_events_gives_the_conversation_as_it_is_known_now() -> None:
    timeline = Timeline()
    for event in (
        TurnUpdated(turn=Turn(id=0, speaker=1, start=0, end=1), heard_until=1),
        HopHeard(speech=True, heard_until=1),
        TurnRevised(removed=(0,), turns=(Turn(id=1, speaker=2, start=0.5, end=1),), heard_until=1.5),
        SpeakersMerged(kept=1, merged=2, heard_until=2),
        SessionEnded(heard_until=2.25),
    ):
        event.apply(timeline)
    assert timeline.turns == {1: Turn(id=1, speaker=1, start=0.5, end=1)}
    assert (timeline.heard_until, timeline.ended) == (2.25, True)


def test_an_event_survives_its_journey_as_json() -> None:
    event = TurnUpdated(turn=Turn(id=4, speaker=2, start=1.5, end=2.5, final=True), heard_until=3, arrived_at=1.0)
    assert parse(event.model_dump_json()) == event


@pytest.mark.parametrize(
    "text", ['{"type": "turn.sung"}', '{"type": "hop.heard", "speech": true, "version": 2}', '{"speech": true}', "hop"]
)
def test_what_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        parse(text)
