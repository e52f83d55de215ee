"""Cross-validation: every fold is answered by a model that never heard its speakers.

Folds are Ray tasks: on one machine as many at a time as it has workers, on a cluster as many as fit. What a fold has
learnt is kept from epoch to epoch and what it answered is kept for good, so that a run that was interrupted goes on.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray
from numpy.typing import NDArray
from ray.util.queue import Queue
from rich.progress import Progress

from pipeline.baseline import SpeakerBaseline
from pipeline.emotion import HEAD, WEIGHTS, EmotionHead
from training.config import Training
from training.corpora import Clip
from training.folds import RAVDESS_FOLDS, Folds, read_folds, speaker_folds, with_others
from training.fragments import Fragments, fingerprint, test_fragments, training_fragments
from training.tasks import EVERYBODY, connect, run, tell

Logits = NDArray[np.float32]

FOLDS: Final = 5  # of a corpus that brings none of its own
ANSWERS: Final = "answers.npz"
CODE: Final = ("tone_net", "batches", "train", "tim_net")  # on which, besides features, it depends what is learnt


@dataclass(frozen=True)
class Answers:
    """What models said of fragments of speakers whom they had never heard; all arrays have n rows.

    `alone`, `causal` and `full` are logits before any temperature: of the map for an unknown voice, and of the map for
    a known one against what the speaker had said before (in a random order of their clips) or says in all. The trusts
    are those of the two baselines.
    """

    conditions: NDArray[np.str_]
    labels: NDArray[np.int64]
    speakers: NDArray[np.str_]
    clips: NDArray[np.int64]
    alone: Logits
    causal: Logits
    full: Logits
    causal_trust: NDArray[np.float32]
    full_trust: NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """The answers of several folds."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def folds_of(config: Training, clips: Sequence[Clip]) -> Folds:
    """The folds that the recipe names: a file's, RAVDESS's own, or ones drawn by the seed."""
    sexes = {clip.speaker: clip.sex for clip in clips}
    if config.folds:
        return read_folds(config.folds, sexes)
    if config.corpus == "ravdess" and {speaker for fold in RAVDESS_FOLDS for speaker in fold} <= sexes.keys():
        return with_others(RAVDESS_FOLDS, sexes)
    return speaker_folds(sexes, min(FOLDS, len(sexes)), config.seed)


def cross_validate(config: Training, clips: Sequence[Clip], progress: Progress) -> tuple[Answers, list[Path]]:
    """What the recipe says of unknown speakers, and the folder of each fold's network and head."""
    folds = folds_of(config, clips)
    folder = run_folder(config, clips, folds)
    places = [folder / f"fold-{number}" for number in range(1, len(folds) + 1)]
    waiting = {number: fold for number, fold in enumerate(folds, 1) if not (places[number - 1] / ANSWERS).exists()}
    if waiting:
        connect(config)
        shared = ray.put((training_fragments(config, clips, progress), test_fragments(config, clips, progress)))
        calls = {number: (config, shared, fold, places[number - 1]) for number, fold in waiting.items()}
        for number, result in run(_fold, calls, config.tone_net.epochs_in_all, config.gpus, progress):
            _keep(places[number - 1], result)
    return Answers.joined([_kept(place) for place in places]), places


def train_on_everybody(config: Training, clips: Sequence[Clip], progress: Progress) -> Path:
    """The folder of the recipe's network and head when nobody is held out."""
    place = run_folder(config, clips, folds_of(config, clips)) / "everybody"
    if not (place / ANSWERS).exists():
        connect(config)
        training = training_fragments(config, clips, progress)
        nobody = training.take(np.zeros(0, int))
        call = {EVERYBODY: (config, ray.put((training, nobody)), (), place)}
        for _, result in run(_fold, call, config.tone_net.epochs_in_all, config.gpus, progress):
            _keep(place, result)
    return place


def run_folder(config: Training, clips: Sequence[Clip], folds: Folds) -> Path:
    """Where a recipe's folds are kept: another recipe, sound, choice of folds or version of the code is another one."""
    other = {"tone-net": "tim_net", "tim-net": "tone_net"}[config.model]
    recipe = config.model_dump(
        mode="json", exclude={"runs", "workers", "gpus", "asserted", "folds", "corpus_root", other}
    )
    code = [Path(__file__).with_name(f"{name}.py").read_text() for name in CODE]
    heard = fingerprint(config, clips)
    name = hashlib.sha256(json.dumps([recipe, folds, heard, code]).encode()).hexdigest()[:12]
    return config.runs / f"{config.model}-{config.corpus}-{name}"


def answer(head: EmotionHead, embeddings: NDArray[np.float32], fragments: Fragments, seed: int) -> Answers:
    """What a head says of fragments, (n, size) embeddings, in every mode."""
    logits = {mode: np.zeros((len(fragments), head.alone.shape[1]), np.float32) for mode in ("alone", "causal", "full")}
    trust = {mode: np.zeros(len(fragments), np.float32) for mode in ("causal", "full")}
    for rows in _by_condition_and_speaker(fragments):
        everything = SpeakerBaseline.of(embeddings[rows], fragments.seconds[rows])
        before = SpeakerBaseline.unknown(head.size)
        for row in np.random.default_rng(seed).permutation(rows):
            for mode, baseline in (("full", everything), ("causal", before)):
                logits["alone"][row], logits[mode][row] = head.logits(embeddings[row], baseline)
                trust[mode][row] = baseline.trust
            before += SpeakerBaseline.of(embeddings[row][None], fragments.seconds[row][None])
    return Answers(
        fragments.conditions,
        fragments.labels,
        fragments.speakers,
        fragments.clips,
        *(logits[mode] for mode in ("alone", "causal", "full")),
        *(trust[mode] for mode in ("causal", "full")),
    )


def _by_condition_and_speaker(fragments: Fragments) -> Iterator[NDArray[np.int64]]:
    for condition in np.unique(fragments.conditions):
        for speaker in np.unique(fragments.speakers):
            rows = np.flatnonzero((fragments.conditions == condition) & (fragments.speakers == speaker))
            if len(rows):
                yield rows


def _fold(
    config: Training,
    fragments: tuple[Fragments, Fragments],
    fold: tuple[str, ...],
    place: Path,
    number: int,
    news: Queue,
) -> dict[str, Any]:
    """Train on everybody but a fold's speakers and answer for them: the network as bytes, the head's maps, answers."""
    from training.train import train  # TensorFlow, which only the tasks need

    training, test = fragments
    held_out = test.take(np.isin(test.speakers, fold))
    trained = train(
        training.take(~np.isin(training.speakers, fold)),
        config.tone_net,
        config.seed + number,
        place / "checkpoints",
        lambda epoch, loss: tell(news, number, epoch, loss),
    )
    with tempfile.TemporaryDirectory() as folder:
        trained.network.save(Path(folder) / WEIGHTS)
        network = (Path(folder) / WEIGHTS).read_bytes()
    answers = answer(trained.head, trained.embed(held_out), held_out, config.seed)
    return {"network": network, "alone": trained.head.alone, "known": trained.head.known, "answers": asdict(answers)}


def _keep(place: Path, result: dict[str, Any]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / WEIGHTS).write_bytes(result["network"])
    np.savez(place / HEAD, alone=result["alone"], known=result["known"])
    partial = place / f"partial-{ANSWERS}"
    np.savez(partial, **result["answers"])
    partial.replace(place / ANSWERS)


def _kept(place: Path) -> Answers:
    with np.load(place / ANSWERS) as stored:
        return Answers(**stored)
