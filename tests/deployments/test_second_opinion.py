"""A session actor that asks Google: the real client over gRPC to a server of our own, which knows what is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from deployments.client import open_session
from deployments.second_opinion import UNFORESEEN
from deployments.sessions import SessionActor
from pipeline.conversation import Conversation
from pipeline.corrections import Correction, Telling
from pipeline.diarisation.local import LocalDiariser
from pipeline.events import Event, SessionEnded, Warned, WordsHeard
from pipeline.store import SessionStore
from pipeline.timeline import SAMPLE_RATE, Timeline
from tests.deployments.actors import Actors, Talk, begin, folded, of
from tests.deployments.ear import Ear, Spoken, refusal, three_talk
from tests.google_server import Reply, google_server
from tests.service import Pcm, record, running_service
from tests.talkers import LOW, conversation, small_talk

SECONDS = 157.0
Google = Callable[..., Any]


@pytest.fixture(scope="module")
def talk() -> Spoken:
    return three_talk(SECONDS)


@pytest.fixture
async def google(url: str, diariser: LocalDiariser) -> AsyncIterator[Google]:
    """Makes actors whose Google is what hears a talk."""
    started: list[Actors] = []

    @asynccontextmanager
    async def over(ear: Ear, **settings: Any) -> AsyncIterator[Actors]:
        async with google_server(ear) as server:
            where = {"google_endpoint": server.endpoint, "google_insecure": True}
            actors = Actors(url, diariser, **{"diariser": "google", "google_deadline": 10} | where | settings)
            started.append(actors)
            try:
                yield actors
            finally:
                await actors.close()

    return over


async def heard(store: SessionStore, actor: SessionActor, pcm: Pcm, seconds: float, **hints: Any) -> list[Event]:
    """All that is told of a talk, as fast as it is taken."""
    talk = await begin(store, pcm, **hints)
    await talk.say(seconds, actor, wait=False)
    async with asyncio.timeout(200):
        assert await talk.stop(actor) == seconds
    assert not actor._live
    return await talk.told()


def warnings_of(events: list[Event]) -> list[Warned]:
    """All but that hearing halts: what is sent as fast as it is taken may wait for so long on a slow machine."""
    return [event for event in events if isinstance(event, Warned) and event.code not in ("stuck", "resumed")]


async def told(talk: Talk, number: int) -> None:
    """Once so many answers have taken effect."""
    async with asyncio.timeout(60):
        while len(await talk.store.corrections(talk.id)) < number:
            await asyncio.sleep(0.02)


def names(timeline: Timeline, ear: Ear) -> set[tuple[int, int]]:
    """The pairs (who says a word, whose turn holds it)."""
    turns = [turn for turn in timeline.turns.values() if not turn.second_voice]
    return {(who, turn.speaker) for at, who in ear.words() for turn in turns if turn.start <= at + 0.15 < turn.end}


async def test_speakers_stay_who_they_are_while_their_tags_change(
    store: SessionStore, google: Google, talk: Spoken
) -> None:
    ear = Ear(talk, delays={60: 0.5, 90: 0.5})
    async with google(ear) as actors:
        events = await heard(store, await actors.start(), talk[0], SECONDS)
    assert ear.asked == [(0, 30), (15, 60), (45, 90), (75, 120), (105, 150), (135, SECONDS)]
    timeline = folded(events)
    assert len(timeline.speakers) == 3
    assert len(names(timeline, ear)) == 3, "everybody has one number, and every number one person"
    said = {round(at, 3): who for at, who in ear.words()}
    assert len(timeline.words) == len(said)
    whose = {(said[round(word.start, 3)], word.speaker) for word in timeline.words}
    assert whose == names(timeline, ear)
    assert not warnings_of(events)
    assert events[-1].type == "session.ended"


async def test_google_tells_apart_who_sounds_alike(store: SessionStore, google: Google) -> None:
    audio, said = conversation((LOW, LOW), small_talk(talkers=2, seconds=42, seed=3), seed=3)
    twins = np.round(audio * 32_767).astype(np.int16), said
    ear = Ear(twins)
    async with google(ear) as actors:
        alone = folded(await heard(store, await actors.start(), twins[0], 12, diariser="local"))
        timeline = folded(await heard(store, await actors.start(), twins[0], 40))
    assert (alone.speakers, timeline.speakers) == ([1], [1, 2])
    assert len(names(timeline, ear)) == 2


@pytest.mark.parametrize(
    ("refusals", "told"),
    [
        (["UNAUTHENTICATED", "UNAUTHENTICATED"], ["no credentials"]),
        (["UNAUTHENTICATED", "PERMISSION_DENIED"], ["no credentials", "does not let these credentials"]),
    ],
    ids=["one reason", "two reasons"],
)
async def test_where_google_says_nothing_the_local_labels_stand(
    store: SessionStore, google: Google, talk: Spoken, refusals: list[str], told: list[str]
) -> None:
    ear = Ear(talk, *map(refusal, refusals))
    async with google(ear) as actors:
        alone = await heard(store, await actors.start(), talk[0], 33, diariser="local")
        assert not ear.asked
        events = await heard(store, await actors.start(), talk[0], 33)
    warnings = warnings_of(events)
    assert [warning.code for warning in warnings] == ["google"] * len(told)
    for warning, says in zip(warnings, told, strict=True):
        assert says in warning.message
        assert "TOPSECRET" not in warning.message
        assert warning.heard_until == folded(events[: events.index(warning)]).heard_until >= 30
    assert [event for event in events if event not in warnings] == alone
    assert ear.asked == [(0, 30), (15, 33)]


@pytest.mark.parametrize("killed", [False, True], ids=["", "its actor killed"])
async def test_a_reason_is_told_again_only_after_google_has_answered(
    store: SessionStore, google: Google, talk: Spoken, killed: bool
) -> None:
    no = refusal("UNAUTHENTICATED")
    async with google(Ear(talk, no, no, Reply(), no)) as actors:  # an answer without a word is one, too
        actor, mine = await actors.start(), await begin(store, talk[0])
        for number, chunk in enumerate((30, 60, 90), start=1):
            await mine.say(chunk, actor)
            await told(mine, number)
            if killed:
                actor = await actors.start()
        await mine.say(93, actor)
        await mine.stop(actor)
        events = await mine.told()
    assert [event.heard_until for event in warnings_of(events)] == [30, 93]


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (refusal("RESOURCE_EXHAUSTED"), "quota is used up"),
        (Reply(delay=20), "did not answer within 1.2 s"),
        (None, "cannot be reached at 127.0.0.1:9"),
    ],
    ids=["quota", "silence", "nobody there"],
)
async def test_why_google_says_nothing_is_told(
    store: SessionStore, google: Google, talk: Spoken, reply: Reply | None, advice: str
) -> None:
    elsewhere = {} if reply else {"google_endpoint": "127.0.0.1:9"}
    ear = Ear(talk, *[reply or Reply()] * 20)
    async with google(ear, google_deadline=1.2, **elsewhere) as actors:
        events = await heard(store, await actors.start(), talk[0], 3)
    (warning,) = warnings_of(events)
    assert (warning.code, advice in warning.message) == ("google", True), warning.message


async def test_what_nobody_foresaw_does_not_stop_a_session(
    store: SessionStore, google: Google, talk: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(settings: object) -> None:
        raise ImportError

    monkeypatch.setattr("deployments.second_opinion._load", broken)
    async with google(Ear(talk)) as actors:
        actor = await actors.start()
        events = await heard(store, actor, talk[0], 3)
        actor._second._opening = None
    assert [event.message for event in warnings_of(events)] == [UNFORESEEN]


async def test_an_answer_that_cannot_be_taken_in_does_not_stop_a_session(
    store: SessionStore, google: Google, talk: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.sessions.FIRST_RETRY", 0.01)
    correct = Conversation.correct

    def broken(self: Conversation, correction: Correction) -> list[Event]:
        if isinstance(correction, Telling) and correction.words:
            raise ZeroDivisionError
        return correct(self, correction)

    monkeypatch.setattr(Conversation, "correct", broken)
    ear = Ear(talk)
    async with google(ear) as actors:
        events = await heard(store, await actors.start(), talk[0], 3)
    assert [event.message for event in warnings_of(events)] == [UNFORESEEN]
    assert ear.asked == [(0, 3)]


@pytest.mark.slow
async def test_a_replay_tells_again_what_was_told_and_asks_what_was_not(
    store: SessionStore, google: Google, talk: Spoken
) -> None:
    async def run(killed: bool) -> tuple[list[Event], Ear]:
        async with google(ear := Ear(talk, delays={60: 2.5})) as actors:
            actor, mine = await actors.start(), await begin(store, talk[0])
            await mine.say(30, actor)
            await told(mine, 1)
            if killed:
                actor = await actors.start()
            await mine.say(61, actor)
            async with asyncio.timeout(60):
                while len(ear.asked) < 2:
                    await asyncio.sleep(0.02)
            if killed:
                actor = await actors.start()
            await mine.say(61.5, actor)
            await told(mine, 2)
            await mine.say(64, actor)
            await mine.stop(actor)
            return await mine.told(), ear

    undisturbed, ear = await run(killed=False)
    assert ear.asked == [(0, 30), (15, 60), (45, 64)]
    assert len(of(undisturbed, WordsHeard)) == 3
    events, ear = await run(killed=True)
    assert events == undisturbed
    assert ear.asked == [(0, 30), (15, 60), (15, 60), (45, 64)]


async def test_what_was_told_of_the_rest_is_not_asked_again(
    store: SessionStore, google: Google, talk: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The actor fails between the last answer and the end."""
    monkeypatch.setattr("deployments.sessions.FIRST_RETRY", 0.01)
    ear, failed = Ear(talk), []
    async with google(ear) as actors:
        undisturbed = await heard(store, await actors.start(), talk[0], 8)
        actor = await actors.start()
        publish = actor._store.publish

        async def fail_once(session: str, step: int, events: list[Event], corrected: int | None = None) -> bool:
            if of(list(events), SessionEnded) and not failed:
                failed.append(step)
                raise ConnectionError
            return await publish(session, step, events, corrected)

        monkeypatch.setattr(actor._store, "publish", fail_once)
        assert await heard(store, actor, talk[0], 8) == undisturbed
    assert failed
    assert ear.asked == [(0, 8)] * 2, "once in each run"


@pytest.mark.parametrize(
    ("setting", "session", "asked"),
    [("google", None, 1), ("google", "local", 0), ("local", "google", 1), ("local", None, 0)],
)
async def test_the_session_decides_and_else_the_setting(
    store: SessionStore, google: Google, talk: Spoken, setting: str, session: str | None, asked: int
) -> None:
    ear = Ear(talk)
    async with google(ear, diariser=setting) as actors:
        actor = await actors.start()
        events = await heard(store, actor, talk[0], 4, diariser=session)
        assert (actor._second._opening is not None) == bool(asked), "loaded for nothing"
    assert len(ear.asked) == len(of(events, WordsHeard)) == asked


async def test_a_session_brings_its_language_and_the_settings_the_model(
    store: SessionStore, google: Google, talk: Spoken
) -> None:
    ear = Ear(talk)
    async with google(ear, google_language="hu-HU", google_model="latest_long") as actors:
        actor = await actors.start()
        await heard(store, actor, talk[0], 4)
        await heard(store, actor, talk[0], 4, language="de-CH")
    configs = [request.config for request in ear.requests]
    assert [config.language_code for config in configs] == ["hu-HU", "de-CH"]
    assert {config.model for config in configs} == {"latest_long"}


@pytest.mark.parametrize(
    ("hints", "asked"),
    [
        ({}, (1, 6)),
        ({"min_speakers": 2, "max_speakers": 3}, (1, 3)),
        ({"min_speakers": 4, "max_speakers": 4}, (1, 4)),
        ({"min_speakers": 8}, (1, 8)),
    ],
)
async def test_google_is_told_how_many_talk_at_most_and_not_that_all_of_them_do(
    store: SessionStore, google: Google, talk: Spoken, hints: dict[str, int], asked: tuple[int, int]
) -> None:
    """A monologue of half a minute came back as four voices where four people were to talk in all."""
    ear = Ear(talk)
    async with google(ear) as actors:
        await heard(store, await actors.start(), talk[0], 4, **hints)
    told = ear.requests[0].config.diarization_config
    assert (told.min_speaker_count, told.max_speaker_count) == asked


async def test_an_erased_session_waits_for_nothing(store: SessionStore, google: Google, talk: Spoken) -> None:
    async with google(Ear(talk, Reply(delay=20))) as actors:
        actor, mine = await actors.start(), await begin(store, talk[0])
        await mine.say(30, actor)
        async with asyncio.timeout(10):  # the other diariser is asked once what is told of the hop has been published
            while (asking := actor._live[mine.id].asking) is None:
                await asyncio.sleep(0.01)
        await store.erase(mine.id)
        await actor.drop(mine.id)
        await asyncio.wait({asking.answer}, timeout=2)
        assert asking.answer.cancelled()


async def test_an_abandoned_session_hears_the_opinion_on_its_rest(
    store: SessionStore, google: Google, talk: Spoken
) -> None:
    ear = Ear(talk)
    async with google(ear) as actors:
        actor, mine = await actors.start(), await begin(store, talk[0])
        actor._settings = actor._settings.model_copy(update={"abandon": 0.3})
        await mine.say(6, actor)
        async with asyncio.timeout(10):
            while actor._live:
                await asyncio.sleep(0.05)
        types = [event.type for event in await mine.told()]
    assert ear.asked == [(0, 6)]
    assert types.index("words.heard") < types.index("chunk.closed"), "the last chunk knows it already"
    assert types[-1] == "session.ended"


async def test_an_answer_that_comes_after_the_end_changes_nothing(
    store: SessionStore, google: Google, talk: Spoken
) -> None:
    """Another actor has ended the session meanwhile."""
    ear = Ear(talk, Reply(delay=1.5))
    async with google(ear) as actors:
        actor, mine = await actors.start(), await begin(store, talk[0])
        await mine.say(31, actor)
        await mine.stop(actors.another())
        before = await mine.told()
        async with asyncio.timeout(5):
            while actor._live:
                await asyncio.sleep(0.05)
        assert await mine.told() == before
    assert ear.asked == [(0, 30), (0, 31)]


@pytest.mark.slow
async def test_the_whole_service_asks_and_survives_its_actor(talk: Spoken) -> None:
    ear = Ear(talk)
    async with google_server(ear) as server:
        settings = {"diariser": "google", "google_endpoint": server.endpoint, "google_insecure": "true"}
        running = running_service(**settings)
        service = await asyncio.to_thread(running.__enter__)
        try:
            session = await open_session(service.api, "research")
            recording = asyncio.create_task(record(service.api, talk[0][: 40 * SAMPLE_RATE], session=session))
            async with asyncio.timeout(60):
                while not (await session.get())["words"]:
                    await asyncio.sleep(0.1)
            service.kill("ray::SessionActor")
            await recording
            timeline = await session.get()
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
    assert ear.asked == [(0, 30), (15, 40)]
    said = [at for at, _ in ear.words() if at < 40]
    assert [word["start"] for word in timeline["words"]] == pytest.approx(said)
    assert {word["speaker"] for word in timeline["words"]} == set(timeline["speakers"]) == {1, 2, 3}
