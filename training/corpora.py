"""Corpora of emotional speech: each a folder on disk, and a rule that says what its files are.

    for clip in open_corpus("emo-db").clips(): ...

What a corpus has and `EMOTIONS` lacks is left out, as EmoDB's boredom is.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from pipeline.timeline import EMOTIONS

DATA_VARIABLE = "TONETRACK_DATA"
SEXES = ("female", "male")


def default_data() -> Path:
    """The folder that holds the corpora: `$TONETRACK_DATA`, or `../shared/data` beside the project."""
    return Path(os.environ.get(DATA_VARIABLE) or Path(__file__).parents[2] / "shared" / "data")


@dataclass(frozen=True, slots=True)
class Clip:
    """One recorded utterance by one speaker in one emotion."""

    path: Path
    speaker: str
    emotion: str
    sex: str | None = None  # the speaker's, one of SEXES, where the corpus tells


class Corpus(Protocol):
    """Labelled speech. To train on another corpus, write one of these and add it to `CORPORA`."""

    name: str
    licence: str
    citation: str  # what to cite, or where the corpus is described
    description: str  # for the card of a model: who speaks, what and how, and who does not

    def __init__(self, root: Path) -> None: ...

    def clips(self) -> Iterator[Clip]:
        """Every clip, always in the same order. Raises FileNotFoundError where there are none."""
        ...


class Ravdess:
    """RAVDESS, speech only: 24 actors, two sentences, eight emotions.

    A file is `Actor_NN/03-01-EE-II-SS-RR-AA.flac` (or .wav, as published): EE emotion, II intensity, SS
    sentence, RR repetition, AA actor (odd male, even female).
    """

    name = "ravdess"
    licence = "CC BY-NC-SA 4.0, so no commercial use"
    citation = "Livingstone and Russo 2018, doi 10.1371/journal.pone.0196391"
    description = (
        "Acted speech: professional actors who speak two fixed English sentences in eight prescribed ways, in a studio."
        " They are North American, and few. Everyday emotion is weaker, mixed and more varied; other languages,"
        " children's voices and voices changed by age or illness were never heard. Nothing here was measured on"
        " spontaneous conversation."
    )
    emotion_of_code: ClassVar = {
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fear",
        "07": "disgust",
        "08": "surprise",
    }

    def __init__(self, root: Path) -> None:
        self.root = root

    def clips(self) -> Iterator[Clip]:
        """Every clip, by actor and file name. Raises FileNotFoundError where there are none."""
        paths = sorted(path for path in self.root.glob("Actor_*/03-01-*") if path.suffix in {".flac", ".wav"})
        if not paths:
            raise FileNotFoundError(f"no RAVDESS speech (Actor_NN/03-01-*.flac or .wav) under {self.root}")
        for path in paths:
            name = re.fullmatch(r"03-01-(0[1-8])-\d\d-\d\d-\d\d-(\d\d)", path.stem)
            if not name:
                raise ValueError(f"{path} is not named as RAVDESS names its files: 03-01-EE-II-SS-RR-AA")
            emotion, actor = name.groups()
            yield Clip(path, actor, self.emotion_of_code[emotion], "male" if int(actor) % 2 else "female")


class EmoDb:
    """The Berlin Database of Emotional Speech: ten German actors, ten sentences, six of its seven emotions.

    A file is `SSTTTEV.wav` (or .flac), at any depth: SS speaker, TTT sentence, E the emotion's German initial, V
    version (none where there is only one). Boredom (L, Langeweile) is none of ToneTrack's emotions.
    """

    name = "emo-db"
    licence = "CC0 1.0"  # so published by audEERING (github.com/audeering/datasets); emodb.bilderbar.info names none
    citation = "Burkhardt et al. 2005, A database of German emotional speech, Interspeech"
    description = (
        "Acted speech: ten German actors who speak ten everyday sentences in six prescribed ways, in an anechoic room."
        " Everyday emotion is weaker, mixed and more varied, and other languages were never heard."
    )
    emotion_of_code: ClassVar = {
        "W": "angry",  # Wut
        "E": "disgust",  # Ekel
        "A": "fear",  # Angst
        "F": "happy",  # Freude
        "T": "sad",  # Trauer
        "N": "neutral",
    }
    men: ClassVar = frozenset({"03", "10", "11", "12", "15"})
    women: ClassVar = frozenset({"08", "09", "13", "14", "16"})

    def __init__(self, root: Path) -> None:
        self.root = root

    def clips(self) -> Iterator[Clip]:
        """Every clip, by file name, and so by speaker. Raises FileNotFoundError where there are none."""
        named = re.compile(r"(\d\d)[ab]\d\d([WEAFTN])[a-z]?")
        # Since 2.0 the corpus has laryngograms, too, under the same names in a folder of their own.
        paths = [path for path in _recordings(self.root) if "laryngo" not in path.relative_to(self.root).parts]
        found = [(path, match) for path in paths if (match := named.fullmatch(path.stem))]
        if not found:
            raise FileNotFoundError(f"no EmoDB speech (03a01Fa.wav and the like, or .flac) under {self.root}")
        for path, match in found:
            speaker, code = match.groups()
            sex = "male" if speaker in self.men else "female" if speaker in self.women else None
            yield Clip(path, speaker, self.emotion_of_code[code], sex)


class CremaD:
    """CREMA-D: 91 American actors, twelve sentences, six emotions.

    A file is `AAAA_SSS_EEE_LL.wav` (or .flac), at any depth: AAAA actor, SSS sentence, EEE emotion, LL level.
    `VideoDemographics.csv`, which comes with it, tells the actors' sexes.
    """

    name = "crema-d"
    licence = "Open Database License 1.0"
    citation = "Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244"
    description = (
        "Acted speech: 91 American actors of many backgrounds who speak twelve sentences in six prescribed ways."
        " Everyday emotion is weaker, mixed and more varied, and other languages were never heard."
    )
    emotion_of_code: ClassVar = {
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fear",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    }

    def __init__(self, root: Path) -> None:
        self.root = root

    def clips(self) -> Iterator[Clip]:
        """Every clip, by file name, and so by actor. Raises FileNotFoundError where there are none."""
        named = re.compile(rf"(\d{{4}})_[A-Z]{{3}}_({'|'.join(self.emotion_of_code)})_[A-Z]+")
        found = [(path, match) for path in _recordings(self.root) if (match := named.fullmatch(path.stem))]
        if not found:
            raise FileNotFoundError(f"no CREMA-D speech (1001_DFA_ANG_XX.wav and the like) under {self.root}")
        sexes = self._sexes()
        for path, match in found:
            actor, code = match.groups()
            yield Clip(path, actor, self.emotion_of_code[code], sexes.get(actor))

    def _sexes(self) -> dict[str, str]:
        """Each actor's sex, as far as it is told."""
        table = self.root / "VideoDemographics.csv"
        if not table.is_file():
            return {}
        with table.open(newline="", encoding="utf-8-sig") as file:
            told = {row["ActorID"]: row["Sex"].strip().lower() for row in csv.DictReader(file)}
        return {actor: sex for actor, sex in told.items() if sex in SEXES}


class Labelled:
    """A folder of your own: recordings, and a `labels.csv` that says who speaks in each, and how.

    Its columns are path, speaker, emotion and, if you like, sex; others are ignored:

        path,speaker,emotion,sex
        anna/01.wav,anna,happy,female

    Paths are relative to the folder and stay within it; emotions are those of `pipeline.timeline.EMOTIONS`.
    """

    name = "labelled"
    licence = "whatever the owner of the recordings grants"
    citation = "labels.csv in the folder itself"
    description = (
        "Recordings and labels of somebody's own; say here who speaks, how the labels came about, and who is missing."
    )
    labels = "labels.csv"

    def __init__(self, root: Path) -> None:
        self.root = root

    def clips(self) -> Iterator[Clip]:
        """Every clip, in the order of `labels.csv`.

        Raises FileNotFoundError where there is no such file, and ValueError where it says what cannot be, with the
        line. Nothing is yielded before all of it has been read.
        """
        table = self.root / self.labels
        if not table.is_file():
            raise FileNotFoundError(f"no {table}: a CSV file with the columns path, speaker, emotion and perhaps sex")
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, restval="", strict=True)
            if absent := {"path", "speaker", "emotion"} - set(rows.fieldnames or ()):
                raise ValueError(f"{table}, line 1: no column {', '.join(sorted(absent))}")
            clips: dict[Path, Clip] = {}
            for row in rows:
                try:
                    clip = self._clip(row)
                    if clip.path in clips:
                        raise ValueError(f"{row['path']!r} is here for the second time")
                except ValueError as error:
                    raise ValueError(f"{table}, line {rows.line_num}: {error}") from None
                clips[clip.path] = clip
        if not clips:
            raise ValueError(f"{table} names no recordings")
        yield from clips.values()

    def _clip(self, row: dict[str, str]) -> Clip:
        if None in row:
            raise ValueError("more fields than columns; a field with a comma in it needs quotes")
        path, speaker, emotion, sex = (row.get(column, "").strip() for column in ("path", "speaker", "emotion", "sex"))
        if not path or not speaker:
            raise ValueError(f"no {'speaker' if path else 'path'}")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ValueError(f"{path!r} leads out of the folder; paths are relative to it")
        if not (self.root / path).is_file():
            raise ValueError(f"no file {self.root / path}")
        if emotion not in EMOTIONS:
            raise ValueError(f"emotion {emotion!r} is none of {', '.join(EMOTIONS)}")
        if sex not in {"", *SEXES}:
            raise ValueError(f"sex {sex!r} is none of {', '.join(SEXES)}, or empty")
        return Clip(self.root / path, speaker, emotion, sex or None)


CORPORA: dict[str, type[Corpus]] = {corpus.name: corpus for corpus in (Ravdess, EmoDb, CremaD, Labelled)}


def open_corpus(name: str, root: Path | None = None) -> Corpus:
    """The corpus of that name in the folder `root`, by default the one called `name` in `default_data()`.

    Raises ValueError where there is no such corpus, FileNotFoundError where there is no such folder.
    """
    if name not in CORPORA:
        raise ValueError(f"no corpus {name!r}; there are {', '.join(CORPORA)}")
    root = root or default_data() / name
    if not root.is_dir():
        raise FileNotFoundError(
            f"no folder {root}: put the corpus {name} there, or name its folder, or the folder that holds `{name}`"
            f" in {DATA_VARIABLE}"
        )
    return CORPORA[name](root)


def _recordings(root: Path) -> list[Path]:
    """All .wav and .flac files at any depth, by name, so that the folders that they lie in don't change the order."""
    paths = (path for path in root.rglob("*") if path.suffix.lower() in {".wav", ".flac"})
    return sorted(paths, key=lambda path: (path.name, path))
