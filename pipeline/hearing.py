"""What it takes to hear a recording: ears, notes of what they heard, and who wants to know how far they are.

A recording is heard in segments, which do not depend on each other: several at once, in any process, and each only
once, where what was heard is noted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment import ANYBODY
from pipeline.conversation import Question
from pipeline.corrections import Telling
from pipeline.diarisation import Unit
from pipeline.session import Expected, Voice
from pipeline.sound import Pcm

Step = Literal["who speaks", "how it sounds"]
DIARISING: Final[Step] = "who speaks"
READING: Final[Step] = "how it sounds"
DIARISING_SHARE: Final = 0.7  # of all the work

Embedding = NDArray[np.float32]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Embedder(Protocol):
    """What hears fragments; `pipeline.emotion.EmotionModel` is one."""

    def embed(self, fragments: Sequence[Pcm]) -> Sequence[Embedding]:
        """An embedding, float32 (size,), of each fragment, int16 (n,) at 16 kHz."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """The stretch [start, end) of a track, in samples, with the sound that it takes to hear it.

    `audio`: int16 (n,), whose first sample is the track's sample `begin`, at most `start`.
    """

    audio: Pcm
    begin: int
    start: int
    end: int


@dataclass(frozen=True)
class Ears:
    """The models, wherever they run. Both are called from several threads, `at_once` calls at a time."""

    units: Callable[[Segment], list[Unit]]
    embed: Callable[[Sequence[Pcm]], Sequence[Embedding]]
    at_once: int = 1


class Notes(Protocol):
    """Keeps what was heard, by segment, for whoever has to begin anew."""

    def get(self, key: str) -> bytes | None:
        """What was noted under a key, or None."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Note it."""
        ...


@dataclass
class Memo:
    """Notes that last as long as this object."""

    noted: dict[str, bytes] = field(default_factory=dict)

    def get(self, key: str) -> bytes | None:
        """See `Notes`."""
        return self.noted.get(key)

    def put(self, key: str, value: bytes) -> None:
        """See `Notes`."""
        self.noted[key] = value


class Forgetful:
    """Keeps nothing."""

    def get(self, key: str) -> bytes | None:
        """See `Notes`."""
        return None

    def put(self, key: str, value: bytes) -> None:
        """See `Notes`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. `done`: seconds of the recording that the step has been through; `share`: of all work, 0 to 1."""

    step: Step
    done: float
    share: float


OnProgress = Callable[[Progress], None]
Consult = Callable[[Question], Telling]
Known = Callable[[], Sequence[Voice]]


def ignore(progress: Progress) -> None:
    """Nobody asks how far it is."""


def nobody() -> Sequence[Voice]:
    """Nobody's voice is enrolled."""
    return ()


@dataclass(frozen=True)
class Listening:
    """How a recording is to be heard.

    `expected`: how many people talk, where somebody knows. `channels`: each track is a speaker of its own. `consult`:
    another diariser's opinion on a chunk. `known`: the enrolled voices to look for; asked once the speakers are told
    apart, so that whoever has erased theirs until then is not recognised. `notes`: what was heard before and need not
    be again. `on_progress` is told of every segment, and what it raises ends the hearing. `claimed`: the seconds that
    the recording says it has, until it is decoded.
    """

    expected: Expected = ANYBODY
    channels: bool = False
    consult: Consult | None = None
    known: Known = nobody
    notes: Notes = field(default_factory=Forgetful)
    on_progress: OnProgress = ignore
    claimed: float = 0.0


PLAINLY: Final = Listening()


def in_order(work: Callable[[Item], Answer], items: Iterable[Item], at_once: int) -> Generator[Answer, None, None]:
    """What `work` makes of each item, in order, with at most `at_once` under way and no more items taken than that.

    Whoever may leave off before the end closes it, which waits for what is under way.
    """
    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(at_once, "hearing") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > at_once:  # one more waits, so that no ear does
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
