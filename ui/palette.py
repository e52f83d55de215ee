"""Emotion colours (Okabe and Ito's, legible for colour-blind people) and the plots' other colours, in both themes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bokeh.themes import Theme

from pipeline.timeline import UNSURE

# From tense to quiet, so that neighbours in a stack are neighbours in meaning.
STACK = ("angry", "surprise", "happy", "disgust", "calm", "sad", "fear", "neutral")
LABELS = (*STACK, UNSURE)


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by emotion, and of ink, soft text, lines, the accent and the line of now."""

    emotions: dict[str, str]
    ink: str
    soft: str
    line: str
    accent: str
    now: str
    theme_file: str

    def colours(self) -> list[str]:
        """In order of `LABELS`; an unsure slice is plain, its hatching says the rest."""
        return [*(self.emotions[label] for label in STACK), "rgba(0, 0, 0, 0)"]

    def colour(self, label: str) -> str:
        """One label's colour; soft grey for unsure."""
        return self.emotions.get(label, self.soft)

    def theme(self) -> Theme:
        """The Bokeh theme that goes with it."""
        return _theme(self.theme_file)


@cache
def _theme(name: str) -> Theme:
    return Theme(filename=Path(__file__).parent / name)


LIGHT = Palette(
    emotions={
        "angry": "#d55e00",
        "surprise": "#e69f00",
        "happy": "#e8c400",
        "disgust": "#009e73",
        "calm": "#56b4e9",
        "sad": "#0072b2",
        "fear": "#cc79a7",
        "neutral": "#8a8f98",
    },
    ink="#1b1f24",
    soft="#5b6470",
    line="#e3e6ea",
    accent="#0b6e8a",
    now="#c8372d",
    theme_file="theme.yaml",
)
DARK = Palette(
    emotions=LIGHT.emotions | {"happy": "#f0e442", "calm": "#86cdf3", "sad": "#2f74cf", "neutral": "#7d8590"},
    ink="#e8ebef",
    soft="#98a2ae",
    line="#262d37",
    accent="#4fb7d3",
    now="#ef6a5f",
    theme_file="theme-dark.yaml",
)
