"""Who is called what: the names that people give, and those that come with an enrolled voice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.enrolment import RECOGNISED_SECONDS, SAME_VOICE, recognise
from pipeline.events import SpeakerNamed
from pipeline.session import Voice

DOUBT: Final = 0.1  # of cosine, below what recognises a voice, at which its name is taken back


class Names:
    """Calls those by their names whose voices are enrolled, and nobody whom a person has named."""

    def __init__(self, voices: Sequence[Voice]) -> None:
        self.voices = voices
        self._given: set[int] = set()  # whom a person has named, even if the name was taken away
        self._recognised: dict[int, str] = {}

    def give(self, speaker: int) -> None:
        """A person has named a speaker: no voice will any more."""
        self._given.add(speaker)

    def join(self, kept: int, merged: int, named: Iterable[int]) -> None:
        """Two speakers are one; `named`: who has a name already."""
        if merged in self._given:
            self._given.add(kept)
        if (name := self._recognised.pop(merged, None)) and kept not in named:
            self._recognised[kept] = name  # the name goes with the merge, and so does the doubt

    def recognise(self, heard: Mapping[int, NDArray[np.float32]], names: Mapping[int, str]) -> Iterator[SpeakerNamed]:
        """The names that come and go with what was `heard`: for each speaker the sum (SIZE,) of their voiceprints.

        `names`: of all who have one. What is heard later may divide a speaker otherwise: whoever is plainly not the
        voice any more loses its name.
        """
        told = dict(names)
        for speaker, name in list(self._recognised.items()):
            voices = [voice for voice in self.voices if voice.name == name]
            if speaker in self._given or speaker not in heard:
                del self._recognised[speaker]
            elif not recognise({speaker: heard[speaker]}, voices, SAME_VOICE - DOUBT):
                del self._recognised[speaker]
                told.pop(speaker, None)
                yield SpeakerNamed(speaker=speaker, name="", by="voice")
        unnamed = {
            speaker: voice
            for speaker, voice in heard.items()
            if speaker not in told.keys() | self._given and float(np.linalg.norm(voice)) >= RECOGNISED_SECONDS
        }
        taken = set(told.values())
        for speaker, name in recognise(unnamed, [voice for voice in self.voices if voice.name not in taken]).items():
            self._recognised[speaker] = name
            yield SpeakerNamed(speaker=speaker, name=name, by="voice")

    def pack(self) -> dict[str, Any]:
        """Everything but the voices, for a snapshot."""
        return {"named": sorted(self._given), "recognised": self._recognised}

    def unpack(self, state: Mapping[str, Any]) -> None:
        """Go on from what was packed."""
        self._given, self._recognised = set(state["named"]), state["recognised"]
