"""A conversation in the hands of a session actor, and how it is brought back to where it was."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from deployments.lag import Haste
from deployments.second_opinion import read_token
from pipeline.conversation import TAIL_SECONDS, Conversation
from pipeline.corrections import UnknownSpeaker, parse
from pipeline.diarisation.tags import REQUEST_SECONDS
from pipeline.emotion import EmotionHead
from pipeline.enrolment import version
from pipeline.events import Warned
from pipeline.published import Corrected
from pipeline.session import DiariserName, Expected, SessionRecord, Voice
from pipeline.store import SessionStore

ESTRANGED: Final = Warned(
    code="estranged",
    message="Voices are told apart by another model than before. Names and everything heard so far stay; whoever goes "
    "on talking is a new speaker, who can be merged with the one that they were.",
)
# How many, never who: all who watch read it, also of people who were enrolled but never came.
OUTDATED: Final = (
    "Enrolled voices that cannot be recognised, for another model tells voices apart by now: {outdated}. Enrol again."
)

logger = logging.getLogger("ray.serve")


@dataclass
class Held:
    """A conversation, the corrections that a replay has yet to come to, and the tokens of all that were ever made.

    `google`: whether Google is asked who spoke in it; `missing`: why its newest opinion is missing, empty if it is not.
    """

    conversation: Conversation
    due: deque[Corrected]
    record: SessionRecord
    google: bool
    tokens: set[str] = field(default_factory=set)
    missing: str = ""
    haste: Haste = field(default_factory=Haste)
    warnings: list[Warned] = field(default_factory=list)  # of what cannot be done, from the start on

    def remember(self, token: str) -> None:
        """Know a correction again that has been kept."""
        opinion, missing = read_token(token)
        if opinion:
            self.missing = missing
        self.tokens.add(opinion or token)

    def correct_again(self, hop: int) -> None:
        """Make the corrections that took effect after this hop, or before it, when it was first heard."""
        while self.due and self.due[0].after <= hop:
            number = self.conversation.corrected + 1
            try:
                self.conversation.correct(parse(self.due.popleft().correction))
            except (UnknownSpeaker, ValueError):  # models that were changed meanwhile may tell others apart
                logger.exception("correction %d does not fit what is heard now", number)
            self.conversation.corrected = number


async def restore(session: str, store: SessionStore, head: EmotionHead, diariser: DiariserName) -> Held:
    """A session's conversation as its newest snapshot has it, with what was corrected since.

    `diariser`: who tells speakers apart where the session does not say. Raises `UnknownSession`.
    """
    record = await store.record(session)
    google = (record.diariser or diariser) == "google"
    state = await store.load_snapshot(session)
    corrections = await store.corrections(session)
    ids = await store.voice_ids(session)
    voices = await store.voices.load(ids, version()) if ids else []
    tail = REQUEST_SECONDS if google else TAIL_SECONDS
    conversation = _conversation(state, head, await store.expected(session), voices, tail)
    due = deque(corrections[conversation.corrected :])
    held = Held(conversation, due, record, google)
    if not record.stopped and (state is None or conversation.estranged):
        held.warnings = _warnings(conversation, await store.voices.outdated(ids, version()))
    for correction in corrections:
        held.remember(correction.token)
    held.correct_again(conversation.hops)
    return held


def _warnings(conversation: Conversation, outdated: int) -> list[Warned]:
    """What those who watch have to know; `outdated`: how many voices have to be enrolled again."""
    again = [Warned(code="outdated_voices", message=OUTDATED.format(outdated=outdated))] if outdated else []
    return [ESTRANGED, *again] if conversation.estranged else again


def _conversation(
    state: bytes | None, head: EmotionHead, expected: Expected, voices: Sequence[Voice], tail: float
) -> Conversation:
    if state is None:
        return Conversation(head, expected, voices, tail)
    return Conversation.unpack(state, head, expected, voices, tail)
