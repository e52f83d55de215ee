"""What `tonetrack analyse` makes of recordings: which they are, what is heard in each, and where it is written.

Every way to hear them (`a process, `bulk`, a server's workers by `sending`) makes the same
timeline of the same sound.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from deployments.analysis.files import CannotAnalyse, Outputs, Task, opened
from deployments.facts import declared, facts
from deployments.own_ray import QUIET_WORKERS, alone
from pipeline.consent import CURRENT, consent_to
from pipeline.exports import FORMATS
from pipeline.job import Channels, Job, State
from pipeline.session import Expected, VoiceKey
from pipeline.timeline import Timeline

if TYPE_CHECKING:
    from pipeline.emotion import EmotionHead
    from pipeline.hearing import Ears, OnProgress

HTML: Final = "html"
WRITTEN: Final = (*FORMATS, HTML)
UNNAMED: Final = "this file"  # how `pipeline.media` calls what has no name


@dataclass(frozen=True)
class Asked:
    """What is said of the recordings, and what of them is wanted.

    `most_seconds`: longer ones are refused. `voices`: enrolled on the server that hears them.
    """

    purpose: str
    remark: str = ""
    formats: tuple[str, ...] = ("json",)
    at_least: int | None = None
    at_most: int | None = None
    channels: Channels = "mix"
    most_seconds: float | None = None
    voices: tuple[VoiceKey, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a recording: its length and how long it took, in seconds, or why there is nothing of it."""

    source: str
    seconds: float = 0.0
    took: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Models:
    """The ears of this process, and what tells emotions from what they hear."""

    ears: Ears
    head: EmotionHead

    @classmethod
    def load(cls, at_once: int = 1) -> Models:
        """Load them, which takes seconds, and have them compute as in a service, whose libraries have one thread each.

        More threads would add up in another order, and now and then a last digit would be another.
        """
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        from pipeline.diarisation.local import LocalDiariser
        from pipeline.emotion import EmotionHead, EmotionModel
        from pipeline.segments import ears_here

        models = cls(ears_here(LocalDiariser(), EmotionModel.load(), at_once), EmotionHead.load())
        threadpool_limits(1)  # NumPy's, too, which has been imported before `quieten` and heeds no variable any more
        return models


def timeline_of(source: Path | BinaryIO, models: Models, asked: Asked, on_progress: OnProgress) -> Timeline:
    """What is heard in a recording. Raises `UndecodableAudio`."""
    from pipeline.hearing import Listening
    from pipeline.media import decode, decode_channels, probe
    from pipeline.recording import hear
    from pipeline.sound import Sound

    how = Listening(
        expected=Expected(asked.at_least or 1, asked.at_most),
        channels=asked.channels == "speakers",
        on_progress=on_progress,
        claimed=probe(source).seconds or 0.0,
    )
    blocks = (decode_channels if how.channels else decode)(source, asked.most_seconds)
    with Sound(blocks) as sound:
        return hear(sound, models.ears, models.head, how)


def text_of(timeline: Timeline, extension: str, name: str, asked: Asked) -> Iterator[str]:
    """A timeline in one of the formats of `WRITTEN`, piece by piece; `name`: the recording's."""
    job = _job(asked)
    if extension == HTML:
        from ui.report import report

        yield report(timeline, name, _facts(timeline, job))
    else:
        yield from FORMATS[extension].write(timeline, name, declared(job))


def attempt(task: Task, models: Models, asked: Asked, outputs: Outputs, on_progress: OnProgress) -> Outcome:
    """Hear a recording and write what is asked for. Whatever is wrong with it is told, not raised."""
    from pipeline.media import UndecodableAudio

    began = time.monotonic()
    try:
        with opened(task.source) as source:
            timeline = timeline_of(source, models, asked, on_progress)
        for extension in task.extensions:
            text = text_of(timeline, extension, task.file_name, asked)
            outputs.write(f"{task.name}.{extension}", (piece.encode() for piece in text))
    except UndecodableAudio as error:
        return Outcome(task.source, problem=_about(task, str(error)))
    except CannotAnalyse as error:
        return Outcome(task.source, problem=str(error))
    except Exception as error:
        return Outcome(task.source, problem=f"{task.label} could not be heard: {type(error).__name__}: {error}")
    return Outcome(task.source, timeline.heard_until, time.monotonic() - began)


def quieten(environment: dict[str, str] | os._Environ[str], own_ray: bool = True) -> None:
    """Have models compute as they do in a service, to the last bit; what is set already stays.

    `own_ray`: a Ray that is started here is to be lean as well.
    """
    for name, value in (QUIET_WORKERS | alone()).items():
        if own_ray or not name.startswith("RAY_"):
            environment.setdefault(name, value)


def _about(task: Task, sentence: str) -> str:
    """A sentence about a file, with its whole path in place of its name."""
    for name in (task.file_name, UNNAMED):
        if sentence.startswith(name):
            return f"{task.label}{sentence.removeprefix(name)}"
    return f"{task.label}: {sentence}"


def _job(asked: Asked) -> Job:
    """What a server would know of a file that was never uploaded: whoever has it analysed now declares the consent."""
    now = time.time()
    consent = consent_to(CURRENT.version, now)
    told = {"purpose": asked.purpose, "remark": asked.remark, "consent": consent}
    return Job(id="", name="", state=State.DONE, created_at=now, **told)


def _facts(timeline: Timeline, job: Job) -> dict[str, str]:
    """What stands in a report besides what was heard, as a server tells it."""
    return {"Analysed" if name == "Uploaded" else name: fact for name, fact in facts(job, timeline).items()}
