"""`tonetrack voices`: people enrol their voices, by which sessions and recordings call them by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from deployments.options import ApiKey, voice_of
from pipeline.plain import one_line
from training.console import fail, say

app = typer.Typer(help="Enrolled voices, by which people are called by their names.", no_args_is_help=True)

Server = Annotated[str, typer.Option(help="base URL of the API")]


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="one person talking for ten seconds or so")],
    name: Annotated[str, typer.Option(help="what to call whoever talks")],
    consent: Annotated[bool, typer.Option("--consent", help="they have agreed")] = False,
    days: Annotated[int, typer.Option(min=1, max=365, help="until the voice is erased")] = 30,
    server: Server = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
) -> None:
    """Enrol a voice with a running service; prints ID:KEY, which has it recognised and erases it."""
    from deployments.client import add_voice

    if not consent:
        fail("Whoever talks must agree before their voice is enrolled (--consent).")
    voice = _ask(server, add_voice(server, file, name, days, api_key))
    say(one_line(f"{voice['name']} is enrolled from {voice['seconds']:.1f} s of speech."))
    typer.echo(f"{voice['id']}:{voice['key']}")


@app.command()
def remove(voice: Annotated[str, typer.Argument(help="ID:KEY")], server: Server = "http://127.0.0.1:8000") -> None:
    """Erase an enrolled voice."""
    from deployments.client import remove_voice

    identity, key = voice_of(voice, "tonetrack voices remove ID:KEY")
    _ask(server, remove_voice(server, identity, key))
    say("The voice is gone.")


def _ask(server: str, question: Coroutine[Any, Any, Any]) -> Any:
    from deployments.recorder import CannotRecord, explained

    try:
        with explained(server):
            return asyncio.run(question)
    except CannotRecord as error:
        fail(str(error))
