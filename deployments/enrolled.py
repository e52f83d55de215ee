"""The enrolled voices that a recording was sent with, as a worker looks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deployments.loop import Loop
from pipeline.enrolment import version
from pipeline.jobs import JobStore
from pipeline.session import Voice

MISSED: Final = (
    "Enrolled voices that could not be looked for (expired, erased, or of another version of the models): "
    "{missed} of {all}."
)


class Enrolled:
    """Those that are still there when they are asked for. `warning`: how many are not, once that is known."""

    def __init__(self, loop: Loop, jobs: JobStore, recording: str) -> None:
        self._loop = loop
        self._jobs = jobs
        self._recording = recording
        self.warning = ""

    def __call__(self) -> Sequence[Voice]:
        """See `pipeline.hearing.Listening`."""
        ids, voices = self._loop.run(self._jobs.voices(self._recording, version()))
        missed = len(ids) - len(voices)
        self.warning = MISSED.format(missed=missed, all=len(ids)) if missed else ""
        return voices
