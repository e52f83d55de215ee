"""Who spoke when, judged on conversations of voices never heard: a whole recording, and live, some seconds later.

Offline is what `pipeline.recording` makes of a recording. Online is what `pipeline.conversation` tells hop by hop, and
every instant of the conversation is judged by what a reader of the page sees of it a given latency later, before the
corrections that come after. The last word online is what stays on the page once the conversation is over.

Never heard is meant of the voiceprints' projection, and of that alone: see `training.speaker_sets` on the networks and
the clustering's thresholds.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from threading import Thread
from typing import Any, Final

import numpy as np
from pyannote.core import Annotation, Segment  # type: ignore[import-untyped]
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.conversation import HOP, Conversation, Hop
from pipeline.diarisation import Diariser
from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import EmotionHead
from pipeline.recording import turns_of
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE, Timeline, Turn
from pipeline.voiceprint import VoiceEncoder
from training.diarisation_scoring import CONVENTIONS, FIGURES, PERCENT, Score, figures_of, score
from training.evaluate import Rate
from training.speaker_sets import Pcm, Talk, TalkSet, conversations

LATENCIES: Final = (1.0, 2.0, 5.0)  # s after an instant at which the page is asked who spoke then
OFFLINE, LAST_WORD = "offline", "last word"
VIEWS: Final = (OFFLINE, *(f"after {latency:.0f} s" for latency in LATENCIES), LAST_WORD)

OnTalk = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Judged:
    """One conversation's scores, by the names of VIEWS; `overlapping`: s in which two or more speak."""

    name: str
    seconds: float
    overlapping: float
    scores: dict[str, Score]


@dataclass(frozen=True)
class SetEvaluation:
    """What a set comes to: for each of VIEWS the figures, and every conversation's parts to look into them."""

    name: str
    protocol: str
    seconds: float
    spoken: float  # s of reference speech
    overlapping: float  # s in which two or more speak
    views: dict[str, dict[str, Rate]]
    conversations: list[Judged]

    def table(self) -> Table:
        """A row a figure, a column a view."""
        title = f"{escape(self.name)}: {conversations(len(self.conversations))}, {self.seconds / 60:.1f} min"
        # So narrow that 80 columns hold a share and its interval in one line, for all five views.
        table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
        table.add_column("", max_width=14)
        for view in VIEWS:
            table.add_column(view, min_width=12)
        for name, figure in FIGURES.items():
            unit = f"{name}, {figure.unit}" if figure.unit else name
            rates = (self.views[view][name] for view in VIEWS)
            table.add_row(unit, *(_percent(rate) if figure.unit == PERCENT else _number(rate) for rate in rates))
        return table


@dataclass(frozen=True)
class SpeakerEvaluation:
    """All sets that were judged; `took` s in all."""

    conventions: str
    sets: list[SetEvaluation]
    took: float

    def as_dict(self) -> dict[str, Any]:
        """Everything as nested dicts for JSON, with None for what is not a number."""
        return dict(_jsonable(asdict(self)))

    def show(self, console: Console) -> None:
        """Print a table for each set, and what its figures mean."""
        for one in self.sets:
            console.print(one.table())
            share = 100 * one.overlapping / max(one.spoken - one.overlapping, 1e-9)
            console.print(f"{one.protocol}. Two or more speak in {share:.1f} % of the speech.\n", highlight=False)
        console.print(
            f"{self.conventions}. After N s: live, every instant as the page shows it N s later; last word: as the page"
            f" stays. In brackets 95 % over conversations, where there are several. Took {self.took:.0f} s.",
            highlight=False,
        )


def _ignore(name: str, done: int, of: int) -> None:
    """Nobody asks how far it is."""


def evaluate_speakers(
    sets: Sequence[TalkSet], workers: int = 1, seed: int = 1, on_talk: OnTalk = _ignore
) -> SpeakerEvaluation:
    """Judge every set, so many conversations at a time, each in a process of its own.

    `seed` is that of the bootstrap. `on_talk` is told each conversation that is done, how many are, and of how many.
    The same sets give the same figures, however many workers there are.
    """
    started = time.perf_counter()
    talks = [talk for one in sets for talk in one.talks]
    judged = []
    for number, one in enumerate(_judge_all(talks, workers), 1):
        judged.append(one)
        on_talk(one.name, number, len(talks))
    evaluations = []
    for one_set in sets:
        of_set, judged = judged[: len(one_set.talks)], judged[len(one_set.talks) :]
        evaluations.append(evaluation_of(one_set.name, one_set.protocol, of_set, seed))
    return SpeakerEvaluation(CONVENTIONS, evaluations, round(time.perf_counter() - started, 1))


def evaluation_of(name: str, protocol: str, conversations: Sequence[Judged], seed: int) -> SetEvaluation:
    """What the conversations of a set come to."""
    return SetEvaluation(
        name,
        protocol,
        round(sum(one.seconds for one in conversations), 1),
        round(sum(one.scores[OFFLINE].spoken for one in conversations), 1),
        round(sum(one.overlapping for one in conversations), 1),
        {view: figures_of([one.scores[view] for one in conversations], seed) for view in VIEWS},
        list(conversations),
    )


def judge(talk: Talk) -> Judged:
    """Hear one conversation in all of VIEWS, and score them."""
    audio, reference = talk.source.load()
    diariser = LocalDiariser(VoiceEncoder(projection=talk.projection))
    seconds = len(audio) / SAMPLE_RATE
    said = {OFFLINE: speech_of(turns_of(audio, diariser))} | online(audio, diariser)
    scores = {view: score(reference, said[view], seconds) for view in VIEWS}
    return Judged(talk.name, round(seconds, 3), round(reference.get_overlap().duration(), 3), scores)


def online(audio: Pcm, diariser: Diariser) -> dict[str, Annotation]:
    """Who is said to speak when in int16 (n,) heard live: each instant as shown each of LATENCIES later, and at last.

    Between two hops the page stays as it is, so the page of a hop tells of the half second that turns so old until
    the next one; when the sound has ended, the last word follows at once. What hearing takes on a machine is not part
    of it: a hop is told of when its last sample is there. Turns of several speakers may overlap.
    """
    views = dict(zip(VIEWS[1:], LATENCIES, strict=False))
    shown: dict[str, list[Turn]] = {view: [] for view in views}
    for page, since, until in _pages(audio, diariser):
        for view, latency in views.items():
            shown[view] += _between(page, since - latency, until - latency)
    shown[LAST_WORD] = list(page.turns.values())
    return {view: speech_of(turns) for view, turns in shown.items()}


def speech_of(turns: Iterable[Turn]) -> Annotation:
    """Turns as speech: one speaker's that touch or overlap are one stretch."""
    speech = Annotation()
    for number, turn in enumerate(turns):
        if turn.duration > 0:
            speech[Segment(turn.start, turn.end), number] = str(turn.speaker)
    return speech.support()


def _pages(audio: Pcm, diariser: Diariser) -> Iterator[tuple[Timeline, float, float]]:
    """The page after each hop, and from when until when, in conversation time, it stays so; the last one, for good.

    It is one timeline that grows, to be read before the next is asked for.
    """
    seconds, head = len(audio) / SAMPLE_RATE, EmotionHead.load()
    unread = np.zeros(head.size, np.float32)  # who speaks does not depend on how they sound, so nothing is read
    conversation, page = Conversation(head), Timeline()

    def attend(hop: Hop) -> None:
        (observation,) = diariser.observe([conversation.stretch(hop)])
        fragments = conversation.align(observation)
        for event in conversation.conclude(hop, fragments, [unread] * len(fragments)):
            event.apply(page)

    for start in range(0, len(audio), HOP):
        for hop in conversation.hear(audio[start : start + HOP], 0.0):
            attend(hop)
            yield page, hop.until, min(hop.until + HOP_SECONDS, seconds)
    attend(conversation.finish())
    for event in conversation.end():
        event.apply(page)
    yield page, seconds, math.inf


def _between(page: Timeline, start: float, end: float) -> Iterator[Turn]:
    """What a page tells of the stretch [start, end)."""
    for turn in page.turns.values():
        if turn.overlap(start, end) > 0:
            yield turn.model_copy(update={"start": max(turn.start, start), "end": min(turn.end, end)})


def _judge_all(talks: Sequence[Talk], workers: int) -> Iterator[Judged]:
    if min(workers, len(talks)) < 2:
        yield from map(judge, talks)
        return
    # A process that is forked while ONNX Runtime's threads hold a lock never gets it back.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(talks)), fresh, _end_with_parent) as pool:
        yield from pool.map(judge, talks)


def _end_with_parent() -> None:
    """End this process as soon as its parent has, however that came.

    A pool that is killed tells its workers nothing, and they would hear their conversations to the end for nobody.
    """
    if (parent := multiprocessing.parent_process()) is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # from a thread, sys.exit would end the thread alone


def _jsonable(value: Any) -> Any:
    """The value with None in place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _percent(rate: Rate) -> str:
    if math.isnan(rate.value):
        return "-"
    share = f"{100 * rate.value:.1f}"
    return share if math.isnan(rate.low) else f"{share} ({100 * rate.low:.0f}-{100 * rate.high:.0f})"


def _number(rate: Rate) -> str:
    number = f"{rate.value:.2f}"
    return number if math.isnan(rate.low) else f"{number} ({rate.low:.1f}..{rate.high:.1f})"
