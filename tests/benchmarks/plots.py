"""The plots of a report, and the one page that holds them and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle

from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import FactorRange, Range1d
from bokeh.models.ui import UIElement
from bokeh.models.widgets import Div
from bokeh.palettes import Colorblind8
from bokeh.plotting import figure as Plot
from bokeh.resources import INLINE

from tests.benchmarks.tables import Table

WIDTH, HEIGHT = 760, 320  # pixels
Shown = tuple[Sequence[Table], Sequence[Plot]]
ROOM = 1.1  # of the axis, as multiples of the largest value
STYLE = (
    "<style>table{border-collapse:collapse;margin:.5em 0}th,td{padding:.2em .8em;text-align:right;"
    "border-bottom:1px solid #ccc}th:first-child,td:first-child{text-align:left}body{font-family:sans-serif}</style>"
)


def lines(title: str, x: str, y: str, at: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Plot:
    """Curves over common places."""
    most = max((value for values in curves.values() for value in values), default=1.0)
    plot = Plot(
        title=title,
        x_axis_label=x,
        y_axis_label=y,
        y_range=Range1d(start=0, end=ROOM * most),
        width=WIDTH,
        height=HEIGHT,
        toolbar_location=None,
    )
    for (name, values), colour in zip(curves.items(), cycle(Colorblind8), strict=False):
        plot.line(list(at), list(values), color=colour, legend_label=name, line_width=2)
        plot.scatter(list(at), list(values), color=colour, legend_label=name, size=6)
    plot.legend.location = "top_left"
    return plot


def bars(title: str, y: str, heights: Mapping[str, float]) -> Plot:
    """A bar for each name."""
    names = list(heights)
    plot = Plot(
        title=title,
        x_range=FactorRange(factors=names),
        y_range=Range1d(start=0, end=ROOM * max(heights.values(), default=1.0)),
        y_axis_label=y,
        width=WIDTH,
        height=HEIGHT,
        toolbar_location=None,
    )
    plot.vbar(x=names, top=list(heights.values()), width=0.7, color=Colorblind8[0])
    plot.xaxis.major_label_orientation = 0.5
    return plot


def page(title: str, parts: Mapping[str, Shown]) -> str:
    """All parts on one page that needs no network."""
    shown: list[UIElement] = [Div(text=f"{STYLE}<h1>{escape(title)}</h1>", width=WIDTH)]
    for about, (tables, plots) in parts.items():
        shown.append(
            Div(text=STYLE + f"<h2>{about}</h2>" + "".join(table.html() for table in tables), styles={"width": "100%"})
        )
        shown += plots
    return str(file_html(column(*shown), INLINE, title))
