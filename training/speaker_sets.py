"""The conversations that who-spoke-when is judged on, and the voiceprints that each is heard with.

A set is simulated from a corpus of single speakers, in folds of speakers, with voiceprints fitted on everybody else;
or it is a folder of recordings with their references, heard with the voiceprints as they are shipped, or with such as
were fitted without the readers and actors whom the references name.

What is fitted here is the voiceprints' projection, anew for every fold. The networks are as published: who taught the
encoder of voices is not named one by one, so that it may have heard readers; the overlap network was trained on AMI's
training meetings, of which most excerpts here are. The clustering's thresholds were chosen on simulated
conversations of the same corpora. So figures may be better than those of strangers would be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pyannote.core import Annotation, Segment  # type: ignore[import-untyped]

from pipeline.audio import decode
from pipeline.voiceprint import PROJECTION
from training.folds import RAVDESS_FOLDS, Folds, speaker_folds, with_others
from training.projection import without
from training.rttm import read_rttm
from training.simulate import ORDINARY, Recording, SimulationSettings, read_recordings, simulate

EACH: Final = {"librispeech": 8, "ravdess": 2}  # conversations of a fold; readers have little to read, and end soon
FULL: Final = 10  # times as many
READER_FOLDS: Final = 4
READERS: Final = range(2, 6)  # in a conversation, one more in each, then again
ACTORS: Final = range(2, 5)  # or as many as the fold has
ACTED_SECONDS: Final = 150.0
NOT_HELD_OUT: Final = (
    "held out from the voiceprints' projection; the networks are as published, and the clustering's thresholds were"
    " chosen on simulated conversations of the same corpora"
)
AUDIO: Final = frozenset({".flac", ".wav", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".webm"})

ACTOR: Final = re.compile(r"actor_?(\d\d)", re.IGNORECASE)

Fold = TypeVar("Fold")
Pcm = NDArray[np.int16]
OnFold = Callable[[int, int], None]


class Source(Protocol):
    """Where a conversation comes from."""

    def load(self) -> tuple[Pcm, Annotation]:
        """The conversation, int16 (n,), mono at 16 kHz, and who speaks when in it."""
        ...


@dataclass(frozen=True)
class Talk:
    """A conversation to be heard, and the file of the projection to hear it with."""

    name: str
    source: Source
    projection: Path


@dataclass(frozen=True)
class TalkSet:
    """Conversations of one kind; `protocol` says of which."""

    name: str
    protocol: str
    talks: tuple[Talk, ...]

    @property
    def extent(self) -> str:
        """How many conversations it has, in words."""
        return conversations(len(self.talks))


@dataclass(frozen=True)
class Simulated:
    """A conversation put together from recordings; its reference is the islands of speech within the turns."""

    voices: Mapping[str, Sequence[Recording]]
    seed: int
    settings: SimulationSettings

    def load(self) -> tuple[Pcm, Annotation]:
        """See Source."""
        talk = simulate(self.voices, self.seed, self.settings)
        speech = Annotation()
        islands = sorted((*island, turn.speaker) for turn in talk.turns for island in turn.speech)
        for number, (start, end, speaker) in enumerate(islands):
            speech[Segment(start, end), number] = speaker
        return np.round(talk.audio * 32_767).astype(np.int16), speech


@dataclass(frozen=True)
class Recorded:
    """A conversation on disk."""

    path: Path
    speech: Annotation

    def load(self) -> tuple[Pcm, Annotation]:
        """See Source. Raises pipeline.audio.UndecodableAudio, a ValueError."""
        return np.concatenate([np.zeros(0, np.int16), *decode(self.path)]), self.speech


def conversations(number: int) -> str:
    """So many conversations, in words."""
    return f"{number} conversation{'s' * (number != 1)}"


def talk_sets(
    names: Sequence[str],
    folders: Sequence[Path],
    data: Path,
    each: int | None,
    full: bool,
    seed: int,
    cache: Path,
    on_fold: OnFold,
    unheard: bool = False,
) -> list[TalkSet]:
    """The sets of these names (librispeech, ravdess, ami), whose corpora are in the folder `data`, and some folders.

    `each`: conversations for each fold of a simulated set, where it is not as many as EACH says, or `full`: FULL times
    that. `unheard`: the folders' conversations are heard as `unheard_by` says. Projections are kept in the folder
    `cache`. Raises FileNotFoundError and ValueError, see `recorded_set` and `unheard_by`.
    """
    recorded = [recorded_set(folder) for folder in folders]  # before anything that takes minutes
    strangers = [unheard_by(folder, data) for folder in folders if unheard]
    if absent := [data / name for name in names if not (data / name).is_dir()]:
        raise FileNotFoundError(f"no folder {absent[0]}: put the corpus there, or name another place with --data")
    sets = []
    for name in names:
        if name == "ami":
            sets.append(recorded_set(data / "ami"))
        else:
            simulated = {"librispeech": reading_set, "ravdess": acted_set}[name]
            count = each or EACH[name] * (FULL if full else 1)
            sets.append(simulated(data, count, seed, cache, on_fold))
    if unheard:
        fitted = _projections(strangers, lambda left_out: without(left_out, cache), on_fold)
        recorded = [_refitted(*one) for one in zip(recorded, strangers, fitted, strict=True)]
    return sets + recorded


def reading_set(data: Path, each: int, seed: int, cache: Path, on_fold: OnFold) -> TalkSet:
    """So many conversations of LibriSpeech readers for each fold of them; RAVDESS's actors fit voiceprints, too."""
    reading, acting = data / "librispeech", data / "ravdess"
    voices = read_recordings(reading)
    folds = speaker_folds(dict.fromkeys(voices), min(READER_FOLDS, len(voices)), seed)
    projections = _projections(folds, lambda fold: without({reading: fold, acting: ()}, cache), on_fold)
    talks = _simulated("librispeech", voices, folds, projections, each, READERS, ORDINARY, seed)
    protocol = (
        f"simulated conversations of LibriSpeech readers, {READERS[0]} to {READERS[-1]} in each, at most"
        f" {ORDINARY.seconds:.0f} s or until nobody has anything left to read; ordinary rooms and noise; {len(folds)}"
        f" folds of readers, voiceprints fitted on all other readers and on RAVDESS; seed {seed}; {NOT_HELD_OUT}"
    )
    return TalkSet("librispeech", protocol, tuple(talks))


def acted_set(data: Path, each: int, seed: int, cache: Path, on_fold: OnFold) -> TalkSet:
    """So many conversations of RAVDESS's actors for each fold of them; LibriSpeech's readers fit voiceprints, too."""
    reading, acting = data / "librispeech", data / "ravdess"
    voices = read_recordings(acting)
    known = {actor for fold in RAVDESS_FOLDS for actor in fold}
    if known <= voices.keys():
        folds = with_others(RAVDESS_FOLDS, voices)
    else:
        folds = speaker_folds(dict.fromkeys(voices), min(len(RAVDESS_FOLDS), len(voices)), seed)
    projections = _projections(folds, lambda fold: without({reading: (), acting: fold}, cache), on_fold)
    settings = replace(ORDINARY, seconds=ACTED_SECONDS)
    talks = _simulated("ravdess", voices, folds, projections, each, ACTORS, settings, seed)
    protocol = (
        f"simulated conversations of RAVDESS's actors, {ACTORS[0]} to {ACTORS[-1]} in each or all of a fold, at most"
        f" {ACTED_SECONDS:.0f} s; ordinary rooms and noise; {len(folds)} folds of actors, voiceprints fitted on all"
        f" other actors and on LibriSpeech; seed {seed}; {NOT_HELD_OUT}"
    )
    return TalkSet("ravdess", protocol, tuple(talks))


def recorded_set(folder: Path) -> TalkSet:
    """The recordings in a folder, each with its speech in NAME.rttm, or in any RTTM file there under the name NAME.

    What the references say of recordings that are not there is passed over. Raises FileNotFoundError where there is
    no folder or no audio in it, and ValueError where recordings lack a reference, or have two, naming them.
    """
    talks = (Talk(recorded.path.stem, recorded, PROJECTION) for recorded in _recorded(folder))
    protocol = (
        f"the recordings in {folder}, voiceprints as shipped, which were fitted on readers of LibriSpeech and actors of"
        " RAVDESS: fair where the speakers are others"
    )
    return TalkSet(folder.resolve().name, protocol, tuple(talks))


def unheard_by(folder: Path, data: Path) -> dict[Path, set[str]]:
    """The readers and actors, by corpus in `data`, whom the references of a folder's recordings name.

    An actor is called 01, actor01 or Actor_01. Of a bare number nothing tells whether a reader or an actor is meant, so
    both are. Raises FileNotFoundError where a corpus is not there, and ValueError where nobody is named: voiceprints
    fitted without nobody know as many as before; or where everybody is, and nobody is left to fit them on.
    """
    named = {speaker for recorded in _recorded(folder) for speaker in recorded.speech.labels()}
    acted = named | {match[1] for speaker in named if (match := ACTOR.fullmatch(speaker))}
    known = {
        corpus: names & read_recordings(corpus).keys()
        for corpus, names in ((data / "librispeech", named), (data / "ravdess", acted))
    }
    if not any(known.values()):
        raise ValueError(
            f"{folder}: no reference names a reader or an actor of {data}, so there is nobody to leave out"
        )
    for corpus, speakers in known.items():
        if len(read_recordings(corpus).keys() - speakers) < 2:
            raise ValueError(
                f"{folder}: the references name all of {corpus}; voiceprints need some others to be fitted"
            )
    return known


def _refitted(a_set: TalkSet, left_out: Mapping[Path, Collection[str]], projection: Path) -> TalkSet:
    """A folder's set, to be heard with voiceprints that were fitted without some readers and actors."""
    counts = ", ".join(f"{len(speakers)} of {corpus.name}" for corpus, speakers in left_out.items() if speakers)
    protocol = (
        f"the recordings of {a_set.name}, voiceprints fitted on LibriSpeech and RAVDESS without those whom the"
        f" references name ({counts}); {NOT_HELD_OUT}"
    )
    return TalkSet(a_set.name, protocol, tuple(replace(talk, projection=projection) for talk in a_set.talks))


def _recorded(folder: Path) -> list[Recorded]:
    """The recordings in a folder and who speaks when in each; what it raises, `recorded_set` says."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: put recordings and their references (.rttm) there")
    recordings = sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO)
    if not recordings:
        raise FileNotFoundError(f"no recordings ({', '.join(sorted(AUDIO))}) in {folder}")
    references = _references(folder)
    if lacking := [path.name for path in recordings if path.stem not in references]:
        raise ValueError(f"{folder}: no reference for {', '.join(lacking)}: no NAME.rttm, and no .rttm that names them")
    return [Recorded(path, references[path.stem]) for path in recordings]


def _references(folder: Path) -> dict[str, Annotation]:
    """Who speaks when in each recording that an RTTM file of a folder names; a file may name its own otherwise."""
    references: dict[str, Annotation] = {}
    told_in: dict[str, str] = {}
    for path in sorted(folder.glob("*.rttm")):
        told = read_rttm(path)
        own = any((folder / f"{path.stem}{suffix}").exists() for suffix in AUDIO)
        if own and path.stem not in told and len(told) <= 1:
            told = {path.stem: next(iter(told.values()), Annotation())}
        for name, speech in told.items():
            if name in references:
                raise ValueError(f"{folder}: {told_in[name]} and {path.name} both tell who speaks in {name}")
            references[name], told_in[name] = speech, path.name
    return references


def _projections(folds: Sequence[Fold], fit: Callable[[Fold], Path], on_fold: OnFold) -> Iterator[Path]:
    for number, fold in enumerate(folds):
        on_fold(number, len(folds))
        yield fit(fold)
    on_fold(len(folds), len(folds))


def _simulated(
    name: str,
    voices: Mapping[str, Sequence[Recording]],
    folds: Folds,
    projections: Iterator[Path],
    each: int,
    counts: range,
    settings: SimulationSettings,
    seed: int,
) -> Iterator[Talk]:
    """`each` conversations of every fold's speakers; a fold's first ones stay the same, however many there are."""
    for number, (fold, projection) in enumerate(zip(folds, projections, strict=True)):
        rng = np.random.default_rng([seed, number])
        for talk in range(each):
            count = min(counts[(number + talk) % len(counts)], len(fold))
            chosen = rng.choice(sorted(fold), count, replace=False).tolist()
            said = {speaker: voices[speaker] for speaker in chosen}
            source = Simulated(said, int(rng.integers(2**31)), settings)
            yield Talk(f"{name}-{number + 1}-{talk + 1}", source, projection)
