"""Who speaks when as NIST RTTM (Rich Transcription 2009 evaluation plan, appendix A), one line a stretch of speech."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from pyannote.core import Annotation, Segment  # type: ignore[import-untyped]

from pipeline.exports import speaker_line

FEWEST: Final = 8  # fields of a line, up to the speaker; what comes after is optional in practice


def read_rttm(path: Path) -> dict[str, Annotation]:
    """The speech of each recording that a file names, in seconds; lines of other types than SPEAKER are passed over.

    One speaker's stretches that touch or overlap are one, for nobody speaks twice at a time. Raises ValueError with
    the file and the number of the line that is not RTTM.
    """
    recordings: dict[str, Annotation] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text: {error}") from error
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or fields[0].startswith(";;") or (fields[0] != "SPEAKER" and fields[0].isupper()):
            continue
        try:
            name, start, seconds, speaker = _stretch(fields)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
        recording = recordings.setdefault(name, Annotation(uri=name))
        if seconds > 0:
            recording[Segment(start, start + seconds), number] = speaker
    return {name: recording.support() for name, recording in recordings.items()}


def rttm_of(name: str, speech: Annotation) -> str:
    """The lines for a recording, in order of time, to the millisecond. A speaker's label must not hold blanks."""
    return "".join(
        speaker_line(name, segment.start, segment.duration, speaker)
        for segment, _, speaker in speech.itertracks(yield_label=True)
    )


def _stretch(fields: list[str]) -> tuple[str, float, float, str]:
    """Recording, start, seconds and speaker of a line."""
    if fields[0] != "SPEAKER":
        raise ValueError(f"a line begins with its type in capitals, such as SPEAKER, not with {fields[0]!r}")
    if len(fields) < FEWEST:
        raise ValueError(f"a SPEAKER line has {FEWEST} fields or more, not {len(fields)}")
    times = []
    for meaning, field in (("start", fields[3]), ("duration", fields[4])):
        try:
            seconds = float(field)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"the {meaning} is a number of seconds, 0 or more, not {field!r}")
        times.append(seconds)
    return fields[1], times[0], times[1], fields[7]
