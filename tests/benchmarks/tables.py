"""A table, for a terminal, for a README, and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from rich.table import Table as RichTable


@dataclass
class Table:
    """Rows of cells below named columns. `note`: what a reader must know to understand them, in sentences."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    note: str = ""

    def add(self, *cells: str) -> None:
        """Add a row. Raises `ValueError` where it has another number of cells than there are columns."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: {len(cells)} cells below {len(self.columns)} columns.")
        self.rows.append(cells)

    def rich(self) -> RichTable:
        """For a terminal; all but the first column stand right."""
        shown = RichTable(title=self.title, caption=self.note or None, title_justify="left", caption_justify="left")
        for number, name in enumerate(self.columns):
            shown.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def markdown(self) -> str:
        """For a README."""
        lines = [f"**{self.title}**", ""]
        rows = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
        return "\n".join([*lines, *(["", self.note] if self.note else [])])

    def html(self) -> str:
        """For a page."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<h3>{escape(self.title)}</h3><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def seconds(value: float) -> str:
    """Seconds as a cell: 0.04, 1.2, 54."""
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def percent(share: float) -> str:
    """A share as a cell."""
    return f"{100 * share:.1f} %"
