"""Recordings that Google is asked about: the real client over gRPC to a server of our own, which knows what is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from deployments.opinions import MOST_MISSES, NOT_ASKED
from pipeline.diarisation.local import LocalDiariser
from pipeline.events import SessionEnded, TurnUpdated, Warned, WordsHeard
from pipeline.job import State
from tests.deployments.actors import folded, of
from tests.deployments.ear import Ear, Spoken, refusal, three_talk
from tests.deployments.hearer import Hearer, hearing
from tests.deployments.test_second_opinion import names
from tests.google_server import google_server

SECONDS = 125.0
CHUNKS = [(0, 30), (15, 60), (45, 90), (75, 120), (105, SECONDS)]
Google = Callable[..., Any]


@pytest.fixture(scope="module")
def talk() -> Spoken:
    return three_talk(SECONDS)


@pytest.fixture
def google(url: str, tmp_path: Path, diariser: LocalDiariser) -> Google:
    """Makes hearers whose Google is what hears a talk."""

    @asynccontextmanager
    async def over(ear: Ear, **settings: Any) -> AsyncIterator[Hearer]:
        async with google_server(ear) as server:
            where = {"google_endpoint": server.endpoint, "google_insecure": True, "google_deadline": 10}
            with hearing(url, tmp_path, diariser, **where | settings) as hearer:
                yield hearer

    return over


async def test_a_recording_is_asked_about_chunk_by_chunk_with_what_is_known_of_it(google: Google, talk: Spoken) -> None:
    ear = Ear(talk)
    async with google(ear) as hearer:
        said = {"diariser": "google", "language": "de-CH", "min_speakers": 2, "max_speakers": 3}
        job, events = await hearer.hear(await hearer.upload(talk[0], **said))
    assert ear.asked == CHUNKS
    for config in (request.config for request in ear.requests):
        counts = config.diarization_config.min_speaker_count, config.diarization_config.max_speaker_count
        assert (config.language_code, counts, config.model) == ("de-CH", (1, 3), "")
    assert (job.state, job.warning) == (State.DONE, None)
    timeline = folded(events)
    assert timeline.speakers == [1, 2, 3]
    assert len(names(timeline, ear)) == 3, "everybody has one number, and every number one person"
    who_said = {round(at, 3): who for at, who in ear.words()}
    assert len(timeline.words) == len(who_said)
    assert {(who_said[round(word.start, 3)], word.speaker) for word in timeline.words} == names(timeline, ear)


async def test_where_google_is_away_it_is_left_in_peace_and_all_reasons_are_told(google: Google, talk: Spoken) -> None:
    """Each of hundreds of chunks waited for the deadline, one after the other, and the last one's reason was told."""
    ear = Ear(talk, *map(refusal, ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNAUTHENTICATED"]))
    async with google(ear) as hearer:
        _, alone = await hearer.hear(await hearer.upload(talk[0], diariser="local"))
        job, events = await hearer.hear(await hearer.upload(talk[0], diariser="google"))
    assert ear.asked == CHUNKS[:MOST_MISSES]
    warned = of(events, Warned)
    assert [warning.heard_until for warning in warned] == [30, 60, 90]
    for warning, says in zip(warned, ["no credentials", "does not let these credentials", NOT_ASKED], strict=True):
        assert warning.code == "google"
        assert says in warning.message
        assert "TOPSECRET" not in warning.message
    assert (job.state, job.warning) == (State.DONE, " ".join(warning.message for warning in warned))
    assert events[-1].type == "session.ended"
    turns = [[event.turn for event in of(told, TurnUpdated)] for told in (alone, events)]
    assert turns[0] == turns[1], "the local labels stand"


async def test_one_answer_that_is_missing_is_told_and_all_others_count(google: Google, talk: Spoken) -> None:
    ear = Ear(talk, refusal("UNAUTHENTICATED"))
    async with google(ear) as hearer:
        job, events = await hearer.hear(await hearer.upload(talk[0], diariser="google"))
    assert ear.asked == CHUNKS
    assert [warning.message for warning in of(events, Warned)] == [job.warning]
    timeline = folded(events)
    assert len(names(timeline, ear)) == 3
    assert min(word.start for word in timeline.words) >= 30
    assert len(of(events, WordsHeard)) == len(of(events, SessionEnded)) == 1


async def test_whoever_takes_a_recording_over_asks_nothing_again(
    google: Google, talk: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only answers were noted: what had not come was waited for again."""
    ear = Ear(talk, refusal("UNAUTHENTICATED"))
    async with google(ear) as hearer:
        recording = await hearer.upload(talk[0], diariser="google")
        with monkeypatch.context() as broken:

            async def fail(*_: object) -> None:
                raise ConnectionError

            broken.setattr(hearer.worker._work, "adopt", fail)
            with pytest.raises(ConnectionError):
                await hearer.hear(recording)
        assert ear.asked == CHUNKS
        job, events = await hearer.hear(recording)
    assert ear.asked == CHUNKS
    assert [warning.message for warning in of(events, Warned)] == [job.warning]
    said = [at for at, _ in ear.words() if at >= 30]
    assert [word.start for word in folded(events).words] == pytest.approx(said), "the answers are kept, too"
