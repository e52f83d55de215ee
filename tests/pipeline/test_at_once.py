"""Two who talk at once: whose tone it is cannot be told, however much of it was a unit when it was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from pipeline.conversation import Hop
from pipeline.diarisation import DiariserState, Observation, Unit
from pipeline.events import EmotionRead
from pipeline.fragments import talked_over
from pipeline.speech import Island, SpeechState
from pipeline.timeline import SAMPLE_RATE, UNSURE, EmotionReading, Span
from tests.pipeline.test_second_opinions import Said, Talk, voiceprint

Overlaps = tuple[tuple[float, float], ...]

PHASES = np.arange(0, 0.5, 0.05).round(2).tolist()  # of what is said against the hops


class Islands(Talk):
    """The same, heard in islands that begin and end anywhere and units of `unit` seconds, as a real diariser does.

    `overlaps`: seconds in which two talk.
    """

    def __init__(self, said: list[Said], overlaps: Overlaps, unit: float = 0.5) -> None:
        super().__init__(said)
        self._overlaps, self._samples = overlaps, round(unit * SAMPLE_RATE)

    def mixed(self) -> list[EmotionReading]:
        return [reading for reading in self.timeline.readings if reading.mixed]

    def _observed(self, hop: Hop) -> Observation:
        cut, islands, units = self.conversation._diariser.cut, list[Island](), list[Unit]()
        for start, end, whose in self._said:
            first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
            if first < hop.end and last > cut:
                island = Island(first, min(last, hop.end), last >= hop.end)
                islands.append(island)
                units += self._units(island, max(cut, first), whose)
        speech = replace(SpeechState.fresh(), position=hop.end)
        return Observation(islands, units, DiariserState(speech, max([cut, *(unit.end for unit in units)])))

    def _units(self, island: Island, cut: int, whose: int) -> Iterator[Unit]:
        while island.end - cut >= self._samples or (not island.open and island.end > cut):
            end = min(cut + self._samples, island.end)
            spans = ((max(cut, round(a * SAMPLE_RATE)), min(end, round(b * SAMPLE_RATE))) for a, b in self._overlaps)
            yield Unit(
                cut, end, island.start, voiceprint(whose), next((span for span in spans if span[0] < span[1]), None)
            )
            cut = end


@pytest.mark.parametrize("unit", [0.5, 1.0])
@pytest.mark.parametrize("phase", PHASES)
def test_where_two_talk_at_once_the_tone_is_withheld(phase: float, unit: float) -> None:
    """A reading reaches beyond the newest unit, where it was once taken for known that one talks alone."""
    overlap = (8.0, 11.0)
    talk = Islands([(phase, 6, 0), (6.6 + phase, 16, 1)], (overlap,), unit).until(20).end()
    (beneath,) = [turn for turn in talk.timeline.turns.values() if turn.second_voice]
    assert (beneath.speaker, beneath.start, beneath.end, beneath.final) == (1, *overlap, True)
    assert sum(reading.duration for reading in talk.mixed()) >= 3.5
    for reading in talk.timeline.readings:
        in_span = reading.overlap(*overlap) / reading.duration
        in_heard = Span(start=reading.end - reading.heard, end=reading.end).overlap(*overlap) / reading.heard
        assert reading.mixed == (in_span >= 1 / 2 - 1e-6 or in_heard >= 1 / 3 - 1e-6)
        assert (reading.label == UNSURE) == reading.mixed


def test_the_tone_is_withheld_as_long_as_much_of_what_is_heard_is_two_voices() -> None:
    """It was told half a second after the other had ended, though 1.5 of the 2 s that it came from were two voices."""
    talk = Islands([(0, 6, 0), (6.5, 14, 1)], ((9, 11),)).until(20).end()
    first, *_, last = talk.mixed()
    assert (first.start, first.end, last.start, last.end) == (9, 9.5, 11.5, 12)
    assert all(reading.mixed for reading in talk.timeline.readings if 9 <= reading.start < 12)


def test_what_is_known_of_a_stretch_tells_until_all_of_it_is() -> None:
    """And what is told again stands in place of what was told before."""
    talk = Islands([(0.2, 8, 0), (9.2, 16, 1)], ((12, 12.2), (14.3, 15))).until(20).end()
    told = [event.reading for event in talk.events if isinstance(event, EmotionRead)]
    again = [start for start, times in Counter(one.start for one in told).items() if times > 1]
    assert again
    assert len(told) > len(talk.timeline.readings) == len({reading.start for reading in told})
    for start in again:
        assert [one.mixed for one in told if one.start == start] in ([False, True], [True, False])
        (kept,) = [one for one in talk.timeline.readings if one.start == start]
        assert kept == [one for one in told if one.start == start][-1]
        assert (kept.label == UNSURE) == kept.mixed


def test_mixed_readings_are_no_part_of_what_a_speaker_sounds_like() -> None:
    said = [(0, 6, 0), (7, 9.5, 1), (10.5, 12.5, 1)]
    clear, mixed = (Islands(said, overlaps).until(15).end() for overlaps in ((), ((7, 9.5),)))
    assert [talk.timeline.readings_of(2)[-1].baseline for talk in (clear, mixed)] == [2.5, 0]


def test_half_of_what_is_known_of_a_stretch_leaves_its_tone_open() -> None:
    overlaps = [(0.0, 1.0), (4.0, 4.2), (4.25, 4.3), (4.9, 6.0)]

    def alone(start: float, end: float, known_until: float = inf) -> bool:
        return not talked_over((start, end), (2.0, end), overlaps, known_until)

    assert not alone(4.0, 4.5)
    assert alone(4.0, 4.6)
    assert not alone(4.0, 4.6, known_until=4.4)
    assert alone(4.0, 4.6, known_until=4.0), "nothing is known of it"
    assert alone(2.0, 4.0)


def test_so_does_a_third_of_all_that_is_heard() -> None:
    assert talked_over((2.0, 2.5), (0.5, 2.5), [(0.0, 1.0), (1.0, 1.2)])
    assert not talked_over((2.0, 2.5), (0.5, 2.5), [(0.0, 1.1)])
    assert talked_over((2.0, 2.5), (0.5, 2.5), [(0.0, 1.1)], known_until=2.3)
    assert not talked_over((2.0, 2.5), (0.5, 2.5), [])


def test_what_is_looked_at_again_does_not_depend_on_packing() -> None:
    def told(packed: bool) -> Islands:
        talk = Islands([(0.2, 8, 0), (9.2, 16, 1)], ((3.1, 3.9), (12, 12.2), (14.3, 15)), unit=1.0)
        for seconds in np.arange(0.5, 20, 0.5):
            talk.until(seconds)
            if packed:
                talk.repack()
        talk.end()
        return talk

    assert told(packed=True).events == told(packed=False).events
