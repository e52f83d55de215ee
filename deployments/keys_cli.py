"""`tonetrack keys`: the API keys of a service, made and revoked by whoever runs it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from deployments.analyse_cli import settings_of_environment
from training.console import fail, say

if TYPE_CHECKING:
    from pipeline.api_keys import ApiKeys

app = typer.Typer(
    help="API keys: who may open sessions, enrol voices and upload, where TONETRACK_REQUIRE_API_KEYS is on.",
    no_args_is_help=True,
)

Answer = TypeVar("Answer")

DAY = 86_400  # s


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="whose it is, or what for")],
    days: Annotated[
        float | None, typer.Option(min=0.001, help="until it expires", show_default="it does not", metavar="DAYS")
    ] = None,
) -> None:
    """Make an API key and print it. It is shown this once; what is kept is its hash."""
    from pydantic import ValidationError

    try:
        made = _asked(lambda keys: keys.create(name.strip(), None if days is None else days * DAY))
    except ValidationError:
        fail("A key's name has 1 to 80 characters, all of them printable.")
    say(f"{made.record.name}, to be revoked by `tonetrack keys revoke {made.record.id}`. It is shown this once:")
    typer.echo(made.secret)


@app.command("list")
def list_command(as_json: Annotated[bool, typer.Option("--json", help="print JSON, for programs")] = False) -> None:
    """List the API keys that open the service: their ids, names and times, never their secrets."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    keys = _asked(lambda keys: keys.all())
    if as_json:
        typer.echo(json.dumps([key.model_dump() for key in keys], indent=1))
        return
    if not keys:
        say("There are no API keys.")
        return
    table = Table("id", "name", "made", "last used", "expires", box=None, header_style="bold")
    for key in keys:
        times = (_when(at) if at else "never" for at in (key.created_at, key.last_used_at, key.expires_at))
        table.add_row(Text(key.id, no_wrap=True), Text(key.name), *times)
    Console().print(table)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="the key's id, as `tonetrack keys list` shows it", metavar="ID")],
) -> None:
    """Revoke an API key: from now on it opens nothing, and who records with it is stopped within a heartbeat or two."""
    from pipeline.api_keys import UnknownApiKey

    try:
        _asked(lambda keys: keys.revoke(key))
    except UnknownApiKey:
        fail(f"There is no API key {key}: it has expired, was revoked, or never was. `tonetrack keys list` shows all.")
    say("The key is revoked.")


def _asked(question: Callable[[ApiKeys], Awaitable[Answer]]) -> Answer:
    """What the service's Redis answers, or the end, with a sentence."""
    from redis.exceptions import RedisError

    from pipeline.api_keys import ApiKeys
    from pipeline.store import connect

    settings = settings_of_environment()
    if settings.redis_url is None:
        fail(
            "API keys lie in the service's Redis: set TONETRACK_REDIS_URL to it, for the service and for this command."
        )

    async def ask() -> Answer:
        redis = connect(settings.redis_address)
        try:
            return await question(ApiKeys(redis))
        finally:
            await redis.aclose()

    try:
        return asyncio.run(ask())
    except RedisError as error:
        fail(f"No Redis answers at TONETRACK_REDIS_URL: {str(error).rstrip('.')}.")


def _when(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(instant))
