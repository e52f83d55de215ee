"""A second opinion on who spoke: where a session wants it, Google is asked about every chunk that has closed.

The local diariser's labels stand until there is an answer, and where none comes. An answer is a correction like those
that people make, and so is its absence, with a warning: what was asked once is not asked again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from deployments.metrics import GOOGLE
from deployments.settings import Settings
from pipeline.conversation import Question
from pipeline.corrections import Telling
from pipeline.diarisation.tags import TaggedWord
from pipeline.events import Warned
from pipeline.logs import why
from pipeline.session import SessionRecord

if TYPE_CHECKING:
    from pipeline.diarisation.google import GoogleDiariser

UNFORESEEN: Final = "What Google hears could not be used; the server's log says why."
UNKNOWN_REASON: Final = "unforeseen"
TOLD: Final = "told-"  # begins the tokens of opinions; those of people's corrections are random hexadecimals
WHY: Final = "/"

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the other diariser said, or why it said nothing: `missing` in a word, `warning` in a sentence for people."""

    telling: Telling
    missing: str = ""
    message: str = ""

    @property
    def warning(self) -> Warned | None:
        """For those who watch, where there is something to be said."""
        return Warned(code="google", message=self.message) if self.missing else None

    @property
    def token(self) -> str:
        """Makes it known again, whoever asked."""
        return token(self.telling.until)

    @property
    def kept_as(self) -> str:
        """The token in the journal, where it says why there was no opinion, too: `read_token` takes them apart."""
        return f"{self.token}{WHY}{self.missing}" if self.missing else self.token


@dataclass(slots=True)
class Asking:
    """A question under way, on what was said before the second `until`."""

    until: float
    answer: asyncio.Future[Opinion]
    asked_at: float = field(default_factory=time.monotonic)

    async def settle(self, seconds: float) -> None:
        """Wait for the answer, though no longer than until so many seconds after the question."""
        await asyncio.wait({self.answer}, timeout=max(0.0, self.asked_at + seconds - time.monotonic()))

    def give_up(self) -> None:
        """Take the answer for none, since a conversation failed to take it in."""
        telling = self.answer.result().telling.model_copy(update={"words": ()})
        self.answer = asyncio.get_running_loop().create_future()
        self.answer.set_result(Opinion(telling, UNKNOWN_REASON, UNFORESEEN))


class SecondOpinion:
    """Asks Google, for all sessions of an actor. What that takes is loaded with the first question."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening: asyncio.Task[GoogleDiariser] | None = None

    def ask(self, question: Question, record: SessionRecord) -> Asking:
        """Ask what was said in a session; the answer always comes, if only as a warning."""
        return Asking(question.until, asyncio.create_task(self._opinion(question, record)))

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._opening:
            await (await self._opening).close()

    async def _opinion(self, question: Question, record: SessionRecord) -> Opinion:
        try:
            words, missing, message = await self._words(question, record)
        except Exception:
            logger.exception("no second opinion")
            words, missing, message = [], UNKNOWN_REASON, UNFORESEEN
        telling = Telling(since=question.since, until=question.until, words=tuple(words))
        return Opinion(telling, missing, message)

    async def _words(self, question: Question, record: SessionRecord) -> tuple[list[TaggedWord], str, str]:
        """What Google heard, or else why it heard nothing and what to tell those who watch."""
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(_load, self._settings))
        google = await asyncio.shield(self._opening)
        from pipeline.diarisation.google import GOOGLES_MOST, GoogleUnavailable, Hints

        # Not the fewest: so many need not talk in each half minute, and Google would tell one voice apart into as many.
        most = record.max_speakers or max(GOOGLES_MOST, record.min_speakers or 0)
        hints = Hints(language=record.language or self._settings.google_language, max_speakers=most)
        start = time.monotonic()
        try:
            words, code, message = await google.hear(question.audio, question.start, hints), "", ""
        except GoogleUnavailable as error:
            logger.warning("%s It came of %s.", error, why(error.__cause__))  # whose words may repeat the request
            words, code, message = [], error.code, error.message
        GOOGLE.observe(time.monotonic() - start, {"outcome": code or "answered"})
        return words, code, message


def token(until: float) -> str:
    """Of the opinion on what was said before a second of the session."""
    return f"{TOLD}{until:.3f}"


def read_token(kept: str) -> tuple[str, str]:
    """The token of an opinion that is in the journal, and why it is none; both empty for what is no opinion."""
    opinion, _, missing = kept.partition(WHY)
    return (opinion, missing) if kept.startswith(TOLD) else ("", "")


def _load(settings: Settings) -> GoogleDiariser:
    """A thread's work: the libraries take a good part of a second, and sessions wait for their hops meanwhile."""
    from pipeline.diarisation.google import GoogleDiariser, GoogleSettings

    return GoogleDiariser(
        GoogleSettings(
            language=settings.google_language,
            model=settings.google_model or None,
            endpoint=settings.google_endpoint or None,
            insecure=settings.google_insecure,
            deadline=settings.google_deadline,
        )
    )
