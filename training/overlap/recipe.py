"""Everything that was chosen: how scenes are put together, the size of the network, how it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

CLASSES: Final = 3  # nobody, one, two or more
LAYERS: Final = 2  # of the network


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that was chosen. A pair of numbers is a range to draw from, evenly."""

    # the talk
    seconds: float = 19.8  # of one scene: seven windows
    scenes: int = 2800  # 15 h; what the network sees again is in another channel each time
    speakers: tuple[float, ...] = (0.1, 0.35, 0.3, 0.25)  # chances that one, two, three, four people are in a scene
    actors: float = 0.35  # of the voices come from RAVDESS: shouts and whispers, but only two sentences
    turn: tuple[float, float] = (0.4, 6.0)  # s, evenly on a scale of ratios: half of all turns in meetings are short
    overlaps: float = 0.65  # turns that begin before the one before them ends: overlap in a quarter of the speech
    overlap: tuple[float, float] = (0.2, 3.0)  # s by which they do
    gap: tuple[float, float] = (0.0, 0.8)  # s between the other turns
    aside: float = 0.3  # turns during which somebody else says something short
    gain: tuple[float, float] = (-5.0, 5.0)  # dB a speaker: two may be 10 dB apart
    speeds: tuple[int, ...] = (85, 90, 95, 100, 100, 105, 110, 117)  # % of a voice's own: new larynxes, new tracts
    # the place
    reverberation: tuple[float, float] = (0.15, 0.9)  # s to fall by 60 dB; beyond meeting rooms, into halls
    direct: tuple[float, float] = (-8.0, 14.0)  # dB of the direct sound over the echo: far across a room to a headset
    apart: float = 4.0  # dB up or down from that for each speaker: some sit farther away
    dry: float = 0.1  # scenes without any room
    noise: tuple[float, float] = (5.0, 30.0)  # dB below the talk
    silent: float = 0.05  # scenes without any noise: pauses are digital silence
    nobody: float = 0.03  # windows more, with nothing but noise in them, and knocks in a third of those
    knocks: float = 0.4  # scenes with knocks, clicks and rustling, which are nobody
    telephone: float = 0.1  # scenes over a telephone line
    equalised: float = 0.4  # scenes through another microphone
    narrow: float = 0.2  # of the other scenes lack the treble, and some the bass
    # the labels
    range: float = 28.0  # dB below a recording's loudest in which it is speech; softer is lost in most rooms
    closure: float = 0.12  # s; shorter pauses are the closures of ordinary consonants
    click: float = 0.05  # s; shorter sounds are no speech
    # the network
    inputs: int = 96  # numbers that a frame comes down to
    hidden: int = 64  # either way, in each of two layers: 0.6 ms of CPU for a window
    dropout: float = 0.2  # around the layers
    # the training
    epochs: int = 5  # through all windows; the loss was still falling
    batch: int = 32  # as training is short, many small steps
    rate: float = 2e-3  # at most: it rises for a twentieth of the time, then falls
    decay: float = 1e-2  # of weights, as in AdamW
    channel: float = 0.35  # ln of power: deviation of each of four ripples of the channel, drawn anew every time
    masked: int = 24  # numbers of a frame, at most, that are hidden at a time


ORDINARY: Final = Recipe()
LESS_ENTANGLED: Final[dict[str, Any]] = {"overlaps": 0.3, "aside": 0.1, "overlap": (0.2, 1.5)}
"""What a test differs in, so that thresholds are chosen where overlap is rarer than in training: 7 % of all frames."""
