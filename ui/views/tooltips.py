"""What hovering tells. Bokeh fills in the @columns; no text of a user's is among them.

The page's custom properties reach into Bokeh's shadow roots where its style sheet does not, hence the inline styles.
"""

from __future__ import annotations

from ui.palette import STACK

BOX = (
    "margin:-5px;padding:8px 11px;background:var(--card);color:var(--ink);border-radius:2px;"
    "font:12px/1.45 system-ui,sans-serif;font-variant-numeric:tabular-nums"
)
SOFT = "color:var(--soft)"
NAME_CELL, VALUE_CELL = "padding:0 8px 0 0", "padding:0 16px 0 0;text-align:right"


def reading_tooltip() -> str:
    """A reading in full: who, when, how it sounds, the eight probabilities, what the model heard."""
    return f"""
<div style="{BOX}"><b>@who</b> @sounds<div style="{SOFT}">@when</div>
{_table()}
<div style="{SOFT}">@basis</div></div>"""


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
