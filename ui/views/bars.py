"""Bars that grow: a column source whose rows are known by a key, so that only what is new travels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from bokeh.models import ColumnDataSource

Row = Sequence[Any]


class Bars:
    """Rows of `left, right, ...` by key. A known row may only grow to the right; anything else needs `reset`."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.source = ColumnDataSource({name: [] for name in columns})
        self._columns = tuple(columns)
        self._rights: dict[Hashable, tuple[int, float]] = {}  # key -> its row, and how far it reaches

    def reset(self, rows: Mapping[Any, Row]) -> None:
        """Show these rows and no others."""
        self._rights = {}
        self.source.data = self._place(rows)

    def put(self, rows: Mapping[Any, Row]) -> None:
        """Add the rows with new keys, and let the others grow."""
        right = self._columns.index("right")
        grown = {key: row for key, row in rows.items() if key in self._rights}
        patches = []
        for key, row in grown.items():
            index, reach = self._rights[key]
            if row[right] != reach:
                patches.append((index, row[right]))
                self._rights[key] = (index, row[right])
        if patches:
            self.source.patch({"right": patches})
        new = {key: row for key, row in rows.items() if key not in grown}
        if new:
            self.source.stream(self._place(new))

    def _place(self, rows: Mapping[Any, Row]) -> dict[str, Any]:
        right = self._columns.index("right")
        for key, row in rows.items():
            self._rights[key] = (len(self._rights), row[right])
        return {name: [row[index] for row in rows.values()] for index, name in enumerate(self._columns)}
