"""`tonetrack analyse`: recordings heard here, on a server, or by Ray Data, and written as files."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from deployments.options import ApiKey, KnownVoices, voices_of
from pipeline.purposes import Purpose, RefusedPurpose, permit
from training.console import console, fail, say

if TYPE_CHECKING:
    from deployments.analysis import Asked, Outcome
    from deployments.analysis.display import Display
    from deployments.analysis.files import Outputs, Task
    from deployments.settings import Settings

FEW: Final = 8  # recordings that are heard one after another rather than by Ray Data
MOST_AT_ONCE: Final = 4  # segments that are heard at once in this process
STOPPED: Final = 130  # the exit status after Ctrl-C

app = typer.Typer()


@app.command()
def analyse(
    files: Annotated[
        list[str],
        typer.Argument(help="recordings, folders of them, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX", show_default=False),
    ],
    purpose: Annotated[Purpose | None, typer.Option(help="why they were recorded", show_default=False)] = None,
    remark: Annotated[str, typer.Option(help="on the purpose, in your own words; `other` needs it")] = "",
    consent: Annotated[bool, typer.Option("--consent", help="everyone who is heard in them has agreed")] = False,
    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="json, chunks.json, csv, rttm, vtt or html; once for each",
            metavar="NAME",
            show_default="json",
        ),
    ] = None,
    output: Annotated[str, typer.Option(help="folder, s3://… or gs://… to write NAME.FORMAT to")] = ".",
    force: Annotated[bool, typer.Option("--force", help="write over what is there; else it is skipped")] = False,
    speakers_at_least: Annotated[int | None, typer.Option(min=1, max=12, help="so many people talk")] = None,
    speakers_at_most: Annotated[int | None, typer.Option(min=1, max=12, help="no more than so many")] = None,
    channels: Annotated[
        str, typer.Option(help="mix; or speakers: every channel is one person, as in a recorded call", metavar="NAME")
    ] = "mix",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="processes of Ray Data, each with its models", show_default="as many as fit"),
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="base URL of the API of a running service that is to hear them")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="of earlier uploads, to have these under it, too; with --server")
    ] = None,
    api_key: ApiKey = None,
    voice: KnownVoices = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="write the key of the uploads here as JSON, for you alone to read, and do not print it"),
    ] = None,
    erase: Annotated[
        bool, typer.Option("--erase", help="erase each recording from the server once its files are written")
    ] = False,
) -> None:
    """Analyse recordings: who speaks when, and how they sound, as files.

    For each recording NAME.EXT, --output gets NAME.json (or whatever --format says). What is there already is skipped,
    so that the same command goes on where it was stopped; a recording that cannot be read does not stop the others.

    \b
    tonetrack analyse talk.m4a --purpose research --consent --format json --format html
    tonetrack analyse interviews/ --output results/ --purpose research --consent
    tonetrack analyse s3://bucket/calls --output s3://bucket/heard --channels speakers --purpose research --consent
    tonetrack analyse talk.m4a --server https://tonetrack.example --erase --purpose research --consent

    A few files are heard in this process. Folders, buckets and many files go through Ray Data: on the cluster that
    RAY_ADDRESS names, whose nodes need this package and see the same paths, or on all cores of this machine. With
    --server they are uploaded instead, and nothing is computed here.
    """
    from deployments.analysis import WRITTEN
    from deployments.analysis.display import Display
    from deployments.analysis.files import CannotAnalyse, Outputs, find, is_many, planned

    if purpose is None or not consent:
        fail("Say why they were recorded (--purpose) and that everyone who is heard in them has agreed (--consent).")
    formats = tuple(dict.fromkeys(form or ["json"]))
    if unknown := [name for name in formats if name not in WRITTEN]:
        fail(f"There is no format {', '.join(unknown)}; there are: {', '.join(WRITTEN)}.")
    if server is None and (key or keys or erase or voice):
        fail("--key, --keys, --erase and --voice are about what is on a server: say which (--server URL).")
    known = voices_of(voice)
    if server is not None and workers:
        fail("--workers are processes here; with --server, the server hears the recordings.")
    try:
        asked = _asked(purpose, remark, formats, speakers_at_least, speakers_at_most, channels, known, server is None)
        outputs = Outputs(output)
        tasks, problems = find(files)
        if not tasks:
            _finish([], problems, 0, 0, outputs, 0.0)
        outputs.prepare()
        left = planned(tasks, formats, outputs, force)
    except CannotAnalyse as error:
        fail(str(error))
    display = Display(len(left))
    way: Iterator[Outcome]
    if server is not None:
        from deployments.analysis.sending import on_server

        way = on_server(left, asked, outputs, server, key, api_key, keys, erase, display)
    elif workers or len(left) > FEW or any(is_many(place) for place in files):
        way = _by_ray(left, asked, output, workers, display)
    else:
        way = _here(left, asked, outputs, display)
    began, outcomes = time.monotonic(), []
    stopped = False
    try:
        with display:
            for outcome in way if left else ():
                display.over(outcome)
                outcomes.append(outcome)
    except CannotAnalyse as error:
        problems.append(str(error))
    except KeyboardInterrupt:
        stopped = True
        if server is not None and not erase:
            say("What was sent stays on the server, under its key, and goes on being heard there.")
    _finish(outcomes, problems, len(left), len(tasks) - len(left), outputs, time.monotonic() - began, stopped)


def settings_of_environment() -> Settings:
    """The settings, or the end, with a sentence."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from deployments.settings import Settings

    try:
        return Settings()
    except (ValidationError, SettingsError):
        fail("The TONETRACK_* variables do not make sense; `tonetrack config` says which of them.")


def _asked(
    purpose: Purpose,
    remark: str,
    formats: tuple[str, ...],
    at_least: int | None,
    at_most: int | None,
    channels: str,
    voices: list[dict[str, str]],
    here: bool,
) -> Asked:
    """What is asked, as a server would take it."""
    from pydantic import ValidationError

    from deployments.analysis import Asked
    from pipeline.job import RecordingRequest

    said: dict[str, Any] = {"min_speakers": at_least, "max_speakers": at_most, "channels": channels}
    said |= {"purpose": purpose, "remark": remark, "voices": voices}
    settings = settings_of_environment() if here else None
    try:
        if settings:
            permit(purpose, settings.refused_purposes)
        request = RecordingRequest.model_validate(said | {"consent": True})
    except ValidationError as error:
        options = {"min_speakers": "--speakers-at-least", "max_speakers": "--speakers-at-most", "voices": "--voice"}
        places = (str(mistake["loc"][0]) if mistake["loc"] else "" for mistake in error.errors())
        named = (options.get(place, f"--{place}" if place else "") for place in places)
        fail("; ".join(f"{name} {one['msg']}".strip() for name, one in zip(named, error.errors(), strict=True)))
    except RefusedPurpose as error:
        fail(str(error))
    most = settings.max_recording_seconds if settings else None
    known = tuple(request.voices)
    return Asked(request.purpose.value, request.remark, formats, at_least, at_most, request.channels, most, known)


def _here(tasks: Sequence[Task], asked: Asked, outputs: Outputs, display: Display) -> Iterator[Outcome]:
    """Hear recordings in this process, one after another."""
    from deployments.analysis import Models, attempt, quieten
    from deployments.analysis.display import length
    from pipeline.hearing import Progress

    quieten(os.environ)
    with _without_chatter():
        models = Models.load(min(MOST_AT_ONCE, os.cpu_count() or 1))

    def telling(task: Task, heed: Callable[[], None]) -> Callable[[Progress], None]:
        def tell(progress: Progress) -> None:
            heed()
            display.tell(task, f"{progress.step}, {length(progress.done)}", progress.share)

        return tell

    with _interruptible() as heed:
        for task in tasks:
            display.tell(task, "decoding")
            outcome = attempt(task, models, asked, outputs, telling(task, heed))
            heed()
            yield outcome


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Heed Ctrl-C also where its exception was lost: call what this yields now and then, which raises it once more.

    FFmpeg reads files through a callback, and what is raised in one goes nowhere: the file seems to end there instead.
    """
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    def heed() -> None:
        if asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield heed
    finally:
        signal.signal(signal.SIGINT, before)


def _by_ray(
    tasks: Sequence[Task], asked: Asked, output: str, workers: int | None, display: Display
) -> Iterator[Outcome]:
    """Hear recordings in many processes, wherever Ray runs them."""
    from deployments.analysis import quieten
    from deployments.analysis.files import is_url

    quieten(os.environ, own_ray="RAY_ADDRESS" not in os.environ)
    from deployments.analysis.bulk import connected, hear_all

    place = output if is_url(output) else os.path.abspath(output)
    absolute = [_absolute(task) for task in tasks]
    with _without_chatter(), connected() as fitting:
        count = min(len(tasks), workers or fitting)
        say(f"{len(tasks)} recordings go to {count} {'worker' if count == 1 else 'workers'} of Ray Data.")
        yield from hear_all(absolute, asked, place, count)


def _finish(
    outcomes: Sequence[Outcome],
    problems: Sequence[str],
    wanted: int,
    skipped: int,
    outputs: Outputs,
    took: float,
    stopped: bool = False,
) -> None:
    """Say what came of it, and end."""
    from deployments.analysis.display import count, length

    heard = [outcome for outcome in outcomes if not outcome.problem]
    wrong = [*problems, *(outcome.problem for outcome in outcomes if outcome.problem)]
    told = []
    if heard:
        seconds = sum(outcome.seconds for outcome in heard)
        pace = f", {seconds / took:.0f} times real time" if took > 0 and seconds >= took else ""
        what = f"{count(len(heard))} analysed ({length(seconds)} of sound in {length(took)}{pace})"
        told.append(f"{what}, written to {outputs.url}")
    if skipped:
        told.append(f"{count(skipped)} skipped, for what was asked for is there (--force writes it anew)")
    if stopped:
        left = wanted - len(outcomes)
        told.append(f"stopped before {count(left)}; the same command goes on from here")
    if told:
        text = "; ".join(told)
        say(f"{text[0].upper()}{text[1:]}.")
    for problem in wrong:
        console.print(problem, style="bold red", soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(STOPPED if stopped else 1 if wrong else 0)


def _absolute(task: Task) -> Task:
    """The same for processes that run elsewhere."""
    from deployments.analysis.files import Task, is_url

    source = task.source if is_url(task.source) else os.path.abspath(task.source)
    return Task(source, task.name, task.extensions)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """What libraries write to the terminal, in C or in threads, goes nowhere; what `console` says is still seen."""
    console.file.flush()
    kept, said_by = os.fdopen(os.dup(2), "w", errors="backslashreplace"), sys.stderr
    with kept, open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        console.file, sys.stderr = kept, nowhere
        try:
            yield
        finally:
            kept.flush()
            os.dup2(kept.fileno(), 2)
            console.file, sys.stderr = said_by, said_by
