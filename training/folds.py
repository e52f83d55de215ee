"""Folds for cross-validation: of speakers, so that no one is tested by a model that has heard them, and of clips."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

Folds = tuple[tuple[str, ...], ...]

RAVDESS_FOLDS: Folds = (
    ("01", "11", "20"),
    ("04", "10", "12", "14"),
    ("08", "09", "19"),
    ("03", "05", "07"),
    ("02", "15", "16", "18"),
    ("06", "13", "17"),
)
"""RAVDESS's actors as EmoBox divides them (arXiv 2406.07162). Actors above 20 are in none of these."""


def read_folds(path: Path, speakers: Iterable[str]) -> Folds:
    """Folds of these speakers from a JSON file: a list of lists, `{"folds": [...]}`, or a list for each name.

    A speaker may be a number or a string, and leading zeros don't matter: 1 is "01". The folds keep the file's order
    and the corpus's spelling. Speakers whom the corpus lacks are left out, with a warning that names them.

    Raises ValueError where the file is not such JSON, has fewer than two folds, a fold without anyone, or someone
    twice, and where a speaker of the corpus is in no fold, for they would never be tested.
    """
    known = sorted(set(speakers))
    spelling = {_plain(speaker): speaker for speaker in known} | {speaker: speaker for speaker in known}
    named = [[spelling.get(name, spelling.get(_plain(name), _plain(name))) for name in fold] for fold in _lists(path)]
    times = Counter(name for fold in named for name in fold)
    if twice := [name for name, count in times.items() if count > 1]:
        raise ValueError(f"{path}: in the folds more than once: {_listed(twice)}")
    if absent := times.keys() - set(known):
        warnings.warn(f"{path}: the corpus lacks these speakers, left out: {_listed(absent)}", stacklevel=2)
    if untested := set(known) - times.keys():
        raise ValueError(f"{path}: in no fold, and so never tested: {_listed(untested)}")
    folds = tuple(tuple(name for name in fold if name not in absent) for fold in named)
    if not all(folds):
        raise ValueError(f"{path}: fold {folds.index(()) + 1} of {len(folds)} holds no speaker of the corpus")
    return folds


def speaker_folds(speakers: Mapping[str, str | None], count: int, seed: int) -> Folds:
    """`count` random folds of speakers, given each one's sex, or None where it is not known.

    Everyone is in one fold. Neither the folds' sizes nor their numbers of any one sex differ by more than one.
    The order of `speakers` does not matter. Raises ValueError unless 2 <= count <= len(speakers).
    """
    if not 2 <= count <= len(speakers):
        raise ValueError(f"{len(speakers)} speakers can make 2 to {len(speakers)} folds, not {count}")
    shuffled = np.random.default_rng(seed).permutation(sorted(speakers)).tolist()
    # Dealt like cards, one sex after the other, and each going on where the one before stopped.
    dealt = sorted(shuffled, key=lambda speaker: speakers[speaker] or "")
    return tuple(tuple(sorted(dealt[fold::count])) for fold in range(count))


def clip_folds(labels: NDArray[np.int_], count: int = 10, seed: int = 1) -> NDArray[np.int_]:
    """The fold, 0 to count - 1, that each clip is tested in: (n,), from the clips' labels (n,).

    Random, with every label spread evenly (Kohavi 1995). The same speakers are then in training and in test, as in
    many published figures: for reproducing those, and for nothing else. Raises ValueError where no label has `count`
    clips.
    """
    folds = np.empty(len(labels), np.int_)
    divided = StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels)
    for fold, (_, tested) in enumerate(divided):
        folds[tested] = fold
    return folds


def _lists(path: Path) -> list[list[str]]:
    """The folds that a file names, as strings, in its own spelling."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # neither JSON nor, perhaps, text
        raise ValueError(f"{path}: not JSON: {error}") from error
    if isinstance(content, dict):
        content = content["folds"] if content.keys() == {"folds"} else list(content.values())
    if not isinstance(content, list) or not all(isinstance(fold, list) for fold in content):
        raise ValueError(f'{path}: expected a list of lists, {{"folds": [...]}}, or a list of speakers for each name')
    if len(content) < 2:
        raise ValueError(f"{path}: cross-validation takes two folds or more, not {len(content)}")
    for number, fold in enumerate(content, 1):
        if not fold:
            raise ValueError(f"{path}: fold {number} of {len(content)} is empty")
        if strange := [entry for entry in fold if isinstance(entry, bool) or not isinstance(entry, int | str)]:
            raise ValueError(f"{path}: fold {number} holds {strange[0]!r}, which is neither a number nor a string")
    return [[str(speaker).strip() for speaker in fold] for fold in content]


def _plain(speaker: str) -> str:
    """A speaker without leading zeros."""
    return speaker.lstrip("0") or "0"


def _listed(speakers: Iterable[str]) -> str:
    return ", ".join(sorted(speakers))


def with_others(folds: Folds, speakers: Iterable[str]) -> Folds:
    """The folds with everybody else dealt out to them, one after another, to the smallest first."""
    grown = [list(fold) for fold in folds]
    known = {speaker for fold in folds for speaker in fold}
    for speaker in sorted(set(speakers) - known):
        min(grown, key=len).append(speaker)
    return tuple(tuple(fold) for fold in grown)
