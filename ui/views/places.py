"""Where everyone's voice was over a whole recording, unpleasant to pleasant, calm to excited: its middle and spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import CategoricalColorMapper, ColumnDataSource, Range1d
from bokeh.models.annotations import Label, Span
from bokeh.plotting import figure
from bokeh.transform import transform

from pipeline.timeline import EmotionReading, Timeline
from ui.palette import LABELS, Palette
from ui.summary import short, whose_tone
from ui.views.moods import EDGE, apart

HALF_WITHIN = 1.177  # standard deviations within which half of what is scattered evenly around a middle lies
CORNERS = 60  # of an outline
FEWEST = 4  # readings that have a spread worth drawing


@dataclass(frozen=True, slots=True)
class Place:
    """A voice's middle, (valence, arousal), the outline around half of its time, and how it sounded most."""

    middle: tuple[float, float]
    outline: Sequence[tuple[float, float]]
    label: str


class Places:
    """The figure: a dot and an outline a person, coloured by how they sounded most."""

    def __init__(self) -> None:
        self._outlines = ColumnDataSource({"xs": [], "ys": [], "label": []})
        self._dots = ColumnDataSource({"x": [], "y": [], "label": [], "name": [], "name_y": []})
        self._mapper = CategoricalColorMapper(factors=list(LABELS), palette=["#888888"] * len(LABELS))
        self.figure = figure(
            name="places",
            x_range=Range1d(start=-EDGE, end=EDGE),
            y_range=Range1d(start=-EDGE, end=EDGE),
            height=300,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools="",
        )
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        colour = transform("label", self._mapper)
        self._cross = [Span(location=0, dimension=dimension, level="underlay") for dimension in ("width", "height")]
        self._rings = self.figure.patches(
            "xs", "ys", source=self._outlines, fill_color=colour, fill_alpha=0.2, line_width=1.5, line_alpha=0.6
        )
        self._marks = self.figure.scatter("x", "y", source=self._dots, size=11, fill_color=colour, line_width=1)
        self._names = self.figure.text(
            "x", "name_y", text="name", source=self._dots, x_offset=11, text_baseline="middle", text_font_style="bold"
        )
        words = [
            Label(x=EDGE, y=0, text="pleasant", text_align="right", text_baseline="top", y_offset=-3),
            Label(x=-EDGE, y=0, text="unpleasant", text_baseline="top", y_offset=-3),
            Label(x=0, y=EDGE, text="excited", text_baseline="top", x_offset=5),
            Label(x=0, y=-EDGE, text="calm", text_baseline="bottom", x_offset=5),
        ]
        for annotation in (*self._cross, *words):
            self.figure.add_layout(annotation)

    def paint(self, palette: Palette) -> None:
        """Take a theme's colours."""
        self._mapper.palette = [*palette.colours()[:-1], palette.soft]
        for line in self._cross:
            line.line_color = palette.line
        self._rings.glyph.line_color = palette.soft
        self._marks.glyph.line_color = palette.ink
        self._names.glyph.text_color = palette.ink

    def draw(self, timeline: Timeline) -> None:
        """Show everyone whose tone was told."""
        readings: dict[int, list[EmotionReading]] = {}
        for reading in timeline.readings:
            speaker = whose_tone(reading, timeline)
            if speaker is not None and reading.duration > 0:
                readings.setdefault(speaker, []).append(reading)
        found = {speaker: place(readings[speaker]) for speaker in sorted(readings)}
        outlines: dict[str, list[Any]] = {"xs": [], "ys": [], "label": []}
        dots: dict[str, list[Any]] = {"x": [], "y": [], "label": [], "name": [], "name_y": []}
        for speaker, one in found.items():
            outlines["xs"].append([x for x, _ in one.outline])
            outlines["ys"].append([y for _, y in one.outline])
            outlines["label"].append(one.label)
            for name, value in zip(dots, (*one.middle, one.label, short(timeline.name_of(speaker)), 0.0), strict=True):
                dots[name].append(value)
        dots["name_y"] = apart(dots["y"])
        self._outlines.data = outlines
        self._dots.data = dots


def place(readings: Sequence[EmotionReading]) -> Place:
    """Where a voice was, each reading counted by its length."""
    lengths = np.array([reading.duration for reading in readings])
    points = np.array([(reading.valence, reading.arousal) for reading in readings])
    middle = np.average(points, axis=0, weights=lengths)
    outline = np.empty((0, 2))
    if len(readings) >= FEWEST:
        spread, axes = np.linalg.eigh(np.cov(points.T, aweights=lengths, ddof=0))
        angles = np.linspace(0, 2 * math.pi, CORNERS, endpoint=False)
        circle = np.column_stack([np.cos(angles), np.sin(angles)])
        outline = middle + circle * (HALF_WITHIN * np.sqrt(np.maximum(spread, 0))) @ axes.T
    seconds: dict[str, float] = {}
    for reading in readings:
        seconds[reading.label] = seconds.get(reading.label, 0.0) + reading.duration
    return Place(
        middle=(round(float(middle[0]), 3), round(float(middle[1]), 3)),
        outline=[(round(float(x), 3), round(float(y), 3)) for x, y in outline],
        label=max(seconds, key=lambda label: seconds[label]),
    )
