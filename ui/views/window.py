"""Which stretch of the conversation the plots show: they share one range of time."""

from __future__ import annotations

from typing import Any

from bokeh.models import AdaptiveTicker, CustomJSTickFormatter, Range1d

PIXELS_PER_SECOND = 6.0
SHORTEST, LONGEST = 45.0, 180.0  # seconds shown while following
AHEAD = 0.04  # of the window stays free to the right of now

TIME = "time"  # what the range of time is called, by which it is known that browsers may move it
CLOCK = "clock"  # a function of `static/functions.js`


def clock_formatter() -> CustomJSTickFormatter:
    """Session time as m:ss, from an hour on as h:mm:ss."""
    return CustomJSTickFormatter(code=CLOCK)


def clock_ticker() -> AdaptiveTicker:
    """Ticks at whole seconds, minutes and their usual parts."""
    return AdaptiveTicker(
        base=60, mantissas=[1, 2, 5, 10, 15, 30], min_interval=1, desired_num_ticks=6, num_minor_ticks=0
    )


class Window:
    """Follows the conversation until someone looks elsewhere, and shows all of it after the end."""

    def __init__(self) -> None:
        self.range = Range1d(name=TIME, start=0.0, end=LONGEST)
        self.mode = "follow"  # or "all", or "free" once someone has panned or zoomed
        self._seconds = LONGEST
        self._ended = False

    def reset(self) -> None:
        """Another conversation is shown from now on."""
        self.mode, self._ended = "follow", False

    def fit(self, pixels: float) -> None:
        """Show about as much time as a plot of this width can show legibly."""
        self._seconds = min(max(pixels / PIXELS_PER_SECOND, SHORTEST), LONGEST)

    def move(self, heard_until: float, ended: bool) -> None:
        """Show what the mode asks for, now that so much has been heard."""
        if ended and not self._ended and self.mode == "follow":
            self.mode = "all"
        self._ended = ended
        if self.mode == "free":
            return
        # A young conversation fills the plot too; then the window widens to what the page can show.
        following = min(self._seconds, max(SHORTEST, heard_until * 1.25))
        seconds = max(heard_until, 5.0) if self.mode == "all" else following
        end = max(heard_until, 5.0) if ended else max(heard_until + AHEAD * seconds, seconds)
        start = 0.0 if self.mode == "all" else max(0.0, end - seconds)
        self.range.update(start=start, end=end)

    def show(self, start: float, end: float) -> None:
        """Bring a stretch into sight, where it is not."""
        # Typed loosely: Bokeh's ranges may be of dates too, this one is of seconds.
        shown: tuple[Any, Any] = (self.range.start, self.range.end)
        if shown[0] <= start and end <= shown[1]:
            return
        width = max(shown[1] - shown[0], (end - start) * 1.2)
        self.mode = "free"
        left = max(0.0, (start + end - width) / 2)
        self.range.update(start=left, end=left + width)
