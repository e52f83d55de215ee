"""Why people are heard: the purposes that a recording may have, and those that whoever runs the service refuses."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, Field

AI_ACT: Final = (
    "in the European Union the AI Act, Article 5(1)(f), forbids inferring emotions at work and in education, outside "
    "medical and safety reasons"
)


class Purpose(StrEnum):
    """Where somebody is heard and what for. It is one of few, so that a refused one is known for what it is."""

    PERSONAL = "personal"
    THERAPY = "therapy"
    SAFETY = "safety"
    RESEARCH = "research"
    EDUCATION = "education"
    WORK = "work"
    OTHER = "other"

    @property
    def means(self) -> str:
        """What falls under it, for whoever has to choose."""
        return MEANINGS[self]


MEANINGS: Final[dict[Purpose, str]] = {
    Purpose.PERSONAL: "Personal, for ourselves",
    Purpose.THERAPY: "Therapy or medical care",
    Purpose.SAFETY: "Safety",
    Purpose.RESEARCH: "Research",
    Purpose.EDUCATION: "Education or training",
    Purpose.WORK: "Work, meetings included",
    Purpose.OTHER: "Something else",
}
FORBIDDEN: Final = (Purpose.EDUCATION, Purpose.WORK)  # by the AI Act


class RefusedPurpose(ValueError):
    """Whoever runs the service does not take recordings of this purpose; the message tells why."""


class Offer(BaseModel):
    """A purpose, and whether it may be chosen."""

    name: Purpose
    means: str
    refused: str = Field(default="", description="why it may not be chosen; empty where it may")


def permit(purpose: Purpose, refused: Collection[Purpose]) -> None:
    """Raises `RefusedPurpose`."""
    if purpose in refused:
        raise RefusedPurpose(f"The purpose “{purpose}” is refused here. {_because(purpose)}")


def offers(refused: Collection[Purpose]) -> list[Offer]:
    """All purposes, with a sentence for each that is refused."""
    return [Offer(name=one, means=one.means, refused=_because(one) if one in refused else "") for one in Purpose]


def not_offered(refused: Collection[Purpose]) -> str:
    """What the page says of those that it does not offer; empty where it offers all."""
    names = [one.value for one in Purpose if one in refused]
    if not names:
        return ""
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    law = f" {AI_ACT[0].upper()}{AI_ACT[1:]}." if set(FORBIDDEN) & set(refused) else ""
    return f"Not offered here: {listed}.{law}"


def _because(purpose: Purpose) -> str:
    decided = "Whoever runs this service does not take it"
    return f"{decided}: {AI_ACT}." if purpose in FORBIDDEN else f"{decided}; ask them why."
