"""Who sounds how: one lane a speaker, a slice a reading, coloured by emotion and the fainter the less sure."""

from __future__ import annotations

from typing import Any

from bokeh.models import (
    CategoricalColorMapper,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    PanTool,
    Range1d,
    ResetTool,
    WheelZoomTool,
)
from bokeh.models.annotations import BoxAnnotation, Label, Span
from bokeh.plotting import figure
from bokeh.transform import transform

from pipeline.timeline import EMOTIONS, UNSURE, EmotionReading, Timeline, Turn
from pipeline.timeline import Span as TimeSpan
from ui.feed import Changes
from ui.palette import LABELS, Palette
from ui.summary import basis, clock, name_of, sounds
from ui.views.bars import Bars, Row
from ui.views.tooltips import reading_tooltip
from ui.views.window import Window, clock_formatter, clock_ticker

ROLLOVER = 20_000  # slices kept in a document: some five hours at one a second
LANE_PIXELS, FRAME_PIXELS = 56, 58
TOP = 0.72  # of the first lane: half a lane, and room for the word above the line of now
HALF = 0.33  # of a lane's height, half a ribbon's

Columns = dict[str, Any]
BAR_COLUMNS = ("left", "right", "top", "bottom", "label", "alpha")
SLICE_COLUMNS = ("left", "right", "top", "bottom", "who", "sounds", "when", "basis")
JOIN = 0.05  # seconds apart at most that two slices of one look are drawn as one


class Ribbons:
    """The figure, its lanes, and the turn that the keyboard has chosen."""

    def __init__(self, window: Window) -> None:
        self._lanes: list[int] = []
        self._outlines = Bars(BAR_COLUMNS[:4])  # by turn id
        self._bars = Bars(BAR_COLUMNS)  # by number; equal slices in a row make one bar, so that no seams show
        self._unsure = Bars(BAR_COLUMNS)  # apart, because BokehJS makes a canvas for each row that may be hatched
        self._bar: tuple[int, Row] = (0, ())  # the newest, which may still grow
        self._slices = ColumnDataSource(_empty_slices())  # unseen, for hovering
        self._lane_source = ColumnDataSource({"y0": [], "y1": [], "alpha": []})
        self._mapper = CategoricalColorMapper(factors=list(LABELS), palette=["#888888"] * len(LABELS))
        self.figure = figure(
            name="ribbons",
            x_range=window.range,
            y_range=Range1d(start=-0.5, end=TOP),
            height=FRAME_PIXELS + LANE_PIXELS,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools="",
            lod_threshold=None,
        )
        self._lane_bands = self.figure.hstrip(
            "y0", "y1", source=self._lane_source, fill_alpha="alpha", line_color=None, level="underlay"
        )
        self._outline_bars = self.figure.quad(
            "left", "right", "top", "bottom", source=self._outlines.source, fill_alpha=0.16, line_alpha=0.45
        )
        self._emotion_bars = self.figure.quad(
            "left",
            "right",
            "top",
            "bottom",
            source=self._bars.source,
            fill_color=transform("label", self._mapper),
            fill_alpha="alpha",
            line_color=None,
        )
        self._unsure_bars = self.figure.quad(
            "left",
            "right",
            "top",
            "bottom",
            source=self._unsure.source,
            fill_alpha=0,
            line_color=None,
            hatch_pattern="right_diagonal_line",
            hatch_weight=1.5,
            hatch_scale=7,
            hatch_alpha=0.8,
        )
        self._hover_bars = self.figure.quad(
            "left", "right", "top", "bottom", source=self._slices, fill_alpha=0, line_alpha=0
        )
        self._now = Span(location=0, dimension="height", line_width=1.5, visible=False)
        self._now_word = Label(x=0, y=0.46, text="now", text_align="center", text_baseline="bottom", visible=False)
        self._chosen = BoxAnnotation(visible=False, fill_alpha=0, line_width=3)
        for annotation in (self._now, self._now_word, self._chosen):
            self.figure.add_layout(annotation)
        self._lay_axes()
        self._add_tools()

    def paint(self, palette: Palette) -> None:
        """Take a theme's colours."""
        self._mapper.palette = palette.colours()
        self._lane_bands.glyph.fill_color = palette.soft
        self._outline_bars.glyph.update(fill_color=palette.soft, line_color=palette.soft)
        self._unsure_bars.glyph.hatch_color = palette.soft
        self._now.line_color = palette.now
        self._now_word.text_color = palette.now
        self._chosen.line_color = palette.accent
        self.figure.yaxis.major_label_text_color = palette.ink

    def speaker_at(self, y: float) -> int | None:
        """Whose lane lies at this height."""
        lane = round(-y)
        return self._lanes[lane] if 0 <= lane < len(self._lanes) else None

    def choose(self, turn: Turn | None) -> None:
        """Frame a turn, or none."""
        if turn is None or turn.speaker not in self._lanes:
            self._chosen.visible = False
            return
        left, right, top, bottom = self._place(turn, turn.speaker)
        self._chosen.update(left=left, right=right, top=top + 0.06, bottom=bottom - 0.06, visible=True)

    def draw(self, timeline: Timeline, changes: Changes, selected: int | None) -> None:
        """Show the timeline; only what changed, unless the past did."""
        speakers = timeline.speakers
        rewritten = changes.rewritten or speakers[: len(self._lanes)] != self._lanes
        if speakers != self._lanes:
            self._lanes = speakers
            self._lay_lanes()
        self._mark(selected)
        if rewritten:
            readings = timeline.readings[-ROLLOVER:]
            self._bar = (0, ())
            self._outlines.reset({turn.id: self._place(turn, turn.speaker) for turn in timeline.turns.values()})
            bars = self._grow(timeline, readings)
            self._bars.reset(_of(bars, unsure=False))
            self._unsure.reset(_of(bars, unsure=True))
            self._slices.data = self._slice_columns(timeline, readings)
        else:
            changed = [timeline.turns[turn] for turn in sorted(changes.turns) if turn in timeline.turns]
            self._outlines.put({turn.id: self._place(turn, turn.speaker) for turn in changed})
            if changes.readings:
                bars = self._grow(timeline, changes.readings)
                self._bars.put(_of(bars, unsure=False))
                self._unsure.put(_of(bars, unsure=True))
                self._slices.stream(self._slice_columns(timeline, changes.readings), rollover=ROLLOVER)
        live = timeline.heard_until > 0 and not timeline.ended
        self._now.update(location=timeline.heard_until, visible=live)
        self._now_word.update(x=timeline.heard_until, visible=live)

    def _place(self, span: TimeSpan, speaker: int) -> Row:
        y = -float(self._lanes.index(speaker))
        return span.start, span.end, y + HALF, y - HALF

    def _grow(self, timeline: Timeline, readings: list[EmotionReading]) -> dict[int, Row]:
        """The bars that these readings add, or add to."""
        bars: dict[int, Row] = {}
        for reading in readings:
            speaker = timeline.speaker_of(reading)
            if speaker is None:
                continue
            number, last = self._bar
            row = (*self._place(reading, speaker), reading.label, opacity(reading.confidence))
            if last and last[2:] == row[2:] and abs(reading.start - last[1]) < JOIN:
                row = (last[0], *row[1:])
            else:
                number += 1
            self._bar = (number, row)
            bars[number] = row
        return bars

    def _slice_columns(self, timeline: Timeline, readings: list[EmotionReading]) -> Columns:
        columns = _empty_slices()
        for reading in readings:
            speaker = timeline.speaker_of(reading)
            if speaker is None:
                continue
            when = f"{clock(reading.start)} to {clock(reading.end)}"
            row = (*self._place(reading, speaker), name_of(speaker), sounds(reading.label), when, basis(reading))
            for name, value in zip((*SLICE_COLUMNS, *EMOTIONS), (*row, *reading.probabilities), strict=True):
                columns[name].append(value)
        return columns

    def _mark(self, selected: int | None) -> None:
        alpha = [0.16 if speaker == selected else 0.07 for speaker in self._lanes]
        if list(self._lane_source.data["alpha"]) != alpha:
            self._lane_source.data = {
                "y0": [-lane - 0.44 for lane in range(len(alpha))],
                "y1": [-lane + 0.44 for lane in range(len(alpha))],
                "alpha": alpha,
            }

    def _lay_lanes(self) -> None:
        count = max(1, len(self._lanes))
        self.figure.height = FRAME_PIXELS + LANE_PIXELS * count
        self.figure.y_range.update(start=-count + 0.5, end=TOP)
        self.figure.yaxis.ticker = FixedTicker(ticks=[-lane for lane in range(len(self._lanes))])
        self.figure.yaxis.major_label_overrides = {-lane: name_of(speaker) for lane, speaker in enumerate(self._lanes)}

    def _lay_axes(self) -> None:
        self.figure.yaxis.update(ticker=FixedTicker(ticks=[]), major_label_text_font_style="bold")
        self.figure.yaxis.major_label_text_font_size = "12px"
        self.figure.ygrid.visible = False
        ticker = clock_ticker()
        self.figure.xaxis.update(formatter=clock_formatter(), ticker=ticker)
        self.figure.xgrid.ticker = ticker

    def _add_tools(self) -> None:
        pan, zoom = PanTool(dimensions="width"), WheelZoomTool(dimensions="width", modifiers="ctrl")
        hover = HoverTool(renderers=[self._hover_bars], tooltips=reading_tooltip(), show_arrow=False)
        self.figure.add_tools(pan, zoom, hover, ResetTool())
        self.figure.toolbar.update(active_drag=pan, active_scroll=zoom)


def opacity(confidence: float) -> float:
    """How solid a slice is: a guess among eight is faint, certainty is full.

    In four steps, so that a steady voice gives an even ribbon and not a bar code.
    """
    certainty = min(1.0, max(0.0, confidence - 0.2) / 0.5)
    return 0.4 + 0.2 * round(3 * certainty)


def _empty_slices() -> Columns:
    return {name: [] for name in (*SLICE_COLUMNS, *EMOTIONS)}


def _of(bars: dict[int, Row], unsure: bool) -> dict[int, Row]:
    """The bars that are unsure, or those that are not."""
    return {number: row for number, row in bars.items() if (row[4] == UNSURE) == unsure}
