"""What is declared before anybody is heard: the purposes that there are, and what people agree to, word by word."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from deployments.routes.access import TheContext
from pipeline.consent import CURRENT, Wording, wording
from pipeline.purposes import Offer, offers

router = APIRouter(prefix="/v1", tags=["purpose and consent"])


class Purposes(BaseModel):
    """The purposes that a session or a recording may have."""

    purposes: list[Offer] = Field(description="with those that whoever runs this service refuses, and why")


@router.get("/purposes")
async def purposes(context: TheContext) -> Purposes:
    """Which purposes there are, and which of them are taken."""
    return Purposes(purposes=offers(context.settings.refused_purposes))


@router.get("/consent")
async def current() -> Wording:
    """What people agree to: to be shown, or read, to everyone who will be heard."""
    return CURRENT


@router.get("/consent/{version}", responses={404: {"description": "no such version"}})
async def of_version(version: str) -> Wording:
    """The wording that a record names."""
    try:
        return wording(version)
    except LookupError as error:
        raise HTTPException(404, str(error)) from error
