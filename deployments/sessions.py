"""The session actors: each holds many live conversations, hears their hops in order, publishes what follows.

Every conversation in an actor is a cache over Redis. Whatever goes wrong with one (a model's replica died, Redis was
away, the actor itself was killed), the cure is the same: forget it, load its snapshot, replay its journal. The same
audio gives the same events, and a step that was published before is not published again. What people correct takes its
turn between two frames, is kept beside the journal, and is corrected again in the same place when that is replayed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import inf
from operator import attrgetter
from typing import Any

import numpy as np
from ray.serve.handle import DeploymentHandle
from redis.exceptions import RedisError

from deployments.cadence import Cadence, Pace
from deployments.gather import Gatherer
from deployments.halts import Halts
from deployments.held import Held, restore
from deployments.lag import LATELY
from deployments.live import Answered, Asked, Correcting, End, Live
from deployments.metrics import CADENCE, DROPPED, LIVE_SESSIONS, RESTORED, STAGES, asking_redis, count_hop, timed
from deployments.second_opinion import Asking, SecondOpinion, token
from deployments.settings import Settings
from pipeline import matching, tasks
from pipeline.conversation import Hop
from pipeline.corrections import Correction, Merging, Telling, UnknownSpeaker, consequences
from pipeline.diarisation import Observation, Stretch
from pipeline.emotion import EmotionHead
from pipeline.events import Event, SessionEnded
from pipeline.logs import about, speak
from pipeline.published import Corrected
from pipeline.session import Codec, Frame, OutOfStep, UnknownSession
from pipeline.store import SessionStore, connect
from pipeline.timeline import CHUNK_SECONDS, HOP_SECONDS, SAMPLE_RATE

FIRST_RETRY, LAST_RETRY = 0.5, 10.0  # s after a failure, before the conversation is restored; doubles up to the last
SOUND_MARGIN = 60.0  # s
COMPANY_SECONDS = 0.01  # that a hop waits for others; frames come in company already
LAST_STEP = 2**31  # above every hop
HEARD_TOGETHER = (
    4  # hops in a call to the diariser, which take it a tenth of a second; more would keep each other waiting
)
STUCK = 3  # failures in a row after which those who watch are told

logger = logging.getLogger("ray.serve")


class SessionActor:
    """Holds many sessions. All its methods may be called again: what was done is not done twice."""

    def __init__(self, settings: Settings, diariser: DeploymentHandle, recogniser: DeploymentHandle) -> None:
        speak("sessions", settings.log_format, settings.log_level)
        self._settings = settings
        self._store = open_store(settings)
        self._live: dict[str, Live] = {}
        self._busy_at = time.monotonic()
        self._observe: Gatherer[Stretch, Observation] = Gatherer(
            diariser.observe.remote, COMPANY_SECONDS, self._crowd, HEARD_TOGETHER, weight=attrgetter("hops")
        )
        self._embed: Gatherer[Any, Any] = Gatherer(recogniser.embed.remote)
        self._head = EmotionHead.load()
        self._second = SecondOpinion(settings)
        self._cadence = Cadence(settings.max_lag, settings.max_busy)
        matching.warm_up()

    async def hear(self, said: Sequence[tuple[str, Frame]]) -> tuple[list[int], Pace]:
        """Take in frames that stand in the journals of their sessions.

        Returns how many things wait to be done before each of them is heard, and what this actor can do.
        """
        waiting = [self._take_in(session, frame) for session, frame in said]
        return waiting, self._cadence.pace(self._crowd())

    def _take_in(self, session: str, frame: Frame) -> int:
        live = self._of(session)
        live.heard_at = time.monotonic()
        live.inbox.put_nowait(frame)
        return live.inbox.qsize()

    async def finish(self, session: str) -> float:
        """Hear everything that the journal holds, publish the end, return the session's seconds."""
        heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._of(session).inbox.put_nowait(End(heard))
        return await heard

    async def correct(self, session: str, correction: Correction, token: str) -> None:
        """Make a correction, after what was said before; asked again with the same token, it is made once.

        Raises `UnknownSession`, `UnknownSpeaker`, `ValueError` where it makes no sense, and `OutOfStep` while the
        session cannot be brought up to date.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._of(session).inbox.put_nowait(Correcting(correction, token, done))
        await done

    async def drop(self, session: str) -> None:
        """Forget a session that was erased."""
        if live := self._live.pop(session, None):
            live.answer(live.doing, UnknownSession(session))
            if live.task:
                await tasks.end(live.task)

    async def ready(self) -> bool:
        """Answers once the actor is up."""
        return True

    async def idle(self) -> float:
        """Seconds since a session was last here; 0 while there is one."""
        return 0.0 if self._live else time.monotonic() - self._busy_at

    def _crowd(self) -> int:
        """How many talk."""
        since = time.monotonic() - LATELY
        return sum(live.heard_at > since for live in self._live.values())

    def _of(self, session: str) -> Live:
        self._busy_at = time.monotonic()
        if session not in self._live:
            live = self._live[session] = Live(Halts(self._store, session))
            live.task = asyncio.create_task(self._attend(session, live))
            live.task.add_done_callback(lambda _: live.stop_asking())
        return self._live[session]

    async def _attend(self, session: str, live: Live) -> None:
        """Hear one session until it ends, is erased, or falls silent for long."""
        about(session=session)
        pending: Asked | None = None
        failures = 0
        while True:
            try:
                held = await restore(session, self._store, self._head, self._settings.diariser)
                standing = await self._store.standing(session)
                # Otherwise it begins, or somebody corrects what has ended.
                interrupted = bool(failures or (standing.published > 0 and not standing.stopped))
                if interrupted:
                    RESTORED.inc()
                for warning in held.warnings:
                    await live.halts.once(warning)
                while pending or (pending := await live.next(self._settings.abandon, partial(self._there, session))):
                    live.doing = pending
                    over = await self._do(session, held, live, pending)
                    pending, failures = None, 0
                    if over:
                        break
                    if interrupted:
                        interrupted = False
                        await live.halts.resumed()
                else:
                    reached = held.conversation.next_frame
                    if reached and live.inbox.empty() and await self._store.waits(session, reached):
                        await self._abandon(session, held, live)
                if live.inbox.empty():
                    break
            except UnknownSession as error:
                live.answer(pending, error)
                break
            except Exception as error:
                known = isinstance(error, OutOfStep)
                logger.error("going on from its snapshot", exc_info=not known)
                failures += 1
                if failures == STUCK:
                    await live.halts.stuck()
                if failures >= STUCK:  # people wait for an answer, frames do not
                    pending = live.refuse(pending, OutOfStep(session))
                await asyncio.sleep(min(FIRST_RETRY * 2 ** (failures - 1), LAST_RETRY))
        if self._live.get(session) is live:
            del self._live[session]
            LIVE_SESSIONS.set(len(self._live))
            if not self._live:
                CADENCE.set(1)

    async def _there(self, session: str) -> None:
        """Raises `UnknownSession` for one that was erased in Redis alone, as whoever runs the service may."""
        with suppress(RedisError):  # nobody can tell; what is said next will be told
            if not await self._store.keys(session):
                raise UnknownSession(session)

    async def _do(self, session: str, held: Held, live: Live, asked: Asked) -> bool:
        """Do what was asked for; returns whether the conversation is over."""
        match asked:
            case Frame():
                async with live.halts.noticed():
                    await self._catch_up(session, held, asked)
                return await self._consult(session, held, live)
            case Answered() if live.asking is None:  # what was said has taken effect already
                return await self._store.ended_at(session) is not None
            case Answered():
                return await self._consult(session, held, live)
            case Correcting():
                return await self._correct(session, held, live, asked)
            case End():
                live.answer(asked, await self._conclude(session, held, live))
                return True

    async def _correct(self, session: str, held: Held, live: Live, asked: Correcting) -> bool:
        """Correct a conversation between two hops; returns whether it is over."""
        if asked.token in held.tokens:  # this actor was started anew before it could answer
            asked.answer()
            return False
        conversation = held.conversation
        standing = await self._store.standing(session)
        over = standing.stopped or standing.ended is not None
        if not over and conversation.hops < standing.published:
            await self._catch_up(session, held, None)
        if over or conversation.samples == 0 < standing.published:
            await self._conclude(session, held, live)
            await self._correct_ended(session, asked)
            return True
        try:
            events = conversation.correct(asked.correction)
        except (UnknownSpeaker, ValueError) as error:
            await self._refuse(session, asked, error)
            return False
        await self._keep(session, held, asked.correction, asked.token, events)
        asked.answer()
        return False

    async def _refuse(self, session: str, asked: Correcting, error: Exception) -> None:
        """Say why a correction makes no sense, unless it is a merge that was made: the first answer may be lost."""
        correction = asked.correction
        made = False
        if isinstance(error, UnknownSpeaker) and isinstance(correction, Merging):
            made = correction.kept in await self._store.shown_as(session, correction.merged)
        asked.answer(None if made else error)

    async def _keep(
        self, session: str, held: Held, correction: Correction, token: str, events: Sequence[Event]
    ) -> None:
        """Write down a correction that the conversation has taken in, and publish what follows from it."""
        conversation = held.conversation
        corrected = Corrected(conversation.hops, token, correction.model_dump_json())
        await self._store.correct(session, conversation.corrected, corrected, events)
        held.remember(token)

    async def _consult(self, session: str, held: Held, live: Live) -> bool:
        """Take in what the other diariser has said, ask what is to be asked; returns whether the session is over."""
        asking = live.asking
        if asking and held.conversation.hops * HOP_SECONDS >= asking.until + CHUNK_SECONDS:
            await asking.settle(CHUNK_SECONDS)  # only a recorder that is faster than time has to wait here
        over = bool(asking and asking.answer.done()) and await self._tell(session, held, live)
        if not over and not held.due:
            self._ask(held, live)
        return over

    def _ask(self, held: Held, live: Live) -> Asking | None:
        """What the other diariser is being asked: the question under way, or the next, or None where there is none."""
        question = held.conversation.question() if held.google and live.asking is None else None
        if question and token(question.until) not in held.tokens:
            live.ask(self._second.ask(question, held.record))
        return live.asking

    async def _tell(self, session: str, held: Held, live: Live, length: float = inf) -> bool:
        """Let the other diariser's opinion take effect between two hops; returns whether the session is over.

        Why there is none is told when it begins and when it changes, not again every chunk. `length`: of the
        recording, in seconds, once that is known.
        """
        if live.asking is None:
            return False
        opinion, conversation = live.asking.answer.result(), held.conversation
        standing = await self._store.standing(session)
        over = standing.ended is not None
        if not over and conversation.hops < standing.published:
            await self._catch_up(session, held, None)
        # Where the sound has gone, nothing is left to be corrected.
        if not over and opinion.token not in held.tokens and conversation.samples:
            try:
                events = conversation.correct(opinion.telling)
            except Exception:
                live.asking.give_up()  # what comes from elsewhere must not stop a session for good
                raise
            if opinion.warning and opinion.missing != held.missing:
                heard = min(conversation.hops * HOP_SECONDS, length)
                events = [*events, opinion.warning.model_copy(update={"heard_until": heard})]
            await self._keep(session, held, opinion.telling, opinion.kept_as, events)
        live.asking = None
        return over

    async def _correct_ended(self, session: str, asked: Correcting) -> None:
        """Correct what was told of a conversation that has ended: there is nothing else left of it."""
        standing = await self._store.standing(session)
        timeline = await self._store.timeline(session)
        try:
            if isinstance(asked.correction, Telling):
                raise ValueError("The session has ended; nothing more is told of it.")
            events = consequences(asked.correction, timeline)
        except (UnknownSpeaker, ValueError) as error:
            await self._refuse(session, asked, error)
            return
        corrected = Corrected(standing.published, asked.token, asked.correction.model_dump_json())
        stamped = [event.model_copy(update={"heard_until": timeline.heard_until}) for event in events]
        await self._store.correct(session, standing.corrections + 1, corrected, stamped)
        asked.answer()

    async def _catch_up(self, session: str, held: Held, newest: Frame | None) -> None:
        """Hear the newest frame, and before it whatever the journal holds that has not been heard."""
        expected = held.conversation.next_frame
        if newest and newest.number == expected:
            await self._hear(session, held, newest)
        elif newest is None or newest.number > expected:
            async for frame in self._store.frames(session, Codec.PCM16, expected):
                await self._hear(session, held, frame)

    async def _hear(self, session: str, held: Held, frame: Frame) -> None:
        conversation = held.conversation
        before = conversation.samples
        for hop in conversation.hear(np.frombuffer(frame.data, "<i2"), frame.arrived_at, frame.cadence):
            new = await self._hop(session, held, hop)
            hasty = held.haste.hears(hop.arrived_at, hop.together)
            if new and not hasty:  # what is heard again was in time when it was told
                self._cadence.note(hop.arrived_at, hop.together)
                CADENCE.set(self._cadence.hops)
            held.correct_again(hop.number)
        conversation.next_frame = frame.number + 1
        period = round(self._settings.snapshot_seconds * SAMPLE_RATE)
        if conversation.samples // period > before // period:
            await self._store.save_snapshot(session, conversation.pack(), conversation.next_frame)

    async def _hop(self, session: str, held: Held, hop: Hop) -> bool:
        """Hear a hop and publish what follows; returns whether that was new."""
        conversation = held.conversation
        with timed(STAGES, stage="observe"):
            observation = await self._observe(conversation.stretch(hop))
        fragments = conversation.align(observation)
        with timed(STAGES, stage="embed"):
            embeddings = await asyncio.gather(*(self._embed(conversation.audio(fragment)) for fragment in fragments))
        with timed(STAGES, stage="conclude"):
            events = conversation.conclude(hop, fragments, embeddings)
        with asking_redis("publish"):
            new = await self._store.publish(session, hop.number, events, conversation.corrected)
        count_hop(events, hop, new)
        LIVE_SESSIONS.set(len(self._live))
        return new

    async def _abandon(self, session: str, held: Held, live: Live) -> None:
        """End a session whose recorder does not come back, so that its sound does not stay."""
        await self._store.stop(session)
        await self._conclude(session, held, live)

    async def _conclude(self, session: str, held: Held, live: Live) -> float:
        if (ended := await self._store.ended_at(session)) is not None:
            return ended
        conversation = held.conversation
        await self._catch_up(session, held, None)
        if conversation.samples == 0 and (heard := (await self._store.timeline(session)).heard_until) > 0:
            # The sound has expired with nobody here to conclude; what was heard of it stands.
            DROPPED.inc()
            await self._store.publish(session, LAST_STEP, [SessionEnded(heard_until=heard)])
            return heard
        seconds = conversation.samples / SAMPLE_RATE
        last = conversation.finish()
        await self._hop(session, held, last)
        held.correct_again(last.number)
        while asking := self._ask(held, live):
            await asyncio.wait({asking.answer})
            await self._tell(session, held, live, seconds)
        await self._store.publish(session, last.number + 1, conversation.end(), conversation.corrected)
        await self._store.forget_audio(session)
        logger.info("ended after %.1f s", seconds)
        return seconds


def open_store(settings: Settings) -> SessionStore:
    """The store that the settings name. Sound outlives an absent recorder a little, for whoever concludes."""
    return SessionStore(connect(settings.redis_address), settings.retention, settings.abandon + SOUND_MARGIN)
