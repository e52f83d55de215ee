"""What Google says of an uploaded recording, chunk by chunk, and what is to be said where it says nothing.

Each chunk is asked about once, whoever hears the recording: what came of it is noted, an answer or none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pydantic import TypeAdapter

from deployments.loop import Loop
from deployments.second_opinion import Opinion, SecondOpinion
from pipeline.conversation import Question
from pipeline.corrections import Telling
from pipeline.events import Warned
from pipeline.hearing import Notes
from pipeline.job import Job
from pipeline.session import SessionRecord

MOST_MISSES: Final = 3  # in a row: each may have taken the whole deadline, and a recording has hundreds of chunks
NOT_ASKED: Final = f"After {MOST_MISSES} failures in a row Google was not asked about the rest of the recording."

_noted: Final = TypeAdapter(Opinion)


class Opinions:
    """Google's opinions on one recording. After MOST_MISSES in a row none is asked for any more.

    It may take its time. So each answer, and each that fails to come, is a sign of life, which `stir` gives, and the
    moment at which it is seen that nobody wants the recording any more. `warned`: each reason why there was no opinion,
    once, in order of time.
    """

    def __init__(self, loop: Loop, second: SecondOpinion, job: Job, notes: Notes, stir: Callable[[], None]) -> None:
        self._loop = loop
        self._second = second
        self._notes = notes
        self._stir = stir
        known = job.model_dump(include=set(SessionRecord.model_fields) & set(Job.model_fields) - {"expires_in"})
        self._record = SessionRecord(**known, stopped=True, expires_in=0)
        self._missed = 0
        self.warned: list[Warned] = []

    @property
    def warning(self) -> str:
        """Why opinions are missing, all of it; empty where none is."""
        return " ".join(warned.message for warned in self.warned)

    def __call__(self, question: Question) -> Telling:
        """What it says of a chunk; no word where it says nothing. Raises what `stir` does."""
        if self._missed == MOST_MISSES:
            self._warn(NOT_ASKED, question.since)
            return Telling(since=question.since, until=question.until, words=())
        opinion = self._opinion(question)
        if opinion.missing:
            self._missed += 1
            self._warn(opinion.message, question.until)
        else:
            self._missed = 0
        return opinion.telling

    def _opinion(self, question: Question) -> Opinion:
        """As it is noted, or else asked for now."""
        key = f"opinion-{question.until:.3f}"
        if (noted := self._notes.get(key)) is not None:
            return _noted.validate_json(noted)
        opinion = self._loop.run(self._ask(question))
        self._notes.put(key, _noted.dump_json(opinion))
        self._stir()
        return opinion

    async def _ask(self, question: Question) -> Opinion:
        return await self._second.ask(question, self._record).answer

    def _warn(self, message: str, heard_until: float) -> None:
        if all(warned.message != message for warned in self.warned):
            self.warned.append(Warned(code="google", message=message, heard_until=heard_until))
