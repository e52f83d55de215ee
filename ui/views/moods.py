"""The mood map: where everyone's voice has moved in the last minute, unpleasant to pleasant, calm to excited."""

from __future__ import annotations

from typing import Any

from bokeh.models import ColumnDataSource, Range1d
from bokeh.models.annotations import Label, Span
from bokeh.plotting import figure

from pipeline.timeline import EmotionReading, Timeline
from ui.palette import Palette
from ui.summary import short, whose_tone

TRAIL_SECONDS = 60.0
SMOOTHING = 0.3  # weight of each new reading in the place shown: half a second of voice is no mood
EDGE = 1.08
LABEL_GAP = 0.17  # between names, so that they do not cover each other

Columns = dict[str, list[Any]]


class Moods:
    """The figure: a fading trail and a dot a person."""

    def __init__(self) -> None:
        self._palette: Palette | None = None
        self._trails = ColumnDataSource({"x0": [], "y0": [], "x1": [], "y1": [], "alpha": []})
        self._dots = ColumnDataSource({"x": [], "y": [], "colour": [], "name": [], "size": [], "name_y": []})
        self.figure = figure(
            name="trails",
            x_range=Range1d(start=-EDGE, end=EDGE),
            y_range=Range1d(start=-EDGE, end=EDGE),
            height=276,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools="",
        )
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self._cross = [Span(location=0, dimension=dimension, level="underlay") for dimension in ("width", "height")]
        self._lines = self.figure.segment(
            "x0", "y0", "x1", "y1", source=self._trails, line_width=2, line_alpha="alpha", line_cap="round"
        )
        self._marks = self.figure.scatter("x", "y", size="size", source=self._dots, fill_color="colour", line_width=1)
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
        """Take a theme's colours; dots take theirs when next drawn."""
        self._palette = palette
        for line in self._cross:
            line.line_color = palette.line
        self._lines.glyph.line_color = palette.soft
        self._marks.glyph.line_color = palette.ink
        self._names.glyph.text_color = palette.ink

    def draw(self, timeline: Timeline, selected: int | None) -> None:
        """Show the last minute of everyone."""
        since = timeline.heard_until - TRAIL_SECONDS
        trails: Columns = {name: [] for name in ("x0", "y0", "x1", "y1", "alpha")}
        dots: Columns = {name: [] for name in ("x", "y", "colour", "name", "size", "name_y")}
        for speaker, readings in _recent(timeline, since).items():
            points = path(readings)
            for start, end, reading in zip(points, points[1:], readings[1:], strict=False):
                age = (timeline.heard_until - reading.end) / TRAIL_SECONDS
                for name, value in zip(trails, (*start, *end, round(0.5 * (1 - age), 3)), strict=True):
                    trails[name].append(value)
            colour = self._palette.colour(readings[-1].label) if self._palette else "grey"
            dot = (*points[-1], colour, short(timeline.name_of(speaker)), 14 if speaker == selected else 10, 0.0)
            for name, entry in zip(dots, dot, strict=True):
                dots[name].append(entry)
        dots["name_y"] = apart(dots["y"])
        self._trails.data = trails
        self._dots.data = dots


def path(readings: list[EmotionReading]) -> list[tuple[float, float]]:
    """Where a voice moves: valence and arousal, smoothed."""
    points: list[tuple[float, float]] = []
    for reading in readings:
        x, y = points[-1] if points else (reading.valence, reading.arousal)
        points.append((x + SMOOTHING * (reading.valence - x), y + SMOOTHING * (reading.arousal - y)))
    return points


def apart(heights: list[float]) -> list[float]:
    """Heights for names beside dots, moved up just enough that no two stand closer than `LABEL_GAP`."""
    placed = list(heights)
    floor = -2.0
    for index in sorted(range(len(heights)), key=lambda index: heights[index]):
        placed[index] = max(heights[index], floor)
        floor = placed[index] + LABEL_GAP
    return placed


def _recent(timeline: Timeline, since: float) -> dict[int, list[EmotionReading]]:
    """The readings of the last minute by speaker, oldest first."""
    recent: dict[int, list[EmotionReading]] = {}
    for reading in reversed(timeline.readings):
        if reading.end <= since:
            break
        speaker = whose_tone(reading, timeline)
        if speaker is not None:
            recent.setdefault(speaker, []).insert(0, reading)
    return {speaker: recent[speaker] for speaker in sorted(recent)}
