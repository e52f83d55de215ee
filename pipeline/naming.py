"""Who is called what: the names that people give, and those that come with an enrolled voice."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
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

    @property
    def listening(self) -> bool:
        """Whether there is a voice to be recognised, or a name that one gave."""
        return bool(self.voices or self._recognised)

    def recognise(
        self, heard: Mapping[int, NDArray[np.float32]], names: Mapping[int, str], there: Container[int] | None = None
    ) -> Iterator[SpeakerNamed]:
        """The names that come and go with what was `heard`: for each speaker the sum (SIZE,) of their voiceprints.

        `names`: of all who have one; `there`: the speakers that there are, all of them heard where it is None. What is
        heard later may divide them otherwise: whoever is plainly not the voice any more, or nobody, loses its name,
        which may then be another's.
        """
        told, there = dict(names), heard if there is None else there
        for speaker, name in list(self._recognised.items()):
            if speaker in self._given:
                del self._recognised[speaker]
            elif speaker not in there or self._doubtful(name, heard.get(speaker)):
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

    def _doubtful(self, name: str, heard: NDArray[np.float32] | None) -> bool:
        """Whether what was heard of a speaker, (SIZE,), is plainly not the voice of a name, as far as both are here."""
        voices = [voice for voice in self.voices if voice.name == name]
        return heard is not None and bool(voices) and not recognise({0: heard}, voices, SAME_VOICE - DOUBT)

    def pack(self) -> dict[str, Any]:
        """Everything but the voices, for a snapshot."""
        return {"named": sorted(self._given), "recognised": self._recognised}

    def unpack(self, state: Mapping[str, Any]) -> None:
        """Go on from what was packed."""
        self._given, self._recognised = set(state["named"]), state["recognised"]
