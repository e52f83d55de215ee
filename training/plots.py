"""The figures of a model card, and how they become SVG files that a README can show.

They are dark ink on white paper, so that they can be read on a light page and on a dark one. A reading here is one
answer: the probability of its likeliest emotion (its confidence, 0 to 1) and whether that emotion was the one spoken.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from bokeh.embed import file_html
from bokeh.models import ColumnDataSource, FactorRange, FixedTicker, NumeralTickFormatter, Range, Range1d
from bokeh.models.annotations import Label, Span
from bokeh.palettes import interp_palette
from bokeh.plotting import figure
from bokeh.resources import INLINE
from bokeh.themes import Theme

from pipeline.timeline import EMOTIONS, UNSURE

WIDTH, EDGE = 672, 14  # pixels of a figure, and of the paper that is left around it
BINS = 10  # of confidence, equally wide
CHANCE = 1 / len(EMOTIONS)
PAPER, INK, SOFT, LINE = "#ffffff", "#1b1f24", "#5b6470", "#e3e6ea"
ACCENT, PALE, MARK = "#0b6e8a", "#bcd9e1", "#b34700"
# One hue each that only grows darker: no colour blindness puts their steps in another order.
HEARD = interp_palette(("#f1f7f9", "#7fb9c9", ACCENT, "#04323f"), 101)
HELD_BACK = interp_palette(("#f5f6f7", "#a9b0b9", SOFT, INK), 101)
MODES = ((SOFT, "circle"), ("#0072b2", "square"), (MARK, "triangle"), ("#00785a", "diamond"))

FONT, SIZE = "Arial, Helvetica, sans-serif", "12px"  # as wide on every system, so that what is centred stays so
THEME = Theme(
    json={
        "attrs": {
            "Plot": {
                "background_fill_color": PAPER,
                "border_fill_color": PAPER,
                "outline_line_color": None,
                "min_border_right": 20,
            },
            "Title": {"text_font": FONT, "text_font_size": "15px", "text_color": INK, "standoff": 14},
            "Axis": {
                "axis_line_color": None,
                "major_tick_line_color": None,
                "minor_tick_line_color": None,
                "major_label_text_color": INK,
                "major_label_text_font": FONT,
                "major_label_text_font_size": SIZE,
                "axis_label_text_color": SOFT,
                "axis_label_text_font": FONT,
                "axis_label_text_font_size": SIZE,
                "axis_label_text_font_style": "normal",
                "axis_label_standoff": 10,
            },
            "Grid": {"grid_line_color": LINE},
            "Text": {
                "text_font": {"value": FONT},
                "text_font_size": SIZE,
                "text_align": {"value": "center"},
            },
            "Label": {"text_font": FONT, "text_font_size": SIZE, "text_color": SOFT},
        }
    }
)

# Bokeh's own exporter asks its page for the same; it needs Selenium to do so.
DRAWN = "window.Bokeh?.documents.length > 0 && Bokeh.documents.every((document) => document.is_idle)"
COLLECT = """() => Object.fromEntries(
    [...Bokeh.index].map((view) => [view.model.id, view.export("svg").ctx.get_serialized_svg(true)]))"""

SVG = "{http://www.w3.org/2000/svg}"
IDLE = {  # attributes that Bokeh writes though they change nothing
    "dominant-baseline": "alphabetic",
    "fill-opacity": "1",
    "font-style": "normal",
    "font-weight": "normal",
    "paint-order": "fill",
    "stroke-dasharray": "",
    "stroke-miterlimit": "10",
    "stroke-opacity": "1",
    "text-anchor": "start",
    "text-decoration": "normal",
}


class NoBrowser(RuntimeError):
    """Nothing here can draw: Playwright or a Chromium is missing or does not start."""


def confusion(counts: np.ndarray, title: str) -> figure:
    """Readings by what was spoken and what was heard, (8, 8), or (8, 9) with "unsure" last -> shares of each row."""
    heard = (*EMOTIONS, UNSURE)[: counts.shape[1]]
    spoken = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, spoken, out=np.full(counts.shape, np.nan), where=spoken > 0)
    rows, columns = np.indices(counts.shape).reshape(2, -1)
    levels = np.rint(np.nan_to_num(100 * shares.ravel())).astype(int)
    cells = {
        "spoken": [EMOTIONS[row] for row in rows],
        "heard": [heard[column] for column in columns],
        "share": shares.ravel(),
        "text": [_percent(share) for share in shares.ravel()],
        "fill": [
            (HEARD if column < len(EMOTIONS) else HELD_BACK)[level]
            for column, level in zip(columns, levels, strict=True)
        ],
        "ink": [PAPER if level > 54 else INK for level in levels],
        "style": ["bold" if row == column else "normal" for row, column in zip(rows, columns, strict=True)],
    }
    plot = _plot(title, 470, FactorRange(factors=list(heard)), FactorRange(factors=list(reversed(EMOTIONS))))
    source = ColumnDataSource(cells)
    plot.rect("heard", "spoken", 0.97, 0.96, source=source, fill_color="fill", line_color=None, name="cells")
    plot.text(
        "heard", "spoken", "text", source=source, text_color="ink", text_font_style="style", text_baseline="middle"
    )
    plot.grid.visible = False
    plot.xaxis.axis_label, plot.yaxis.axis_label = "heard as", "spoken as"
    return plot


def reliability(confidence: np.ndarray, right: np.ndarray, error: float, title: str) -> figure:
    """How often readings are right by how sure they are; both arrays are (n,), `error` is their ECE."""
    plot = _plot(title, 500, Range1d(start=0, end=1), Range1d(start=-0.34, end=1.03))
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    shares = np.bincount(bins, minlength=BINS) / max(1, len(bins))
    _strip(plot, shares, bottom=-0.34, tallest=0.19)
    filled = np.flatnonzero(shares)
    dots = ColumnDataSource(
        {
            "confidence": [float(confidence[bins == b].mean()) for b in filled],
            "accuracy": [float(right[bins == b].mean()) for b in filled],
            "size": [max(7.0, 40 * float(shares[b]) ** 0.5) for b in filled],  # the area is the share
        }
    )
    plot.line([0, 1], [0, 1], line_color=SOFT, line_dash="dashed")
    plot.segment("confidence", "confidence", "confidence", "accuracy", source=dots, line_color=ACCENT, line_width=2)
    plot.scatter("confidence", "accuracy", size="size", source=dots, fill_color=ACCENT, line_color=PAPER, name="dots")
    plot.add_layout(Label(x=0.01, y=0.94, text=f"calibration error (ECE) {error:.3f}", text_color=INK))
    plot.add_layout(Label(x=0.01, y=0.87, text="above the dashed line: right more often than it thinks"))
    plot.xaxis.ticker = plot.xgrid.ticker = FixedTicker(ticks=[b / BINS for b in range(BINS + 1)])
    plot.yaxis.ticker = plot.ygrid.ticker = FixedTicker(ticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    plot.xaxis.axis_label, plot.yaxis.axis_label = "confidence", "share that was right"
    return _in_percent(plot)


def by_seconds(rows: Mapping[str, Mapping[str, tuple[float, float, float]]], title: str) -> figure:
    """Mean recall and the ends of its 95 % interval, all 0 to 1, by mode and then by what was heard of a clip."""
    heard = list(dict.fromkeys(name for row in rows.values() for name in row))
    highest = max(high for row in rows.values() for _, _, high in row.values())
    names_at = 1.2 * highest
    plot = _plot(title, 420, Range1d(start=-0.5, end=len(heard) - 0.5), Range1d(start=0, end=1.26 * highest))
    plot.add_layout(Span(location=CHANCE, dimension="width", line_color=SOFT, line_dash="dashed"))
    plot.add_layout(Label(x=-0.48, y=CHANCE, y_offset=3, text=f"guessing, {CHANCE:.3f}"))
    for index, ((mode, row), (colour, marker)) in enumerate(zip(rows.items(), cycle(MODES), strict=False)):
        aside = 0.66 / len(rows) * (index - (len(rows) - 1) / 2)  # or one mode's whiskers would hide another's
        points = {
            "x": [heard.index(name) + aside for name in row],
            "value": [value for value, _, _ in row.values()],
            "low": [low for _, low, _ in row.values()],
            "high": [high for _, _, high in row.values()],
            "text": [f"{value:.2f}" for value, _, _ in row.values()],
        }
        source = ColumnDataSource(points)
        plot.line("x", "value", source=source, line_color=colour, line_alpha=0.3, level="underlay")
        plot.segment("x", "low", "x", "high", source=source, line_color=colour, line_width=2)
        plot.scatter("x", "value", source=source, size=10, marker=marker, color=colour, line_color=PAPER, name=mode)
        numbers = plot.text("x", "high", "text", source=source, y_offset=-3, text_color=colour)
        numbers.glyph.background_fill_color = PAPER
        name_at = -0.4 + len(heard) * index / len(rows)
        plot.scatter(name_at, names_at, size=10, marker=marker, color=colour)
        plot.add_layout(Label(x=name_at, y=names_at, x_offset=10, text=mode, text_color=colour, text_baseline="middle"))
    plot.xaxis.ticker = FixedTicker(ticks=list(range(len(heard))))
    plot.xaxis.major_label_overrides = dict(enumerate(heard))
    plot.xgrid.visible = False
    plot.xaxis.axis_label, plot.yaxis.axis_label = "heard of a clip", "mean recall (UAR), 95 % intervals"
    return plot


def coverage(confidence: np.ndarray, right: np.ndarray, threshold: float, title: str) -> figure:
    """How many of the surest readings are right, by how many are asserted; both arrays are (n,)."""
    surest_first = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(right[surest_first]) / np.arange(1, len(right) + 1)
    counts = np.unique(
        np.ceil(np.linspace(0.01, 1, 100) * len(right)).astype(int)
    )  # one a reading would make a long file
    curve = ColumnDataSource({"asserted": counts / len(right), "accuracy": accuracy[counts - 1]})
    plot = _plot(title, 400, Range1d(start=0, end=1.015), Range1d(start=0, end=1.03))
    plot.line("asserted", "accuracy", source=curve, line_color=ACCENT, line_width=2.5, name="curve")
    asserted = int((confidence >= threshold).sum())
    if asserted:
        share, reached = asserted / len(right), float(accuracy[asserted - 1])
        chosen = ColumnDataSource({"asserted": [share], "accuracy": [reached]})
        plot.segment([share, 0], [0, reached], [share, share], [reached, reached], line_color=MARK, line_dash="dashed")
        plot.scatter("asserted", "accuracy", source=chosen, size=12, color=MARK, line_color=PAPER, name="chosen")
        text = f"unsure below {threshold:.2f}: {_percent(share)} asserted,\n{_percent(reached)} of them right"
        label = Label(x=share, y=0.05, x_offset=8, text=text, text_color=MARK)
        if share > 0.6:
            label.text_align, label.x_offset = "right", -8
        plot.add_layout(label)
    plot.xaxis.axis_label, plot.yaxis.axis_label = "share asserted, the surest readings first", "share that was right"
    return _in_percent(plot)


def write_svg(figures: Mapping[str, figure], folder: Path) -> list[Path]:
    """Draw figures in one page of a Chromium and write each as NAME.svg; the same figures give the same bytes.

    The Chromium is the one that TONETRACK_CHROMIUM names or the PATH has; `NoBrowser` tells that there is none.
    """
    for plot in figures.values():
        plot.output_backend = "svg"
    drawn = _drawn(file_html(list(figures.values()), INLINE, "Figures", theme=THEME))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, plot in figures.items():
        paths.append(folder / f"{name}.svg")
        paths[-1].write_text(_standalone(drawn[plot.id]), encoding="utf-8")
    return paths


def _plot(title: str, height: int, x_range: Range, y_range: Range) -> figure:
    return figure(
        title=title, width=WIDTH, height=height, x_range=x_range, y_range=y_range, toolbar_location=None, tools=""
    )


def _strip(plot: figure, shares: np.ndarray, bottom: float, tallest: float) -> None:
    """Bars of the shares (BINS,) of readings along the lower edge."""
    bars = {
        "middle": (np.arange(BINS) + 0.5) / BINS,
        "share": shares,
        "top": bottom + tallest * shares / max(shares.max(), 1e-9),
        "text": [_percent(share) if share else "" for share in shares],
    }
    source = ColumnDataSource(bars)
    plot.vbar("middle", 0.94 / BINS, "top", bottom, source=source, fill_color=PALE, line_color=None, name="bars")
    plot.text("middle", "top", "text", source=source, y_offset=-3, text_color=SOFT)
    plot.add_layout(Label(x=0.01, y=-0.09, text="share of all readings"))


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.0f} %"


def _in_percent(plot: figure) -> figure:
    plot.axis.formatter = NumeralTickFormatter(format="0 %")
    return plot


def _drawn(html: str) -> dict[str, str]:
    """What the figures of a page look like: SVG by the figure's id."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise NoBrowser("Playwright is not installed") from error
    chromium = os.environ.get("TONETRACK_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise NoBrowser("there is no Chromium: install one, or name it in TONETRACK_CHROMIUM")
    with sync_playwright() as playwright:
        try:
            # No sandbox, for it refuses to run as root, as in a container; the only page is our own.
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        except Error as error:
            raise NoBrowser(f"{chromium} does not start") from error
        page = browser.new_page()
        page.set_content(html)
        page.wait_for_function(DRAWN)
        drawn: dict[str, str] = page.evaluate(COLLECT)
        browser.close()
    return drawn


def _standalone(svg: str) -> str:
    """An SVG that scales with its page, without what cannot be seen and without names that chance gave."""
    root = ElementTree.fromstring(svg)
    wide, high = (int(root.get(side, "0")) + 2 * EDGE for side in ("width", "height"))
    root.attrib |= {"width": str(wide), "height": str(high), "viewBox": f"{-EDGE} {-EDGE} {wide} {high}"}
    # Under all else, for dark pages shine through the seams between Bokeh's own backgrounds.
    root.insert(0, ElementTree.Element(f"{SVG}path", d=f"M{-EDGE} {-EDGE}h{wide}v{high}h{-wide}z", fill=PAPER))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.get("fill") == "none" and child.get("stroke-opacity") == "0":
                parent.remove(child)
    for group in root.findall(f"{SVG}g"):
        if not len(group):
            root.remove(group)
    names = {clip.get("id"): f"clip{number}" for number, clip in enumerate(root.iter(f"{SVG}clipPath"))}
    for element in root.iter():
        kept = {name: value for name, value in element.items() if IDLE.get(name) != value}
        element.attrib.clear()
        element.attrib |= {name: _tidy(value, names) for name, value in kept.items()}
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _tidy(value: str, names: Mapping[str | None, str]) -> str:
    """An attribute's value with the new names of clips, in hundredths of a pixel."""
    if value in names:
        return names[value]
    if value.startswith("url(#"):
        return f"url(#{names[value[5:-1]]})"
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value)
