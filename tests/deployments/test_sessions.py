"""A session actor without its cluster: what people correct, against all that can happen to the actor meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from redis.exceptions import RedisError

from deployments import live, sessions
from pipeline.corrections import Correction, Merging, Naming, Telling, UnknownSpeaker
from pipeline.events import Event, SpeakerNamed, SpeakersMerged
from pipeline.session import OutOfStep, UnknownSession
from pipeline.store import SessionStore
from pipeline.timeline import HOP_SECONDS
from tests.deployments.actors import Actors, begin, folded, of

ANNA, ONE_OF_TWO = Naming(speaker=1, name="Anna"), Merging(kept=1, merged=2)


@pytest.mark.parametrize("at", [9.0, 12.0], ids=["before a snapshot", "after one"])
async def test_a_replay_is_corrected_where_the_first_hearing_was(
    store: SessionStore, actors: Actors, small_conversation: Any, at: float
) -> None:
    async def run(killed: bool) -> list[Event]:
        actor, talk = await actors.start(), await begin(store, small_conversation[0])
        await talk.say(at, actor)
        await actor.correct(talk.id, ANNA, "first")
        await actor.correct(talk.id, ONE_OF_TWO, "second")
        if killed:
            actor = await actors.start()
        await talk.say(at + 4, actor)
        if killed:
            actor = await actors.start()
        await talk.say(20, actor)
        await talk.stop(actor)
        return await talk.told()

    undisturbed = await run(killed=False)
    assert len(of(undisturbed, SpeakerNamed)) == len(of(undisturbed, SpeakersMerged)) == 1
    timeline = folded(undisturbed)
    assert (timeline.names, timeline.speakers) == ({1: "Anna"}, [1])
    assert await run(killed=True) == undisturbed


async def test_what_goes_on_from_a_snapshot_is_counted(
    store: SessionStore, actors: Actors, small_conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Mock()
    monkeypatch.setattr(sessions, "RESTORED", counter)
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(7, actor)
    assert not counter.inc.called
    actor = await actors.start()
    await talk.say(8, actor)
    assert counter.inc.call_count == 1
    await talk.stop(actor)
    await (await actors.start()).correct(talk.id, ANNA, "name")
    assert counter.inc.call_count == 1, "what has ended is only corrected"


async def test_corrections_that_race_take_effect_one_after_the_other(
    store: SessionStore, actors: Actors, small_conversation: Any
) -> None:
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(10, actor)
    race: list[Correction] = [ANNA, Naming(speaker=2, name="Ben"), ONE_OF_TWO, Merging(kept=2, merged=1)]
    answers = await asyncio.gather(
        *(actor.correct(talk.id, correction, f"{i}") for i, correction in enumerate(race)), return_exceptions=True
    )
    assert answers[:3] == [None] * 3
    assert isinstance(answers[3], UnknownSpeaker), "whoever comes second is told that there is no speaker 2 any more"
    assert [kept.token for kept in await store.corrections(talk.id)] == ["0", "1", "2"]
    timeline = await store.timeline(talk.id)
    assert (timeline.names, timeline.speakers) == ({1: "Anna"}, [1])


async def test_corrections_among_frames_at_full_speed(
    store: SessionStore, actors: Actors, small_conversation: Any
) -> None:
    """They used to have no place to go but the middle of a hop."""
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(4, actor)

    async def rename() -> None:
        for number in range(20):
            await actor.correct(talk.id, Naming(speaker=1, name=f"name {number}"), f"{number}")

    await asyncio.gather(talk.say(24, actor, wait=False), rename())
    await talk.stop(actor)
    told = await talk.told()
    assert [event.name for event in told if isinstance(event, SpeakerNamed)] == [f"name {n}" for n in range(20)]
    hops = [event.heard_until for event in told if event.type == "hop.heard"]
    assert np.diff(hops)[:-1] == pytest.approx(HOP_SECONDS)
    after = {kept.after for kept in await store.corrections(talk.id)}
    assert len(after) > 1, "all of them came after the last frame"


async def test_asked_twice_it_is_made_once(store: SessionStore, actors: Actors, small_conversation: Any) -> None:
    """Ray calls an actor again that died before it could answer."""
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(5, actor)
    await actor.correct(talk.id, ANNA, "once")
    await actor.correct(talk.id, ANNA, "once")
    await (actor := await actors.start()).correct(talk.id, ANNA, "once")
    await talk.stop(actor)
    await (await actors.start()).correct(talk.id, ANNA, "once")
    assert len(of(await talk.told(), SpeakerNamed)) == 1
    await actor.correct(talk.id, ANNA, "twice")
    assert len(of(await talk.told(), SpeakerNamed)) == 2


async def test_an_actor_learns_what_another_has_corrected(
    store: SessionStore, actors: Actors, small_conversation: Any
) -> None:
    """Settings that change bring new actors while the old ones go on with what they hold."""
    old, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(10, old)
    await actors.another().correct(talk.id, ONE_OF_TWO, "merge")
    await talk.say(16, old)
    assert (await store.timeline(talk.id)).speakers == [1], "the old actor went on telling two speakers apart"
    await old.correct(talk.id, ANNA, "name")
    await actors.another().correct(talk.id, Naming(speaker=1, name="Ben"), "other name")
    await talk.stop(old)
    told = await talk.told()
    assert folded(told).names == {1: "Ben"}
    hops = [event.heard_until for event in told if event.type == "hop.heard"]
    assert np.diff(hops)[:-1] == pytest.approx(HOP_SECONDS)


async def test_what_makes_no_sense_changes_nothing(
    store: SessionStore, actors: Actors, small_conversation: Any
) -> None:
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    with pytest.raises(UnknownSpeaker, match="nobody yet"):
        await actor.correct(talk.id, ANNA, "too early")
    await talk.say(10, actor)
    with pytest.raises(UnknownSpeaker, match="no speaker 9; so far there are: 1, 2"):
        await actor.correct(talk.id, Naming(speaker=9, name="Nobody"), "unknown")
    with pytest.raises(ValueError, match="themselves"):
        await actor.correct(talk.id, Merging(kept=1, merged=1), "oneself")
    assert await store.corrections(talk.id) == []
    await store.erase(talk.id)
    with pytest.raises(UnknownSession):
        await actor.correct(talk.id, ANNA, "erased")


async def test_what_was_erased_in_redis_alone_is_forgotten_though_nobody_says_so(
    store: SessionStore, actors: Actors, small_conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.05)
    actor = await actors.start()
    stays, goes = [await begin(store, small_conversation[0]) for _ in range(2)]
    for talk in (stays, goes):
        await talk.say(2, actor)
    looked = Mock(side_effect=RedisError)
    with monkeypatch.context() as away:
        away.setattr(actor._store, "keys", looked)
        async with asyncio.timeout(10):
            while looked.call_count < 4:
                await asyncio.sleep(0.02)
    assert set(actor._live) == {stays.id, goes.id}, "a store that is away is no erased session"
    await store.erase(goes.id)
    async with asyncio.timeout(10):
        while goes.id in actor._live:
            await asyncio.sleep(0.02)
    assert set(actor._live) == {stays.id}
    await stays.say(4, actor)
    await stays.stop(actor)


@pytest.mark.parametrize("marked", [True, False], ids=["", "by an earlier version"])
async def test_what_has_ended_can_be_corrected(
    store: SessionStore, actors: Actors, small_conversation: Any, marked: bool
) -> None:
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(10, actor)
    await talk.stop(actor)
    if not marked:
        await store._redis.hdel(f"tonetrack:{{{talk.id}}}", "ended")
    await actor.correct(talk.id, Naming(speaker=2, name="Ben"), "name")
    await asyncio.gather(actor.correct(talk.id, ONE_OF_TWO, "a"), actors.another().correct(talk.id, ANNA, "b"))
    with pytest.raises(UnknownSpeaker):
        await actor.correct(talk.id, Merging(kept=2, merged=1), "the other way round")
    with pytest.raises(ValueError, match="has ended"):
        await actor.correct(talk.id, Telling(since=0, until=1, words=()), "tell")
    timeline = await store.timeline(talk.id)
    assert (timeline.speakers, timeline.ended, timeline.heard_until) == ([1], True, 10)
    assert timeline.names[1] in ("Anna", "Ben")
    assert await store.ended_at(talk.id) == 10
    assert await actor.finish(talk.id) == 10
    assert not actor._live, "a session that has ended is not kept in memory"


async def test_what_was_stopped_ends_before_it_is_corrected(
    store: SessionStore, actors: Actors, small_conversation: Any
) -> None:
    """Whoever had asked for the end was gone."""
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(10, actor)
    await store.stop(talk.id)
    await (await actors.start()).correct(talk.id, ANNA, "name")
    told = await talk.told()
    assert [event.type for event in told[-2:]] == ["session.ended", "speaker.named"]
    assert folded(told).names == {1: "Anna"}


async def test_a_session_whose_sound_is_gone_can_be_corrected(
    store: SessionStore, actors: Actors, small_conversation: Any
) -> None:
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(10, actor)
    actor = await actors.start()
    await store.forget_audio(talk.id)
    async with asyncio.timeout(5):
        await actor.correct(talk.id, ANNA, "name")
    assert await store.ended_at(talk.id) == 10
    assert folded(await talk.told()).names == {1: "Anna"}


async def test_who_corrects_too_early_does_not_end_what_has_not_begun(
    store: SessionStore, actors: Actors, small_conversation: Any
) -> None:
    """An actor that is asked about a session gives it up after a while; its recorder may come later still."""
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    actor._settings = actor._settings.model_copy(update={"abandon": 0.2})
    with pytest.raises(UnknownSpeaker):
        await actor.correct(talk.id, ANNA, "too early")
    async with asyncio.timeout(5):
        while actor._live:
            await asyncio.sleep(0.05)
    assert not (await store.standing(talk.id)).stopped
    await talk.say(2, actor)
    async with asyncio.timeout(5):
        while (await store.ended_at(talk.id)) is None:
            await asyncio.sleep(0.05)


async def test_whoever_waits_is_told_when_hearing_has_come_to_a_halt(
    store: SessionStore, actors: Actors, small_conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.sessions.FIRST_RETRY", 0.01)
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(5, actor)
    await store._redis.hset(f"tonetrack:{{{talk.id}}}", "published", 99)
    with pytest.raises(OutOfStep):
        await actor.correct(talk.id, ANNA, "name")
    assert "warning" in [event.type for _, event in await store.events(talk.id)]


async def test_nobody_waits_for_a_correction_behind_a_frame_that_cannot_be_heard(
    store: SessionStore, actors: Actors, small_conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.sessions.FIRST_RETRY", 0.01)
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(5, actor)
    observe = actor._observe

    async def broken(stretch: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr(actor, "_observe", broken)
    await talk.say(6, actor, wait=False)
    corrections: list[Correction] = [ANNA, ONE_OF_TWO]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(
            *(actor.correct(talk.id, correction, f"{i}") for i, correction in enumerate(corrections)),
            return_exceptions=True,
        )
    assert [type(answer) for answer in answers] == [OutOfStep, OutOfStep]
    monkeypatch.setattr(actor, "_observe", observe)
    async with asyncio.timeout(20):
        while (await store.timeline(talk.id)).heard_until < 6:  # from the frames that still waited
            await asyncio.sleep(0.02)
    assert await store.corrections(talk.id) == []


@pytest.mark.parametrize("ended", [False, True], ids=["live", "ended"])
async def test_a_merge_that_was_made_may_be_asked_for_again(
    store: SessionStore, actors: Actors, small_conversation: Any, ended: bool
) -> None:
    """Whoever never got the answer asks again, with another token."""
    actor, talk = await actors.start(), await begin(store, small_conversation[0])
    await talk.say(12, actor)
    if ended:
        await talk.stop(actor)
    await actor.correct(talk.id, ONE_OF_TWO, "once")
    before = await talk.told()
    await actor.correct(talk.id, ONE_OF_TWO, "again")
    await (actor := await actors.start()).correct(talk.id, ONE_OF_TWO, "and again")
    for strange in (Merging(kept=2, merged=1), Merging(kept=3, merged=2), Merging(kept=1, merged=3)):
        with pytest.raises(UnknownSpeaker):
            await actor.correct(talk.id, strange, f"{strange}")
    assert await talk.told() == before
    assert len(await store.corrections(talk.id)) == 1
