"""A session that goes on under a version with another encoder of voices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deployments import held
from pipeline import conversation
from pipeline.events import Event, Warned
from pipeline.store import SessionStore
from tests.deployments.actors import Actors, begin, folded, of

ENROLLED = {"Anna": "of long ago", "Ben": "the next"}  # and for which version of the encoder


def warned(events: list[Event], code: str) -> list[str]:
    return [event.message for event in of(events, Warned) if event.code == code]


async def test_who_can_be_recognised_no_more_is_told_once_and_everything_else_goes_on(
    store: SessionStore, actors: Actors, small_conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    voiceprint = np.ones(4, np.float32)
    voices = [await store.voices.add(name, voiceprint, 9.0, version, 60) for name, version in ENROLLED.items()]
    keys = [{"id": voice.record.id, "key": voice.key} for voice in voices]
    actor, talk = await actors.start(), await begin(store, small_conversation[0], voices=keys)
    await talk.say(11, actor)
    before = await talk.told()
    assert warned(before, "outdated_voices") == [held.OUTDATED.format(outdated=2)]
    assert warned(before, "estranged") == []

    await store.voices.erase(voices[1].record.id)
    for module in (conversation, held):
        monkeypatch.setattr(module, "version", lambda: "the next")
    await talk.say(16, await actors.start())
    await talk.say(20, actor := await actors.start())
    await talk.stop(actor)
    after = await talk.told()
    assert warned(after, "estranged") == [held.ESTRANGED.message]
    assert warned(after[len(before) :], "outdated_voices") == [held.OUTDATED.format(outdated=1)]
    told = [event.model_dump_json() for event in after]
    assert not [event for event in told if any(name in event for name in ENROLLED)], "they have never talked"
    then, now = folded(before), folded(after)
    assert now.ended
    assert {*then.speakers} < {*now.speakers}, "whoever goes on is somebody new"


async def test_what_is_so_from_the_start_on_is_not_told_each_time_that_hearing_begins_anew(
    store: SessionStore, actors: Actors, small_conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.sessions.FIRST_RETRY", 0.01)
    voice = await store.voices.add("Anna", np.ones(4, np.float32), 9.0, "of long ago", 60)
    keys = [{"id": voice.record.id, "key": voice.key}]
    actor, talk = await actors.start(), await begin(store, small_conversation[0], voices=keys)
    stretch, failures = conversation.Conversation.stretch, iter(range(3))

    def failing(self: conversation.Conversation, hop: conversation.Hop) -> Any:
        if next(failures, None) is not None:
            raise ConnectionError("the diariser is gone")
        return stretch(self, hop)

    monkeypatch.setattr(conversation.Conversation, "stretch", failing)
    await talk.say(2, actor)
    assert len(warned(await talk.told(), "outdated_voices")) == 1
    assert next(failures, None) is None, "hearing has begun anew"
