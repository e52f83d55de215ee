"""The command `tonetrack`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from deployments.analyse_cli import app as analyse
from deployments.erase_cli import app as erasing
from deployments.keys_cli import app as keys_app
from deployments.options import ApiKey, KnownVoices, voices_of
from deployments.recordings_cli import app as recordings
from deployments.settings import Settings
from deployments.voices_cli import app as voices
from pipeline.purposes import Purpose
from pipeline.session import DiariserName
from training.cli import app as training

app = typer.Typer(
    name="tonetrack",
    help="Live speech emotion, per speaker. Every setting is a TONETRACK_* variable: see `tonetrack config`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.registered_commands += [
    *analyse.registered_commands,
    *erasing.registered_commands,
    *training.registered_commands,
]
app.registered_groups += training.registered_groups
app.add_typer(recordings, name="recordings")
app.add_typer(keys_app, name="keys")
app.add_typer(voices, name="voices")
console = Console(stderr=True)
NOT_SETTINGS = {"TONETRACK_DATA", "TONETRACK_CHROMIUM", "TONETRACK_API_KEY"}  # training's, the tests', a client's


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="address to listen on; 0.0.0.0 for other machines too")] = None,
    port: Annotated[int | None, typer.Option(help="port of the API and the recorder's WebSocket")] = None,
    ui_port: Annotated[int | None, typer.Option(help="port of the page")] = None,
    dashboard: Annotated[bool, typer.Option(help="start Ray's dashboard too (0.9 GB more)")] = False,
) -> None:
    """Run the whole service here until Ctrl-C.

    Starts a Redis of its own that writes nothing to disk (or uses TONETRACK_REDIS_URL), Ray, the models, the API and
    the page, and prints the page's URL once all of them are ready. Browsers let a page use the microphone only from
    this machine or over https; people on other machines can watch over http.
    """
    from deployments.up import CannotStart, run

    settings = _settings(host=host, port=port, ui_port=ui_port)
    with console.status("starting") as status:

        def say(step: str) -> None:
            if step:
                status.update(step)
                status.start()
                if not console.is_terminal:
                    console.print(f"{step} ...")
            else:
                status.stop()

        try:
            run(settings, dashboard, say)
        except CannotStart as error:
            _fail(str(error))


@app.command()
def record(
    file: Annotated[Path | None, typer.Argument(help="any audio file; none with --mic")] = None,
    mic: Annotated[bool, typer.Option("--mic", help="record this machine's microphone until Ctrl-C")] = False,
    server: Annotated[str, typer.Option(help="base URL of the API")] = "http://127.0.0.1:8000",
    api_key: ApiKey = None,
    purpose: Annotated[Purpose | None, typer.Option(help="why this is recorded", show_default=False)] = None,
    remark: Annotated[str, typer.Option(help="on the purpose, in your own words; `other` needs it")] = "",
    consent: Annotated[bool, typer.Option("--consent", help="everyone who will be heard has agreed")] = False,
    name: Annotated[str, typer.Option(help="what to call the session")] = "",
    pace: Annotated[float, typer.Option(min=0, help="times real time; 0: as fast as it is taken")] = 1.0,
    codec: Annotated[str, typer.Option(help="pcm16, or webm for a sixteenth of the bandwidth")] = "pcm16",
    speakers_at_least: Annotated[
        int | None,
        typer.Option(min=1, max=12, help="so many people will talk; counts in the end, and lets Google look for more"),
    ] = None,
    speakers_at_most: Annotated[int | None, typer.Option(min=1, max=12, help="no more than so many")] = None,
    diariser: Annotated[
        DiariserName | None, typer.Option(help="who tells the speakers apart; the server's choice unless said")
    ] = None,
    language: Annotated[str, typer.Option(help="that is spoken, as BCP 47 (de-CH), for Google's transcript")] = "",
    voice: KnownVoices = None,
    stats: Annotated[bool, typer.Option("--stats", help="print percentiles of arrival to event")] = False,
    output: Annotated[Path | None, typer.Option(help="write the timeline here as JSON")] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            help="write the session's id and both keys here as JSON, for you alone to read: the recorder key names and "
            "merges speakers over HTTP, also while they talk, and erases the session; the viewer key opens the page"
        ),
    ] = None,
) -> None:
    """Send a recording to a running service and watch what it hears."""
    from deployments.recorder import CannotRecord, record_live

    if (file is None) == (not mic):
        _fail("Name a file to record, or say --mic.")
    if purpose is None or not consent:
        _fail("Say why this is recorded (--purpose) and that everyone who will be heard has agreed (--consent).")
    if codec not in ("pcm16", "webm"):
        _fail(f"The codec is pcm16 or webm, not {codec!r}.")
    hints: dict[str, Any] = {
        "remark": remark,
        "min_speakers": speakers_at_least,
        "max_speakers": speakers_at_most,
        "diariser": diariser,
        "language": language,
        "voices": voices_of(voice),
    }
    try:
        record_live(file, server, api_key, purpose.value, name, pace, codec, stats, output, keys, hints, console)
    except CannotRecord as error:
        _fail(str(error))


@app.command()
def config() -> None:
    """Print every setting and its value, without secrets."""
    settings = _settings()
    values = settings.model_dump(mode="json")
    for name, field in Settings.model_fields.items():
        text = f"  # {field.description}" if field.description else ""
        value = values[name]
        shown = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        typer.echo(f"TONETRACK_{name.upper()}={shown}{text}")


def _settings(**given: Any) -> Settings:
    known = {f"TONETRACK_{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    if strange := sorted(name for name in os.environ if name.startswith("TONETRACK_") and name not in known):
        _fail(f"There is no setting {', '.join(strange)}; `tonetrack config` lists all there are.")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except SettingsError as error:
        _fail(f'{error}: a list is written as JSON, for instance ["https://example.org"].')
    except ValidationError as error:
        mistakes = (
            ".".join(("TONETRACK", *map(str, mistake["loc"]))).replace(".", "_", 1).upper() + f": {mistake['msg']}"
            for mistake in error.errors()
        )
        _fail("; ".join(mistakes) + ". See `tonetrack config`.")


def _fail(message: str) -> NoReturn:
    console.print(message, style="bold red", soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(1)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
