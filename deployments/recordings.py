"""Hears what was uploaded: takes recordings from the queue, has the models hear them, publishes what they heard.

A recording is heard segment by segment, and what was heard is noted. So whoever takes it over from a worker that died
goes on after the last segment, and whatever happens, its result is published once. What cannot be decoded fails at
once, with the reason; what breaks workers or models, or holds them up for good, is begun a few times without getting
further, then given up and laid aside, so that it cannot hold up the others. Where Redis, the blob store or the models
are away, recordings wait.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Final, cast

import celery
from ray.serve.handle import DeploymentHandle
from ray.serve.task_consumer import task_handler
from redis import Redis
from redis.exceptions import RedisError

from deployments.enrolled import Enrolled
from deployments.loop import Loop
from deployments.metrics import RECORDING_SPEED, RECORDINGS, RECORDINGS_OVER, REDIS_MEMORY
from deployments.opinions import Opinions
from deployments.queue import TASK, renewing
from deployments.second_opinion import SecondOpinion
from deployments.sessions import open_store
from deployments.settings import Settings
from deployments.webhooks import Deliverer, announce
from pipeline.blobs import Blob, Blobs, BlobTrouble
from pipeline.emotion import EmotionHead
from pipeline.enrolment import version
from pipeline.hearing import READING, Ears, Listening, Progress
from pipeline.job import Cancelled, State, Superseded, UnknownRecording, sentence
from pipeline.jobs import JobStore
from pipeline.logs import about, speak, why
from pipeline.media import decode, decode_channels
from pipeline.media.undecodable import UndecodableAudio
from pipeline.recording import listen
from pipeline.session import Expected, UnknownSession
from pipeline.sound import Pcm, Sound
from pipeline.store import connect
from pipeline.webhooks import WebhookStore
from pipeline.work import Work

ANSWER_SECONDS: Final = 120.0  # that a model may take for a segment, live traffic before it included
FIRST_WAIT, LAST_WAIT = 0.5, 8.0  # s before a recording is begun anew; doubles up to the last
REPORT_SECONDS: Final = 0.3  # between two reports of the same step
ROUND_SECONDS: Final = 5.0  # between two looks at what is to be tidied up
FORGOTTEN_SECONDS: Final = 20.0  # after which a recording that the queue was never told of is put there
LOST_SECONDS: Final = 30.0  # without a sign of life, after which it is taken from its worker and put there, too
STUCK_SECONDS: Final = 600.0  # without a sign of getting on, after which a worker ends itself
AWAY: Final = (BlobTrouble, RedisError, TimeoutError)  # what a recording cannot help, and waits for
MOST_WAITS: Final = 200  # for that, before it counts against the recording: half an hour, if it fails at once
GONE: Final = "The sound is not there any more; upload the recording again."
LAID_ASIDE: Final = (
    "It was begun {tries} times and never got further, so it was laid aside; the service's log says why. "
    "It can be sent again."
)

logger = logging.getLogger("ray.serve")


class RecordingWorker:
    """Hears one recording at a time. What is done twice, after a loss, changes nothing."""

    def __init__(self, settings: Settings, diariser: DeploymentHandle, recogniser: DeploymentHandle) -> None:
        speak("recordings", settings.log_format, settings.log_level)
        self._settings = settings
        self._head = EmotionHead.load()
        self._blobs = Blobs(settings.blob_url)
        self._ears = Ears(
            lambda segment: diariser.hear.remote(segment).result(timeout_s=ANSWER_SECONDS),
            lambda fragments: recogniser.hear.remote(fragments).result(timeout_s=ANSWER_SECONDS),
            settings.recording_at_once,
        )
        self._second = SecondOpinion(settings)
        self._loop = Loop("recordings")
        self._redis = Redis.from_url(settings.redis_address, socket_timeout=2, socket_connect_timeout=2)
        self._jobs, self._work, self._webhooks = self._loop.run(_open_stores(settings))
        self._deliverer = Deliverer(settings.redis_address, settings.webhook_private)
        self._deliverer.start()
        self._stirred()
        self._loop.spawn(self._tidy_up())

    @task_handler(name=TASK)
    def hear(self, recording: str) -> None:
        """Hear a recording to its end, whatever that is, unless another worker does."""
        about(recording=recording)
        worker = secrets.token_hex(8)
        failures = 0
        self._stirred()
        tag = celery.current_task.request.properties["delivery_tag"]
        with renewing(self._redis, tag, recording, lambda: time.monotonic() - self._stirred_at < STUCK_SECONDS):
            while True:
                try:
                    self._attend(recording, worker)
                    return
                except (Superseded, UnknownRecording, UnknownSession):
                    return
                except AWAY as error:
                    logger.warning("waits: %s", why(error))
                    if failures < MOST_WAITS:
                        self._give_back_try(recording, worker)
                except Exception:
                    logger.exception("beginning anew")
                self._stirred()
                time.sleep(min(FIRST_WAIT * 2**failures, LAST_WAIT))
                failures += 1

    def _attend(self, recording: str, worker: str) -> None:
        """Do for a recording what is to be done now."""
        match self._loop.run(self._work.begin(recording, worker)):
            case "go on":
                try:
                    self._hear(recording, worker)
                except UndecodableAudio as error:
                    self._settle(recording, worker, State.FAILED, error=sentence(error))
                except FileNotFoundError:
                    self._settle(recording, worker, State.FAILED, error=GONE)
                except Cancelled:
                    self._settle(recording, worker, State.CANCELLED)
            case "cancel":
                self._settle(recording, worker, State.CANCELLED)
            case "give up":
                reason = LAID_ASIDE.format(tries=self._settings.recording_tries)
                self._settle(recording, worker, State.FAILED, error=reason, retryable=1)
        self._conclude(recording)

    def _give_back_try(self, recording: str, worker: str) -> None:
        """It is not the recording that this is wrong with."""
        with suppress(RedisError, Cancelled, Superseded, UnknownRecording):
            self._loop.run(self._work.report(recording, worker, tries=0))

    def _stirred(self) -> None:
        self._stirred_at = time.monotonic()

    def _hear(self, recording: str, worker: str) -> None:
        job = self._loop.run(self._jobs.job(recording))
        start = time.monotonic()
        models = f"{self._head.version} {version()}"
        notes = _Notes(self._loop, self._work, recording, worker, models)
        tell = self._told(recording, worker)
        reporter = _Reporter(tell, notes, job.progress)
        opinions = Opinions(self._loop, self._second, job, notes, lambda: tell(notes.further()))
        voices = Enrolled(self._loop, self._jobs, recording)
        how = Listening(
            expected=Expected(job.min_speakers or 1, job.max_speakers),
            channels=job.channels_as == "speakers",
            consult=opinions if (job.diariser or self._settings.diariser) == "google" else None,
            known=voices,
            notes=notes,
            on_progress=reporter,
            claimed=job.seconds or 0.0,
        )
        most = self._settings.max_recording_seconds
        with self._blobs.read(recording) as file, Sound(self._blocks(file, how.channels, most)) as sound:
            heard = listen(sound, self._ears, self._head, how)
            self._loop.run(self._work.adopt(recording, heard.seconds, models))
            for number, events in enumerate(heard.told(job.purpose, opinions.warned)):
                self._loop.run(self._work.publish(recording, number, events))
        warning = " ".join(filter(None, (opinions.warning, voices.warning)))
        told = {"warning": warning} if warning else {}
        whole = {"seconds": heard.seconds, "done": heard.seconds, "progress": 1.0}
        self._settle(recording, worker, State.DONE, **whole, **told)
        if job.tries <= 1:  # what another had begun would look as if it had gone fast
            RECORDING_SPEED.observe(heard.seconds / (time.monotonic() - start))

    def _told(self, recording: str, worker: str) -> Callable[..., None]:
        def tell(further: bool, **fields: float | str) -> None:
            self._stirred()
            self._loop.run(self._work.report(recording, worker, further, **fields))

        return tell

    def _blocks(self, file: Blob, channels: bool, most_seconds: float) -> Iterator[Pcm]:
        """The sound. Raises `UndecodableAudio` where that is the file's fault, and `BlobTrouble` where it is not."""
        source = cast(BinaryIO, file)
        try:
            for block in decode_channels(source, most_seconds) if channels else decode(source, most_seconds):
                self._stirred()
                yield block
        except UndecodableAudio:
            if file.trouble is None:
                raise
        if file.trouble:  # what could not be read may have been taken for damage
            raise file.trouble

    def _settle(self, recording: str, worker: str, state: State, **fields: Any) -> None:
        try:
            self._loop.run(self._work.settle(recording, worker, state, **fields))
        except Cancelled:  # while the last of it was heard
            state = State.CANCELLED
            self._loop.run(self._work.settle(recording, worker, state))
        RECORDINGS_OVER.inc(1, {"state": state.value})
        logger.info("over: %s", state.value)

    def _conclude(self, recording: str) -> None:
        """What follows from a recording's being over: its sound goes, and whoever uploaded it is told."""
        job = self._loop.run(self._jobs.job(recording))
        if not job.state.over:
            return
        if job.audio and not job.retryable and not (job.keep_audio and job.state is State.DONE):
            self._blobs.erase(recording)
            self._loop.run(self._jobs.without_sound(recording))
        self._loop.run(announce(job, self._jobs, self._webhooks, self._settings.retention))

    async def _tidy_up(self) -> None:
        """Erase sound whose time is over, find recordings that the queue does not know of, and tell operators of it.

        It forgets those that one worker hears after it was taken for dead, when another gives them back.
        """
        while True:
            try:
                for recording in await self._work.due_blobs():
                    await asyncio.to_thread(self._blobs.erase, recording)
                    await self._jobs.without_sound(recording)
                lost = await self._work.lost(LOST_SECONDS)
                for recording in {*lost, *await self._work.not_enqueued(FORGOTTEN_SECONDS)}:
                    await asyncio.to_thread(cast(Any, self)._adapter.enqueue_task_sync, TASK, [recording])
                    await self._jobs.enqueued(recording)
                counts = (*await self._jobs.workload(), await self._jobs.laid_aside())
                for state, count in zip(("waiting", "running", "dead"), counts, strict=True):
                    RECORDINGS.set(count, {"state": state})
                if (taken := await self._jobs.memory_ratio()) is not None:
                    REDIS_MEMORY.set(taken)
            except Exception as error:
                logger.warning("recordings cannot be tidied up: %s", why(error))
            await asyncio.sleep(ROUND_SECONDS)


class _Notes:
    """What was heard of a recording, in Redis.

    `models`: the versions of those that hear it, for others' notes would mean nothing to them.
    """

    def __init__(self, loop: Loop, work: Work, recording: str, worker: str, models: str) -> None:
        self._loop = loop
        self._work = work
        self._recording = recording
        self._worker = worker
        self._models = models
        self._further = False

    def further(self) -> bool:
        """Whether anything was noted since this was asked last."""
        further, self._further = self._further, False
        return further

    def get(self, key: str) -> bytes | None:
        return self._loop.run(self._work.noted(self._recording, f"{self._models}/{key}"))

    def put(self, key: str, value: bytes) -> None:
        self._loop.run(self._work.note(self._recording, self._worker, f"{self._models}/{key}", value))
        self._further = True


class _Reporter:
    """Tells how far a recording is, though not of every batch; `reached`: the share that somebody has reached before.

    Whoever takes it over goes through the notes first, and nobody shall see that as a step back.
    """

    def __init__(self, tell: Callable[..., None], notes: _Notes, reached: float) -> None:
        self._tell = tell
        self._notes = notes
        self._reached = reached
        self._told_at = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.step == READING and progress.share < 1 and time.monotonic() - self._told_at < REPORT_SECONDS:
            return
        self._told_at = time.monotonic()
        share = round(min(progress.share, 0.999), 4)  # all of it only once everything is published
        self._reached = max(share, self._reached)
        self._tell(self._notes.further(), step=progress.step, done=progress.done, progress=self._reached)


async def _open_stores(settings: Settings) -> tuple[JobStore, Work, WebhookStore]:
    redis, sessions = connect(settings.redis_address), open_store(settings)
    jobs = JobStore(redis, sessions, settings.retention)
    return jobs, Work(redis, sessions, jobs, settings.recording_tries), WebhookStore(redis)
