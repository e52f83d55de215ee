"""A recording as one page to keep: it opens from a disk, without a server or a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from bokeh.document import Document
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pipeline.timeline import Timeline
from ui.coarse import coarse, from_afar
from ui.feed import Changes
from ui.palette import DARK, LABELS, LIGHT, Palette
from ui.shares import in_a_sentence, people
from ui.summary import clock
from ui.transcript import lines
from ui.views.places import Places
from ui.views.probabilities import Probabilities
from ui.views.ribbons import Ribbons
from ui.views.window import Window

CAVEAT: Final = "Readings say how someone sounds, not how they feel."
FOLDER: Final = Path(__file__).parent
FAR_FROM: Final = 1_200  # seconds shown at once beyond which turns are too narrow to be told apart
DRESSING: Final = (  # before the first paint
    'document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"'
)
CLOSEST: Final = 2.0  # seconds that the plots show at least
PERSON_PIXELS: Final = 330  # the height of what stands beside the mood map

Json = dict[str, Any]
View = Ribbons | Probabilities | Places


def report(timeline: Timeline, title: str, facts: Mapping[str, str]) -> str:
    """A finished recording as a self-contained page of HTML.

    `facts` stand below the title, in their order: what each is called, and what it is. Everything is text, never
    HTML. A recording of hours is drawn in steps of some seconds, and from afar in long ones, and the page says so; its
    figures count every reading.
    """
    finished = timeline.model_copy(update={"ended": True, "heard_until": _length(timeline)})
    everyone = people(finished)
    told = [person for person in everyone if person.told]
    near, step = coarse(finished)
    levels = {"near": near}
    far_step = 0
    if finished.heard_until > FAR_FROM:
        levels["far"], far_step = from_afar(finished)
    scripts = [_resources().js_raw[0], _static("functions.js"), _static("report.js")]
    return _template().render(
        title=title,
        facts=facts,
        caveat=CAVEAT,
        summary=in_a_sentence(everyone),
        people=everyone,
        told=told,
        levels=list(levels),
        step=step,
        far_step=far_step,
        far_minutes=FAR_FROM // 60,
        labels=LABELS,
        lines=[(clock(line.start), line.name, line.text) for line in lines(finished, newest=len(finished.words) + 1)],
        styles=[_static("page.css"), _static("report.css")],
        dressing=DRESSING,
        scripts=scripts,
        allowed=" ".join(_allowed(script) for script in (DRESSING, *scripts)),
        drawing=_drawing(levels, [person.speaker for person in told]),
    )


def _drawing(levels: Mapping[str, Timeline], told: list[int]) -> Json:
    """The plots as a document for BokehJS, and what its colours are in light and in dark.

    `roots` are the figures' ids by name, `range` is that of the time axis, `far` the seconds from which on it shows
    the level of that name, `lanes` the speakers from the top.
    """
    timeline = levels["near"]
    length = timeline.heard_until
    window = Window()
    window.range.update(start=0.0, end=length, bounds=(0.0, length), min_interval=min(CLOSEST, length))
    everything = Changes(rewritten=True)
    views: list[View] = []
    for level, drawn in levels.items():
        ribbons = Ribbons(window)
        ribbons.draw(drawn, everything, None)
        ribbons.figure.name = f"ribbons-{level}"
        views.append(ribbons)
        for speaker in told:
            person = Probabilities(window)
            person.draw(drawn, everything, speaker)
            person.figure.update(name=f"person-{speaker}-{level}", height=PERSON_PIXELS)
            views.append(person)
    places = Places()
    places.draw(timeline)
    views.append(places)
    document = Document()
    for view in views:
        document.add_root(view.figure)
    dark = dict(_attributes(_painted(document, views, DARK)))
    light = _painted(document, views, LIGHT)
    return {
        "document": light,
        "roots": {view.figure.name: view.figure.id for view in views},
        "range": window.range.id,
        "length": length,
        "far": FAR_FROM if "far" in levels else None,
        "lanes": timeline.speakers,
        "dress": _dress(dict(_attributes(light)), dark),
    }


def _length(timeline: Timeline) -> float:
    """Seconds from the start to the end of all that was heard; never 0, so that there is an axis."""
    return max([timeline.heard_until, *(turn.end for turn in timeline.turns.values()), 0.1])


def _painted(document: Document, views: list[View], palette: Palette) -> Json:
    """The document as BokehJS reads it, in a theme's colours."""
    document.theme = palette.theme()
    for view in views:
        view.paint(palette)
    return dict(document.to_json(deferred=False))


def _dress(light: Mapping[str, Json], dark: Mapping[str, Json]) -> dict[str, dict[str, list[Any]]]:
    """Whatever differs between two themes: by model and attribute, its value in light and in dark."""
    differing: dict[str, dict[str, list[Any]]] = {}
    for model, attributes in light.items():
        other = dark[model]
        for name, value in attributes.items():
            if value != other[name] and not any(_attributes([value, other[name]])):
                differing.setdefault(model, {})[name] = [_plain(value), _plain(other[name])]
    return differing


def _plain(value: Any) -> Any:
    """A value as a model takes it, which differs from how it travels."""
    return {"value": value["value"]} if isinstance(value, dict) and value.get("type") == "value" else value


def _attributes(tree: Any) -> Iterator[tuple[str, Json]]:
    """The attributes of every model in a serialised tree, by its id."""
    if isinstance(tree, dict):
        if tree.get("type") == "object" and "id" in tree:
            yield tree["id"], tree.get("attributes", {})
        if tree.get("type") != "map":  # that is data: long, and without colours
            for branch in tree.values():
                yield from _attributes(branch)
    elif isinstance(tree, list):
        for branch in tree:
            yield from _attributes(branch)


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined)
    # A model stands where it is first named, and is referred to after that: the order must stay.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment.get_template("report.html")


@cache
def _static(name: str) -> str:
    return (FOLDER / "static" / name).read_text(encoding="utf-8")


@cache
def _allowed(script: str) -> str:
    """An inline script as a source of the Content-Security-Policy, which lets run no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def _resources() -> Resources:
    """BokehJS itself, without the widgets, tables and formulae that the plots do without."""
    return Resources(mode="inline", components=["bokeh"])
