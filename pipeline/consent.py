"""What people agree to before they are heard, word by word. Each wording has a version, by which records refer to it.

A wording that was in use is never changed, for somebody has agreed to it: another is added behind it.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field


class Wording(BaseModel):
    """What is said to people, and what they agree to."""

    version: str
    statement: str = Field(description="what is declared by whoever records or uploads")
    fate: str = Field(description="what becomes of the sound and of what is read from it, as people are told")
    elsewhere: str = Field(description="what they are told besides where another company hears it: diariser google")


WORDINGS: Final = (
    Wording(
        version="2026-11",
        statement="Everyone who will be heard has agreed to be recorded and to have their voice read for emotion.",
        fate="What is recorded here is erased when the recording is finished, at the latest ten minutes after the "
        "recorder has gone; what is uploaded, once it has been heard, unless it is to be kept. What was read from it "
        "is erased by itself later, or by you at any time.",
        elsewhere="Sound is sent to Google to tell the speakers apart.",
    ),
)
CURRENT: Final = WORDINGS[-1]


class Consent(BaseModel):
    """That everyone has agreed, to what, and when that was declared."""

    version: str = Field(description="of the wording: GET /v1/consent/VERSION gives all of it")
    statement: str = Field(description="empty where a newer version of ToneTrack knows it")
    agreed_at: float = Field(description="Unix seconds")


def wording(version: str) -> Wording:
    """The wording of a version. Raises `LookupError`."""
    for one in WORDINGS:
        if one.version == version:
            return one
    raise LookupError(f"There is no wording {version!r} of the consent; the current one is {CURRENT.version}.")


def consent_to(version: str | None, agreed_at: float) -> Consent | None:
    """The consent that a record holds; None for one of a version of ToneTrack that did not keep the wording."""
    if not version:
        return None
    statements = {one.version: one.statement for one in WORDINGS}
    return Consent(version=version, statement=statements.get(version, ""), agreed_at=agreed_at)


def _known(version: str) -> str:
    try:
        return wording(version).version
    except LookupError as error:
        raise ValueError(str(error)) from error


WordingVersion = Annotated[str, AfterValidator(_known)]
