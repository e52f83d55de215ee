"""Purposes are few and known by name, and what people have agreed to is kept word by word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.consent import CURRENT, WORDINGS, consent_to
from pipeline.job import RecordingRequest, Upload
from pipeline.jobs import JobStore
from pipeline.purposes import FORBIDDEN, Purpose, RefusedPurpose, not_offered, offers, permit
from pipeline.session import SessionRequest
from pipeline.store import SessionStore, connect
from pipeline.work import Work
from tests.service import running_redis

RECORDING = "0123456789abcdef"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SessionStore]:
    with running_redis(tmp_path) as url:
        client = connect(url)
        yield SessionStore(client, retention=600)
        await client.aclose()


@pytest.mark.parametrize("kind", [SessionRequest, RecordingRequest])
@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"purpose": "staff meeting"}, "'work'"),
        ({"purpose": "other"}, "needs a remark"),
        ({"purpose": "other", "remark": "  "}, "needs a remark"),
        ({"purpose": "research", "remark": "a\u202eb"}, "control characters"),
        ({"purpose": "research", "consent_version": "1999-01"}, f"the current one is {CURRENT.version}"),
    ],
)
def test_what_is_declared_must_make_sense(kind: type[SessionRequest], said: dict[str, str], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        kind.model_validate({"consent": True} | said)


def test_a_refused_purpose_is_refused_with_a_reason() -> None:
    for purpose in Purpose:
        permit(purpose, [])
        with pytest.raises(RefusedPurpose, match=f"“{purpose}” is refused here. Whoever runs this service"):
            permit(purpose, [purpose])
    with pytest.raises(RefusedPurpose, match=r"AI Act, Article 5\(1\)\(f\), forbids"):
        permit(Purpose.WORK, FORBIDDEN)
    with pytest.raises(RefusedPurpose) as refused:
        permit(Purpose.RESEARCH, [Purpose.RESEARCH])
    assert "AI Act" not in str(refused.value), "the law says nothing of research"


def test_what_is_offered_says_what_is_not() -> None:
    assert {offer.name for offer in offers(FORBIDDEN) if offer.refused} == {"education", "work"}
    assert not any(offer.refused for offer in offers([]))
    assert not_offered([]) == ""
    assert not_offered(FORBIDDEN).startswith("Not offered here: education and work. In the European Union the AI Act")
    assert not_offered([Purpose.THERAPY, Purpose.RESEARCH]) == "Not offered here: therapy and research."


def test_wordings_have_versions_of_their_own() -> None:
    assert len({one.version for one in WORDINGS}) == len(WORDINGS)
    assert consent_to("", 1.0) is None, "a record of an earlier version does not claim a wording"
    later = consent_to("2099-01", 1.0)
    assert later is not None
    assert (later.version, later.statement) == ("2099-01", "")


async def test_a_session_keeps_its_purpose_and_what_was_agreed_to(store: SessionStore) -> None:
    session = await store.create(SessionRequest(purpose="other", remark="a play", consent=True))
    record = await store.record(session.id)
    assert (record.purpose, record.remark) == ("other", "a play")
    assert record.consent is not None
    assert record.consent.model_dump() == {
        "version": CURRENT.version,
        "statement": CURRENT.statement,
        "agreed_at": record.created_at,
    }
    await store._redis.hdel(f"tonetrack:{{{session.id}}}", "consent_version", "remark")
    record = await store.record(session.id)
    assert (record.remark, record.consent) == ("", None)


async def test_a_recording_keeps_them_and_so_does_the_session_that_it_becomes(store: SessionStore) -> None:
    jobs = JobStore(store._redis, store, 600)
    work = Work(store._redis, store, jobs)
    request = RecordingRequest(purpose="therapy", remark="third hour", consent=True)
    upload = Upload(file="talk.wav", bytes=10, media_type="audio/wav", seconds=1.0, channels=1)
    await jobs.create(RECORDING, request, upload, "mine", "viewer", "secret")
    job = await jobs.job(RECORDING)
    assert (job.purpose, job.remark) == ("therapy", "third hour")
    assert job.consent == consent_to(CURRENT.version, job.created_at)
    await work.begin(RECORDING, "worker")
    await work.adopt(RECORDING, 1.0, "models")
    record = await store.record(RECORDING)
    assert (record.purpose, record.remark, record.consent) == (job.purpose, job.remark, job.consent)
