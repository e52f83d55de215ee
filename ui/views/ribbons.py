"""Who sounds how: one lane a speaker, a slice a reading, coloured by emotion and the fainter the less sure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bokeh.models import (
    CategoricalColorMapper,
    ColumnDataSource,
    FixedTicker,
    PanTool,
    PlainText,
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
from ui.summary import basis, clock, short, sounds, whose_tone
from ui.transcript import said
from ui.views.bars import Bars, Row
from ui.views.tooltips import at_once_hover, beneath_hover, reading_hover
from ui.views.window import Window, clock_formatter, clock_ticker

ROLLOVER = 20_000  # slices kept in a document: some five hours at one a second
LANE_PIXELS, FRAME_PIXELS = 56, 58
TOP = 0.72  # of the first lane: half a lane, and room for the word above the line of now
HALF = 0.33  # of a lane's height, half a ribbon's
BENEATH_HEIGHT = 0.26  # of a turn beneath another, which lies low
EXCERPT = 240  # letters of what was said that a tooltip shows

Columns = dict[str, Any]
PLACE_COLUMNS = ("left", "right", "top", "bottom")
UNTOLD_COLUMNS = (*PLACE_COLUMNS, "who", "turn")
BAR_COLUMNS = (*UNTOLD_COLUMNS, "label", "alpha")
SLICE_COLUMNS = (*UNTOLD_COLUMNS, "sounds", "when", "basis")
MIXED = "mixed"  # in place of a label where another talks too
JOIN = 0.05  # seconds apart at most that two slices of one look are drawn as one


class Ribbons:
    """The figure, its lanes, and the turn that the keyboard has chosen."""

    def __init__(self, window: Window) -> None:
        self._lanes: list[int] = []
        self._names: list[str] = []
        self._outlines = Bars(PLACE_COLUMNS)  # by turn id
        self._bars = Bars(BAR_COLUMNS)  # by number; equal slices in a row make one bar, so that no seams show
        self._unsure = Bars(BAR_COLUMNS)  # apart, because BokehJS makes a canvas for each row that may be hatched
        self._mixed = Bars(UNTOLD_COLUMNS)  # where another talks too
        self._beneath = Bars(UNTOLD_COLUMNS)  # turns beneath another, by id
        self._bar: tuple[int, Row] = (0, ())  # the newest, which may still grow
        self._said = ColumnDataSource({"turn": [], "text": []})
        self._words: dict[int, str] = {}  # what it holds
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
        self._unsure_bars = self._hatched(self._unsure, "right_diagonal_line", line_color=None)
        self._mixed_bars = self._hatched(self._mixed, "diagonal_cross", line_color=None)
        self._beneath_bars = self._hatched(self._beneath, "diagonal_cross", line_alpha=0.7)
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
        for hatched in (self._unsure_bars, self._mixed_bars, self._beneath_bars):
            hatched.glyph.hatch_color = palette.soft
        self._beneath_bars.glyph.line_color = palette.soft
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
        names = [timeline.name_of(speaker) for speaker in speakers]
        if (speakers, names) != (self._lanes, self._names):
            self._lanes, self._names = speakers, names
            self._lay_lanes()
        self._mark(selected)
        if changes.words or rewritten:
            self._quote(timeline)
        if rewritten:
            readings = timeline.readings[-ROLLOVER:]
            self._bar = (0, ())
            self._outlines.reset(self._outline(timeline.turns.values()))
            self._beneath.reset(self._underline(timeline, timeline.turns.values()))
            grown = self._grow(timeline, readings)
            for bars, rows in zip((self._bars, self._unsure, self._mixed), _by_look(grown), strict=True):
                bars.reset(rows)
            self._slices.data = self._slice_columns(timeline, readings)
        else:
            changed = [timeline.turns[turn] for turn in sorted(changes.turns) if turn in timeline.turns]
            self._outlines.put(self._outline(changed))
            self._beneath.put(self._underline(timeline, changed))
            if changes.readings:
                grown = self._grow(timeline, changes.readings)
                for bars, rows in zip((self._bars, self._unsure, self._mixed), _by_look(grown), strict=True):
                    bars.put(rows)
                self._slices.stream(self._slice_columns(timeline, changes.readings), rollover=ROLLOVER)
        live = timeline.heard_until > 0 and not timeline.ended
        self._now.update(location=timeline.heard_until, visible=live)
        self._now_word.update(x=timeline.heard_until, visible=live)

    def _place(self, span: TimeSpan, speaker: int) -> Row:
        y = -float(self._lanes.index(speaker))
        return span.start, span.end, y + HALF, y - HALF

    def _outline(self, turns: Iterable[Turn]) -> dict[int, Row]:
        return {turn.id: self._place(turn, turn.speaker) for turn in turns if not turn.second_voice}

    def _underline(self, timeline: Timeline, turns: Iterable[Turn]) -> dict[int, Row]:
        """Turns beneath another lie low in their lane."""
        rows: dict[int, Row] = {}
        for turn in turns:
            if turn.second_voice:
                left, right, _, bottom = self._place(turn, turn.speaker)
                rows[turn.id] = (left, right, bottom + BENEATH_HEIGHT, bottom, timeline.name_of(turn.speaker), turn.id)
        return rows

    def _grow(self, timeline: Timeline, readings: list[EmotionReading]) -> dict[int, Row]:
        """The bars that these readings add, or add to."""
        bars: dict[int, Row] = {}
        for reading in readings:
            turn = timeline.turns.get(reading.turn)
            if turn is None or turn.second_voice:
                continue
            number, last = self._bar
            look = (MIXED, 1.0) if reading.mixed else (reading.label, opacity(reading.confidence))
            row = (*self._place(reading, turn.speaker), timeline.name_of(turn.speaker), turn.id, *look)
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
            speaker = whose_tone(reading, timeline)
            if speaker is None:
                continue
            who = timeline.name_of(speaker)
            when = f"{clock(reading.start)} to {clock(reading.end)}"
            row = (*self._place(reading, speaker), who, reading.turn, sounds(reading.label), when, basis(reading))
            for name, value in zip((*SLICE_COLUMNS, *EMOTIONS), (*row, *reading.probabilities), strict=True):
                columns[name].append(value)
        return columns

    def _quote(self, timeline: Timeline) -> None:
        words = {turn: _excerpt(text) for turn, text in said(timeline).items()}
        if words != self._words:
            self._words = words
            self._said.data = {"turn": list(words), "text": list(words.values())}

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
        # A string may be taken for a formula, and a name be one.
        self.figure.yaxis.major_label_overrides = {
            -lane: PlainText(text=short(name)) for lane, name in enumerate(self._names)
        }

    def _hatched(self, bars: Bars, pattern: str, **line: Any) -> Any:
        return self.figure.quad(
            *PLACE_COLUMNS,
            source=bars.source,
            fill_alpha=0,
            hatch_pattern=pattern,
            hatch_weight=1.5,
            hatch_scale=7,
            hatch_alpha=0.8,
            **line,
        )

    def _lay_axes(self) -> None:
        self.figure.yaxis.update(ticker=FixedTicker(ticks=[]), major_label_text_font_style="bold")
        self.figure.yaxis.major_label_text_font_size = "12px"
        self.figure.ygrid.visible = False
        ticker = clock_ticker()
        self.figure.xaxis.update(formatter=clock_formatter(), ticker=ticker)
        self.figure.xgrid.ticker = ticker

    def _add_tools(self) -> None:
        pan, zoom = PanTool(dimensions="width"), WheelZoomTool(dimensions="width", modifiers="ctrl")
        hovers = (
            reading_hover(self._hover_bars, self._said),
            at_once_hover(self._mixed_bars, self._said),
            beneath_hover(self._beneath_bars, self._said),
        )
        self.figure.add_tools(pan, zoom, *hovers, ResetTool())
        self.figure.toolbar.update(active_drag=pan, active_scroll=zoom)


def opacity(confidence: float) -> float:
    """How solid a slice is: a guess among eight is faint, certainty is full.

    In four steps, so that a steady voice gives an even ribbon and not a bar code.
    """
    certainty = min(1.0, max(0.0, confidence - 0.2) / 0.5)
    return 0.4 + 0.2 * round(3 * certainty)


def _empty_slices() -> Columns:
    return {name: [] for name in (*SLICE_COLUMNS, *EMOTIONS)}


def _by_look(bars: dict[int, Row]) -> tuple[dict[int, Row], ...]:
    """The bars that tell an emotion, those that are unsure, those of several voices."""
    looks = (UNSURE, MIXED)
    label = BAR_COLUMNS.index("label")
    told = {number: row for number, row in bars.items() if row[label] not in looks}
    return told, *({number: row for number, row in bars.items() if row[label] == look} for look in looks)


def _excerpt(text: str) -> str:
    """As much of what was said as a tooltip has room for."""
    return text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1].rstrip()}…"
