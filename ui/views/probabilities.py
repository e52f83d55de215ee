"""One person's eight probabilities over time, as areas that add up to one wherever the person speaks."""

from __future__ import annotations

from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, PanTool, Range1d
from bokeh.plotting import figure

from pipeline.timeline import EMOTIONS, EmotionReading, Timeline
from ui.feed import Changes
from ui.palette import STACK, Palette
from ui.summary import clock, whose_tone
from ui.views.tooltips import probability_tooltip
from ui.views.window import Window, clock_formatter, clock_ticker

ROLLOVER = 40_000  # points; a reading adds one or, after a pause, four
PAUSE = 0.05  # seconds between readings from which on the areas are interrupted

Columns = dict[str, Any]


class Probabilities:
    """The figure, and whose probabilities it shows."""

    def __init__(self, window: Window) -> None:
        self.speaker: int | None = None
        self._end: float | None = None  # of the last reading drawn
        self._source = ColumnDataSource(_empty())
        self.figure = figure(
            name="probabilities",
            x_range=window.range,
            y_range=Range1d(start=0, end=1),
            height=220,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools="",
            lod_threshold=None,
        )
        self._areas = self.figure.varea_stack(list(STACK), x="at", source=self._source, fill_alpha=0.88)
        instants = self.figure.scatter("at", "half", source=self._source, alpha=0, size=1)
        self.figure.xaxis.update(formatter=clock_formatter(), ticker=clock_ticker())
        self.figure.yaxis.ticker = [0, 0.5, 1]
        self.figure.xgrid.visible = False
        pan = PanTool(dimensions="width")
        hover = HoverTool(renderers=[instants], mode="vline", tooltips=probability_tooltip(), show_arrow=False)
        self.figure.add_tools(pan, hover)
        self.figure.toolbar.active_drag = pan

    def paint(self, palette: Palette) -> None:
        """Take a theme's colours."""
        for emotion, area in zip(STACK, self._areas, strict=True):
            area.glyph.fill_color = palette.colour(emotion)

    def draw(self, timeline: Timeline, changes: Changes, selected: int | None) -> None:
        """Show the selected person; only what is new, unless the past or the choice has changed."""
        if changes.rewritten or selected != self.speaker:
            self.speaker = selected
            self._end = None
            self._source.data = self._points(self._own(timeline, timeline.readings))
            return
        if new := self._own(timeline, changes.readings):
            self._source.stream(self._points(new), rollover=ROLLOVER)

    def _own(self, timeline: Timeline, readings: list[EmotionReading]) -> list[EmotionReading]:
        """Those that tell the selected person's tone."""
        if self.speaker is None:
            return []
        return [reading for reading in readings if whose_tone(reading, timeline) == self.speaker]

    def _points(self, readings: list[EmotionReading]) -> Columns:
        """A point at each reading's end; around a pause the areas fall to zero and rise again."""
        columns = _empty()
        for reading in readings:
            if self._end is None or reading.start - self._end > PAUSE:
                if self._end is not None:
                    _append(columns, self._end, None)
                _append(columns, reading.start, None)
                _append(columns, reading.start, reading)
            _append(columns, reading.end, reading)
            self._end = reading.end
        return columns


def _empty() -> Columns:
    return {name: [] for name in ("at", "half", "when", *EMOTIONS)}


def _append(columns: Columns, at: float, reading: EmotionReading | None) -> None:
    columns["at"].append(at)
    # Where nobody is heard there is nothing to hover over.
    columns["half"].append(0.5 if reading else float("nan"))
    columns["when"].append(clock(at))
    probabilities = reading.probabilities if reading else (0.0,) * len(EMOTIONS)
    for emotion, value in zip(EMOTIONS, probabilities, strict=True):
        columns[emotion].append(value)
