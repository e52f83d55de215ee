"""What a user sees: simulated conversations of voices never heard, through the whole pipeline, scored by the instant.

The actors of a fold talk (`training.simulate`), and a model that has never heard them listens: live, hop by hop as
the service does, and offline, as `pipeline.recording` does. Every 10 ms of speech of the reference then asks: was the
right speaker named, was the right emotion, and if not, at which step was it lost? Where two talk at once, each of
them counts. The clustering's projection is fitted anew without the actors, for the shipped one has heard them all; the
network that hears two at once is the shipped one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pipeline.baseline import SpeakerBaseline
from pipeline.conversation import HOP, Conversation, Hop
from pipeline.diarisation import Diariser
from pipeline.diarisation.local import LocalDiariser
from pipeline.emotion import SHIPPED, EmotionHead, EmotionModel
from pipeline.events import Event
from pipeline.fragments import unread
from pipeline.hearing import Embedder
from pipeline.passages import Passage
from pipeline.recording import hear, read
from pipeline.segments import ears_here
from pipeline.sound import Sound
from pipeline.timeline import HOP_SECONDS, SAMPLE_RATE, EmotionReading, Timeline, Turn
from pipeline.voiceprint import PROJECTION, VoiceEncoder
from training.evaluate import Rate
from training.projection import CACHE, without
from training.scoring import Shown, Tally, View, instant, islands_of, overlapping, tally, told_turns, view_of
from training.simulate import ORDINARY, Recording, SpokenTurn, read_recordings, simulate

LATENCY: Final = 1.0  # s after an instant at which the first word on it is read off the page
LAST_WORD, FIRST_WORD, OFFLINE = "live, last word", "live, first word", "offline"
VIEWS: Final = (LAST_WORD, FIRST_WORD, OFFLINE)
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Listener:
    """All that hears a conversation."""

    diariser: Diariser
    model: Embedder
    head: EmotionHead


@dataclass(frozen=True)
class Heard:
    """A conversation, and everything that was said about it. Told readings are those of the reference's islands."""

    actors: tuple[str, ...]
    seconds: float
    reference: tuple[SpokenTurn, ...]
    live: Timeline  # the last word
    first: Shown  # the first
    offline: Timeline
    told_live: list[EmotionReading]
    told_offline: list[EmotionReading]

    def tallies(self) -> dict[str, Tally]:
        """The conversation's instants in each of VIEWS."""
        islands = islands_of(self.reference)
        return {
            LAST_WORD: tally(islands, Shown.of(self.live, self.seconds), self.told_live),
            FIRST_WORD: tally(islands, self.first, self.told_live),
            OFFLINE: tally(islands, Shown.of(self.offline, self.seconds), self.told_offline),
        }


@dataclass(frozen=True)
class ConversationEvaluation:
    """What users of these models see, and `heard`, with every reading and its probabilities, to look into it."""

    protocol: str
    projection: str
    conversations: int
    speakers: int  # actors in all
    seconds: float  # of all conversations
    overlapping: float  # share of reference speech during which somebody else speaks, too
    took: dict[str, float]  # s
    views: dict[str, View]  # by the names of VIEWS
    heard: list[Heard] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The figures as nested dicts, for JSON."""
        figures = {name.name: getattr(self, name.name) for name in fields(self) if name.name not in {"views", "heard"}}
        return figures | {"views": {name: asdict(view) for name, view in self.views.items()}}

    def show(self, console: Console) -> None:
        """Print what is right, and then where the rest was lost."""
        for title, part in (("What a user sees", "measures"), ("Where it was lost", "losses")):
            table = Table("% of speech", *self.views, title=title)
            for name in getattr(self.views[LAST_WORD], part):
                table.add_row(name, *(_percent(getattr(view, part)[name]) for view in self.views.values()))
            if part == "losses":
                table.add_section()
                table.add_row("both right", *(_percent(view.measures["both right"]) for view in self.views.values()))
                table.add_row("largest loss", *(view.largest_loss for view in self.views.values()))
            console.print(table)
        console.print(f"{self.protocol}. Projection {self.projection}. ", end="")
        console.print(f"Two speak at once in {100 * self.overlapping:.1f} % of speech. ", end="")
        console.print(", ".join(f"{step} took {seconds:.0f} s" for step, seconds in self.took.items()))


def _ignore(step: str, share: float) -> None:
    """Nobody asks how far it is."""


def evaluate_conversations(
    models: Sequence[tuple[Path | None, tuple[str, ...]]],
    acting: Path,
    reading: Path | None,
    conversations: int = 3,
    seconds: float = 90.0,
    speakers: int = 3,
    seed: int = 1,
    on_progress: Progress = _ignore,
    cache: Path = CACHE,
) -> ConversationEvaluation:
    """Let each model hear actors whom it has never heard, in conversations of their own.

    `models`: the directory of each, None for the shipped one, and those actors, who are in the folder `acting` (laid
    out as RAVDESS). For each the voiceprints' projection is fitted on the other actors and on the readers in the folder
    `reading` (LibriSpeech); where that is None the shipped projection serves, and the result says so. Each pair gets so
    many `conversations`, at most `seconds` long, of as many of its actors as `speakers` says, or all of them. The
    projections' embeddings are kept in the folder `cache`: they take minutes.
    """
    voices = read_recordings(acting)
    rng = np.random.default_rng(seed)
    took: dict[str, float] = {}
    heard: list[Heard] = []
    for number, (directory, actors) in enumerate(models):
        on_progress(f"projection without actors {', '.join(actors)}", number / len(models))
        with _timed("projections", took):
            projection = without({reading: (), acting: actors}, cache) if reading else PROJECTION
        diariser = LocalDiariser(VoiceEncoder(projection=projection))
        listener = Listener(diariser, EmotionModel.load(directory or SHIPPED), EmotionHead.load(directory or SHIPPED))
        for talk in range(conversations):
            on_progress(
                f"conversation {talk + 1} of {', '.join(actors)}", (number + talk / conversations) / len(models)
            )
            chosen = rng.choice(sorted(actors), min(speakers, len(actors)), replace=False).tolist()
            said = {actor: voices[actor] for actor in chosen}
            heard.append(listen(said, seconds, int(rng.integers(2**31)), listener, took))
    on_progress("done", 1.0)
    return evaluation_of(
        heard,
        f"{len(heard)} simulated RAVDESS conversations of at most {seconds:.0f} s, ordinary rooms and noise, actors"
        f" never heard; first word {LATENCY:.0f} s after the speech; seed {seed}",
        "fitted without these actors" if reading else "as shipped",
        took,
        seed,
    )


def evaluation_of(
    heard: Sequence[Heard], protocol: str, projection: str, took: Mapping[str, float], seed: int
) -> ConversationEvaluation:
    """What conversations that were heard come to."""
    tallies = [conversation.tallies() for conversation in heard]
    views = {name: view_of([of_view[name] for of_view in tallies], seed) for name in VIEWS}
    islands = [islands_of(conversation.reference) for conversation in heard]
    spoken = sum(island.stop - island.first for of_one in islands for island in of_one)
    return ConversationEvaluation(
        protocol,
        projection,
        len(heard),
        len({actor for conversation in heard for actor in conversation.actors}),
        round(sum(conversation.seconds for conversation in heard), 1),
        sum(map(overlapping, islands)) / max(spoken, 1),
        {step: round(seconds, 1) for step, seconds in took.items()},
        views,
        list(heard),
    )


def listen(
    voices: Mapping[str, Sequence[Recording]], seconds: float, seed: int, listener: Listener, took: dict[str, float]
) -> Heard:
    """Let these speakers talk, and hear them in every way; what each step took is added to `took`, in seconds."""
    with _timed("simulation", took):
        talk = simulate(voices, seed, replace(ORDINARY, seconds=seconds))
        audio = np.round(talk.audio * 32_767).astype(np.int16)
    with _timed("live", took):
        live, first = hear_live(audio, listener)
    with _timed("told", took):
        told = told_turns(islands_of(talk.turns))
        told_live = read_live(audio, told, listener)
        told_offline = read(audio, told, listener.model, listener.head)
    with _timed("offline", took), Sound([audio]) as sound:
        offline = hear(sound, ears_here(listener.diariser, listener.model), listener.head)
    return Heard(tuple(talk.speakers), talk.seconds, talk.turns, live, first, offline, told_live, told_offline)


def hear_live(audio: NDArray[np.int16], listener: Listener) -> tuple[Timeline, Shown]:
    """Hear int16 (n,) hop by hop, as a session does: the timeline at the end, and each instant's first word."""
    conversation, timeline = Conversation(listener.head), Timeline()
    first = Shown.nothing(len(audio) / SAMPLE_RATE)

    def learn(events: Sequence[Event]) -> None:
        for event in events:
            event.apply(timeline)

    def attend(hop: Hop) -> None:
        (observation,) = listener.diariser.observe([conversation.stretch(hop)])
        fragments = conversation.align(observation)
        embeddings = listener.model.embed([conversation.audio(fragment) for fragment in fragments])
        learn(conversation.conclude(hop, fragments, embeddings))

    for start in range(0, len(audio), HOP):
        for hop in conversation.hear(audio[start : start + HOP], 0.0):
            attend(hop)
            # The page stays like this for a hop, and these are the instants that turn LATENCY old meanwhile.
            since = instant(max(0.0, hop.until - LATENCY))
            first.put(timeline, since, instant(max(0.0, hop.until - LATENCY + HOP_SECONDS)))
    unheard = instant(max(0.0, conversation.samples // HOP * HOP_SECONDS - LATENCY + HOP_SECONDS))
    attend(conversation.finish())
    learn(conversation.end())
    first.put(timeline, unheard, len(first.speakers))
    return timeline, first


def read_live(audio: NDArray[np.int16], turns: Sequence[Turn], listener: Listener) -> list[EmotionReading]:
    """How turns sound, given in order of time, each read as it grows and set against its speaker's earlier ones."""
    known: dict[int, SpeakerBaseline] = {}
    readings: list[EmotionReading] = []
    for turn in turns:
        passages = list(_as_it_grows(turn))
        spans = [(round(one.heard_from * SAMPLE_RATE), round(one.heard_until * SAMPLE_RATE)) for one in passages]
        embeddings = listener.model.embed([audio[start:end] for start, end in spans])
        before = known.get(turn.speaker, SpeakerBaseline.unknown(listener.head.size))
        readings += [
            listener.head.reading(
                turn.id, (passage.start, passage.end), passage.end - passage.heard_from, embedding, before, "causal"
            )
            for passage, embedding in zip(passages, embeddings, strict=True)
        ]
        if passages:
            seconds = np.array([passage.end - passage.start for passage in passages])
            known[turn.speaker] = before + SpeakerBaseline.of(np.stack(embeddings), seconds)
    return readings


def _as_it_grows(turn: Turn) -> Iterator[Passage]:
    """The passages that a live conversation reads of a turn, a hop at a time."""
    read_until = turn.start
    while read_until < turn.end:
        grown = turn.model_copy(update={"end": min(read_until + HOP_SECONDS, turn.end)})
        for fragment in unread([grown], read_until, over=grown.end == turn.end):
            yield Passage(turn, fragment.start, fragment.end, fragment.heard_from, fragment.end)
        read_until = grown.end


@contextmanager
def _timed(step: str, took: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    took[step] = took.get(step, 0.0) + time.perf_counter() - started


def _percent(share: Rate) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.0f}-{100 * share.high:.0f})"
