"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from training.console import fail

ApiKey = Annotated[
    str | None,
    typer.Option(envvar="TONETRACK_API_KEY", help="API key, where the server requires one", show_default=False),
]
KnownVoices = Annotated[
    list[str] | None,
    typer.Option(
        "--voice",
        help="ID:KEY of somebody's enrolled voice, who is called by their name; once for each",
        show_default=False,
    ),
]


def voice_of(text: str, usage: str) -> tuple[str, str]:
    """The id and the key of an enrolled voice, or the end, with a sentence that tells the `usage`."""
    identity, _, key = text.partition(":")
    if not identity or not key:
        fail(f"A voice is named by the ID and the KEY that enrolling it gave: {usage}.")
    return identity, key


def voices_of(known: Iterable[str] | None) -> list[dict[str, str]]:
    """The voices that --voice names, as the API takes them, or the end, with a sentence."""
    parted = [voice_of(each, "--voice ID:KEY") for each in known or ()]
    return [{"id": identity, "key": key} for identity, key in parted]
