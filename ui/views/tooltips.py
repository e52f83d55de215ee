"""What hovering tells. Bokeh fills in the @columns, and escapes what it fills in: names and words are a user's text.

The page's custom properties reach into Bokeh's shadow roots where its style sheet does not, hence the inline styles.
"""

from __future__ import annotations

from typing import Any

from bokeh.models import ColumnDataSource, CustomJSHover, HoverTool

from ui.palette import STACK
from ui.summary import AT_ONCE, BENEATH, UNTOLD
from ui.views.window import CLOCK

WORDS_OF = "words"  # a function of `static/functions.js`
BOX = (
    "margin:-5px;padding:8px 11px;background:var(--card);color:var(--ink);border-radius:2px;"
    "font:12px/1.45 system-ui,sans-serif;font-variant-numeric:tabular-nums"
)
SOFT = "color:var(--soft)"
WORDS = '<div style="max-width:40ch;white-space:normal;overflow-wrap:anywhere">@turn{words}</div>'
NAME_CELL, VALUE_CELL = "padding:0 8px 0 0", "padding:0 16px 0 0;text-align:right"


def reading_hover(bars: Any, said: ColumnDataSource) -> HoverTool:
    """Tells a reading; `said` has what was said, by turn."""
    return _hover(bars, said, reading_tooltip())


def at_once_hover(bars: Any, said: ColumnDataSource) -> HoverTool:
    """Tells a stretch of a turn in which others talk too."""
    return _hover(bars, said, _untold())


def beneath_hover(bars: Any, said: ColumnDataSource) -> HoverTool:
    """Tells a turn beneath another."""
    return _hover(bars, said, _untold(BENEATH))


def _hover(bars: Any, said: ColumnDataSource, tooltip: str) -> HoverTool:
    clock = CustomJSHover(code=CLOCK)
    words = CustomJSHover(args={"said": said}, code=WORDS_OF)
    formatters: dict[str, Any] = {"@left": clock, "@right": clock, "@turn": words}
    return HoverTool(renderers=[bars], tooltips=tooltip, formatters=formatters, show_arrow=False)


def _untold(what: str = "") -> str:
    return f"""
<div style="{BOX}"><b>@who</b> {what}<div style="{SOFT}">@left{{clock}} to @right{{clock}}</div>
<div>{AT_ONCE.capitalize()}: {UNTOLD}.</div>
{WORDS}</div>"""


def reading_tooltip() -> str:
    """A reading in full: who, when, how it sounds, the eight probabilities, what the model heard."""
    return f"""
<div style="{BOX}"><b>@who</b> @sounds<div style="{SOFT}">@when</div>
{_table()}
<div style="{SOFT}">@basis</div>
{WORDS}</div>"""


def probability_tooltip() -> str:
    """The eight probabilities at one instant."""
    return f'<div style="{BOX}"><div style="{SOFT}">@when</div>{_table()}</div>'


def _table() -> str:
    pairs = zip(STACK[:4], STACK[4:], strict=True)
    rows = "".join(f"<tr>{_cells(left)}{_cells(right)}</tr>" for left, right in pairs)
    return f'<table style="border-spacing:0;margin:5px 0;font:inherit">{rows}</table>'


def _cells(emotion: str) -> str:
    swatch = f'<i style="display:inline-block;width:8px;height:8px;border-radius:2px;background:var(--{emotion})"></i>'
    return f'<td style="{NAME_CELL}">{swatch} {emotion}</td><td style="{VALUE_CELL}">@{emotion}{{0.00}}</td>'
