"""The formats in which a conversation leaves ToneTrack, and which of them somebody asks for.

Every writer takes a timeline and the recording's name, and yields text piece by piece, to be encoded as UTF-8.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Protocol

from pydantic import BaseModel

from pipeline.captions import vtt
from pipeline.consent import Consent
from pipeline.plain import name_of, one_line
from pipeline.timeline import EMOTIONS, EmotionReading, Timeline


class Declared(BaseModel):
    """Why a conversation was heard, and what everyone in it has agreed to."""

    purpose: str
    remark: str = ""
    consent: Consent | None = None


class Writer(Protocol):
    """Writes a timeline; the name is the recording's, and what was declared stands in JSON alone."""

    def __call__(self, timeline: Timeline, name: str = "", declared: Declared | None = None, /) -> Iterator[str]:
        """The text, piece by piece."""
        ...


BATCH: Final = 1_000  # entries of a list that become text at a time
COLUMNS: Final = (
    *("start", "end", "speaker", "name", "label", "confidence"),
    *EMOTIONS,
    *("valence", "arousal", "heard", "mode", "mixed", "turn"),
)
TIME_PLACES, VALUE_PLACES = 3, 6  # decimals of seconds, and of probabilities, valence and arousal
# What begins a cell, or would where others part their cells, and makes a spreadsheet calculate; wide forms, too.
FORMULA: Final = re.compile(r"""(^|[;,|])([\s"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])""")


@dataclass(frozen=True, slots=True)
class Format:
    """How a timeline is written: the end of the file's name, without its dot, the media type, and the writer."""

    extension: str
    media_type: str
    write: Writer


def whole(timeline: Timeline, name: str = "", declared: Declared | None = None) -> Iterator[str]:
    """`Timeline.document` as JSON (RFC 8259), a batch of entries at a time, and what was declared; it needs no name."""
    about = {"declared": declared.model_dump()} if declared else {}
    yield from json_object(about | timeline.document())


def json_object(told: Mapping[str, Any]) -> Iterator[str]:
    """A JSON object (RFC 8259), a batch of the entries of its lists at a time."""
    before = "{"
    for key, value in told.items():
        yield f"{before}{json.dumps(key)}: "
        yield from _array(value) if isinstance(value, list) else (json.dumps(value),)
        before = ", "
    yield "}\n"


def chunks(timeline: Timeline, name: str = "", declared: Declared | None = None) -> Iterator[str]:
    """A JSON list (RFC 8259) of `Timeline.chunk` of every 30 s, in order; it needs no name."""
    integrated = timeline.chunks()
    yield from _array({who: speaker.model_dump() for who, speaker in chunk.items()} for chunk in integrated)
    yield "\n"


def table(timeline: Timeline, name: str = "", declared: Declared | None = None) -> Iterator[str]:
    """CSV (RFC 4180), a row a reading under a header of `COLUMNS`; it needs no name.

    The speaker is empty where the turn is unknown. What sounds beneath another is mixed, as in the page.
    """
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    rows = (_row(timeline, reading) for reading in timeline.readings)
    while batch := list(islice(rows, BATCH)):
        writer.writerows(batch)
        yield page.getvalue()
        page.seek(0)
        page.truncate()
    yield page.getvalue()  # the header, where there was no reading


def rttm(timeline: Timeline, name: str = "", declared: Declared | None = None) -> Iterator[str]:
    """NIST's RTTM (Rich Transcription 2009 evaluation plan, appendix A), one SPEAKER line a turn, in order of time.

    Turns beneath another are speech too. Blanks in names become underscores, and nobody is called like another.
    """
    recording = _without_blanks(name) or "recording"
    called: dict[int, str] = {}
    for speaker in timeline.speakers:
        own = _without_blanks(name_of(timeline, speaker))
        while own in {"<NA>", *called.values()}:
            own += f"_{speaker}"
        called[speaker] = own
    for turn in sorted(timeline.turns.values(), key=lambda turn: (turn.start, turn.id)):
        # In whole milliseconds, so that turns that touch still do.
        start, end = round(1_000 * turn.start), round(1_000 * turn.end)
        if start < end:
            yield speaker_line(recording, start / 1_000, (end - start) / 1_000, called[turn.speaker])


def speaker_line(recording: str, start: float, seconds: float, speaker: str) -> str:
    """One stretch of speech as a line of RTTM, to the millisecond. Neither name may hold blanks."""
    return f"SPEAKER {recording} 1 {start:.3f} {seconds:.3f} <NA> <NA> {speaker} <NA> <NA>\n"


def _captions(timeline: Timeline, name: str = "", declared: Declared | None = None) -> Iterator[str]:
    return vtt(timeline, name)


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "json": Format("json", "application/json", whole),
        "chunks.json": Format("chunks.json", "application/vnd.tonetrack.chunks+json", chunks),
        "csv": Format("csv", "text/csv", table),
        "rttm": Format("rttm", "application/x-rttm", rttm),
        "vtt": Format("vtt", "text/vtt", _captions),
    }
)


def best_format(accept_header: str) -> str | None:
    """The name of the format in `FORMATS` that an Accept header asks for, or None where none would do."""
    return best_of(accept_header, {name: one.media_type for name, one in FORMATS.items()})


def best_of(accept_header: str, offered: Mapping[str, str]) -> str | None:
    """Which of several media types, by name, an Accept header asks for (RFC 9110, section 12.5.1).

    Of those that are equally welcome the most closely named wins, then the one offered first. An empty header
    welcomes everything; a range that is none is passed over.
    """
    ranges = list(_ranges(accept_header)) if accept_header.strip() else [("*/*", 1.0)]
    welcome: list[tuple[float, int, str]] = []
    for name, media_type in offered.items():
        kinds = (media_type, f"{media_type.split('/')[0]}/*", "*/*")
        fits = [(-kinds.index(kind), quality) for kind, quality in ranges if kind in kinds]
        closeness, quality = max(fits, default=(0, 0.0))  # the closest range decides, even against
        if quality > 0:
            welcome.append((quality, closeness, name))
    return max(welcome, key=lambda one: one[:2])[2] if welcome else None


def _ranges(accept_header: str) -> Iterator[tuple[str, float]]:
    """Media ranges in small letters, and how welcome they are, 0 to 1. Parameters but `q` make no difference here."""
    for entry in accept_header.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        weights = [
            value.strip() for name, _, value in (one.partition("=") for one in parameters) if name.strip() == "q"
        ]
        weight = weights[0] if weights else "1"
        if re.fullmatch(r"(\*/\*|[^\s/*]+/([^\s/*]+|\*))", kind) and re.fullmatch(r"0(\.\d*)?|1(\.0*)?", weight):
            yield kind, float(weight)


def _array(entries: Iterable[Any]) -> Iterator[str]:
    """A JSON array, a batch at a time."""
    remaining, before = iter(entries), "["
    while batch := list(islice(remaining, BATCH)):
        yield before + json.dumps(batch)[1:-1]
        before = ", "
    yield "]" if before == ", " else "[]"


def _row(timeline: Timeline, reading: EmotionReading) -> list[Any]:
    turn = timeline.turns.get(reading.turn)
    if turn is not None and turn.second_voice:
        reading = reading.as_mixed()
    return [
        round(reading.start, TIME_PLACES),
        round(reading.end, TIME_PLACES),
        turn.speaker if turn else "",
        _harmless(name_of(timeline, turn.speaker)) if turn else "",
        reading.label,
        *(round(value, VALUE_PLACES) for value in (reading.confidence, *reading.probabilities)),
        round(reading.valence, VALUE_PLACES),
        round(reading.arousal, VALUE_PLACES),
        round(reading.heard, TIME_PLACES),
        reading.mode,
        str(reading.mixed).lower(),
        reading.turn,
    ]


def _harmless(name: str) -> str:
    """A name that no spreadsheet takes for a formula: an apostrophe before it says that it is text."""
    return FORMULA.sub(r"\1\2'", name)


def _without_blanks(text: str) -> str:
    return one_line(text).replace(" ", "_")
