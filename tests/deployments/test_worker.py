"""What a worker makes of trouble, without a service around it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ssl import CERT_NONE, CERT_REQUIRED
from types import SimpleNamespace
from typing import Any, cast

import kombu
import numpy as np
import pytest
from pydantic import SecretStr
from ray.serve.schema import CeleryAdapterConfig

from deployments import recordings
from deployments.enrolled import Enrolled
from deployments.loop import Loop
from deployments.opinions import NOT_ASKED, Opinions
from deployments.queue import queue_config
from deployments.recordings import RecordingWorker
from deployments.second_opinion import Opinion
from deployments.settings import Settings
from pipeline.blobs import Blobs, BlobTrouble
from pipeline.conversation import Question
from pipeline.corrections import Telling
from pipeline.enrolment import version
from pipeline.hearing import Memo
from pipeline.job import Cancelled, Job, State
from pipeline.media.undecodable import UndecodableAudio
from pipeline.session import Voice
from tests.uploads import wav_of


def a_worker() -> RecordingWorker:
    worker = RecordingWorker.__new__(RecordingWorker)
    worker._stirred()
    return worker


@pytest.mark.parametrize(
    ("query", "verified"),
    [("", CERT_REQUIRED), ("?ssl_ca_certs=/ca.pem", CERT_REQUIRED), ("?ssl_cert_reqs=none", CERT_NONE)],
)
def test_the_queue_verifies_certificates_as_all_else_does(query: str, verified: int) -> None:
    """Celery took any, where nothing was said."""
    config = queue_config(Settings(redis_url=SecretStr(f"rediss://:secret@somewhere:6379/0{query}")))
    assert isinstance(config.adapter_config, CeleryAdapterConfig)
    assert kombu.Connection(config.adapter_config.broker_url).ssl["ssl_cert_reqs"] is verified


@pytest.mark.parametrize("damaged", [False, True])
def test_what_the_store_did_not_give_is_not_damage(tmp_path: Any, monkeypatch: Any, damaged: bool) -> None:
    """A recording whose store failed in the middle was heard as if it ended there, or failed for good."""
    blobs = Blobs(str(tmp_path))
    with blobs.write("0123456789abcdef") as file:
        file.write(wav_of(np.ones(16_000, np.int16)))

    def broken(source: Any, most: float) -> Iterator[Any]:
        yield np.zeros(8_000, np.int16)
        source.trouble = BlobTrouble("away")
        if damaged:
            raise UndecodableAudio("cannot be decoded")

    monkeypatch.setattr(recordings, "decode", broken)
    with blobs.read("0123456789abcdef") as blob, pytest.raises(BlobTrouble):
        list(a_worker()._blocks(blob, False, 60.0))


def test_damage_is_the_files_own(tmp_path: Any) -> None:
    blobs = Blobs(str(tmp_path))
    with blobs.write("0123456789abcdef") as file:
        file.write(b"no sound at all")
    with blobs.read("0123456789abcdef") as blob, pytest.raises(UndecodableAudio):
        list(a_worker()._blocks(blob, False, 60.0))


@pytest.mark.parametrize(("error", "given_back"), [(BlobTrouble("away"), 3), (TimeoutError(), 3), (KeyError("x"), 0)])
def test_only_what_a_recording_can_help_counts_against_it(monkeypatch: Any, error: Exception, given_back: int) -> None:
    worker = a_worker()
    troubles = [error, error, error]
    back: list[str] = []

    def attend(recording: str, token: str) -> None:
        if troubles:
            raise troubles.pop()

    monkeypatch.setattr(worker, "_attend", attend)
    monkeypatch.setattr(worker, "_give_back_try", lambda recording, token: back.append(recording))
    monkeypatch.setattr(recordings, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(recordings, "renewing", lambda *_: recordings.suppress())
    monkeypatch.setattr(recordings.celery, "current_task", a_task())
    worker._redis = None  # type: ignore[assignment]
    worker.hear("0123456789abcdef")
    assert len(back) == given_back


def a_task() -> Any:
    class Request:
        properties = {"delivery_tag": "tag"}

    class Task:
        request = Request()

    return Task()


class Voices:
    """What `Enrolled` asks of the store of jobs."""

    def __init__(self, ids: list[str], there: list[Voice]) -> None:
        self.ids, self.there = ids, there

    async def voices(self, recording: str, of: str) -> tuple[list[str], list[Voice]]:
        assert (recording, of) == ("it", version())
        return self.ids, self.there


@pytest.mark.parametrize(("ids", "warning"), [(["a"], ""), ([], ""), (["a", "b", "c"], "2 of 3.")])
def test_voices_that_are_gone_are_missed_in_a_sentence(ids: list[str], warning: str) -> None:
    there = [Voice("a", "Anna", np.ones(4, np.float16))] if ids else []
    enrolled = Enrolled(Loop("test"), cast(Any, Voices(ids, there)), "it")
    assert enrolled() == there
    assert enrolled.warning.endswith(warning)
    assert bool(enrolled.warning) == bool(warning)


class Memory:
    """What `_Notes` asks of the work on jobs."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def noted(self, _: str, key: str) -> bytes | None:
        return self.kept.get(key)

    async def note(self, _: str, worker: str, key: str, value: bytes) -> None:
        self.kept[key] = value


class Second:
    """Answers in turn, or does not."""

    def __init__(self, *answers: bool) -> None:
        self._answers = list(answers)
        self.asked = 0

    def ask(self, question: Question, record: Any) -> Any:
        telling = Telling(since=question.since, until=question.until, words=())
        answer: asyncio.Future[Opinion] = asyncio.get_running_loop().create_future()
        answers = self._answers[self.asked % len(self._answers)]
        self.asked += 1
        answer.set_result(Opinion(telling) if answers else Opinion(telling, "deadline", "It did not answer."))
        return SimpleNamespace(answer=answer)


JOB = Job(id="it", name="talk", purpose="research", state=State.RUNNING, created_at=0.0)
QUESTIONS = [Question(np.zeros(10, np.int16), 0, 30.0 * chunk, 30.0 * (chunk + 1)) for chunk in range(9)]


@pytest.mark.parametrize("answers", [True, False])
def test_whoever_asks_another_diariser_is_not_taken_for_dead_and_can_be_cancelled(answers: bool) -> None:
    """An hour of answers that never came was an hour without a sign of life: the worker was killed for it."""

    def stir() -> None:
        signs.append(notes.further())
        if len(signs) == 3:
            raise Cancelled("it")

    signs: list[bool] = []
    loop, work = Loop("test"), cast(Any, Memory())
    notes = recordings._Notes(loop, work, "it", "worker", "model")
    opinions = Opinions(loop, cast(Any, Second(answers)), JOB, notes, stir)
    with pytest.raises(Cancelled):
        list(map(opinions, QUESTIONS))
    assert signs == [True] * 3


@pytest.mark.parametrize(
    ("answers", "asked", "warned"),
    [
        ([True], 9, []),
        ([False], 3, [(30, "It did not answer."), (90, NOT_ASKED)]),
        ([False, False, True], 9, [(30, "It did not answer.")]),
        ([True, True, True, False, False, False], 6, [(120, "It did not answer."), (180, NOT_ASKED)]),
        ([True] * 6 + [False] * 3, 9, [(210, "It did not answer.")]),
    ],
)
def test_only_misses_in_a_row_have_another_diariser_left_in_peace(
    answers: list[bool], asked: int, warned: list[tuple[float, str]]
) -> None:
    loop, notes, second = Loop("test"), Memo(), Second(*answers)
    for _ in range(2):  # the second one is whoever takes the recording over
        opinions = Opinions(loop, cast(Any, second), JOB, notes, lambda: None)
        told = list(map(opinions, QUESTIONS))
        assert [(one.since, one.until) for one in told] == [(one.since, one.until) for one in QUESTIONS]
        assert second.asked == asked
        assert [(warning.heard_until, warning.message) for warning in opinions.warned] == warned
        assert opinions.warning == " ".join(message for _, message in warned)
