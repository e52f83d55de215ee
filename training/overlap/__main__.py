"""Train the network and write it as ONNX.

    python -m training.overlap OUTPUT LIBRISPEECH RAVDESS

With `--held-out`, named speakers stay out of training and the figures on talk among them are printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import onnx
import torch
import typer
from sklearn.metrics import average_precision_score

from pipeline.overlap import FRAME, WINDOW, OverlapDetector
from training.overlap.graph import graph
from training.overlap.network import train
from training.overlap.recipe import CLASSES, LESS_ENTANGLED, ORDINARY, Recipe
from training.overlap.scenes import Voices, examples, read_voices, scene

TESTED: Final = 50  # scenes of a test: 16 minutes


def main(
    output: Annotated[Path, typer.Argument(help="Where the ONNX file goes.")],
    librispeech: Annotated[Path, typer.Argument(help="Readers: a folder of recordings, SPEAKER-CHAPTER-UTTERANCE.")],
    ravdess: Annotated[Path, typer.Argument(help="Actors: a folder of folders, Actor_NN.")],
    held_out: Annotated[str, typer.Option(help="Speakers to test with, not to train with: names with commas.")] = "",
    seed: Annotated[int, typer.Option(help="One seed, one network.")] = 1,
) -> None:
    """Train the overlap detector and write it as ONNX."""
    torch.set_num_threads(1)  # and one network whatever the number of cores
    how, kept = ORDINARY, [name for name in held_out.split(",") if name]
    corpora = [read_voices(folder, how) for folder in (librispeech, ravdess)]
    known = [{name: clips for name, clips in voices.items() if name not in kept} for voices in corpora]
    heard, counts = examples(known, how.scenes, seed, how)
    typer.echo(f"{len(heard)} windows; nobody, one, more: {np.bincount(counts.ravel()) / counts.size}")
    network = train(heard, counts, seed, how)
    output.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph(network, how), output)
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
    if kept:
        others = [{name: clips for name, clips in voices.items() if name in kept} for voices in corpora]
        typer.echo(figures(OverlapDetector(output), others, seed + 1, replace(how, **LESS_ENTANGLED)))


def figures(detector: OverlapDetector, corpora: Sequence[Voices], seed: int, how: Recipe) -> str:
    """How well overlap is heard in TESTED scenes of these speakers: average precision, and each threshold's figures."""
    scores, overlaps = [], []
    for number in range(TESTED):
        audio, counts = scene(corpora, (seed, number), how)
        windows = [audio[first : first + WINDOW * FRAME] for first in range(0, len(audio), WINDOW * FRAME)]
        scores.append(np.concatenate(detector.hear(windows)))
        overlaps.append(counts[: len(scores[-1])] == CLASSES - 1)
    score, overlap = np.concatenate(scores), np.concatenate(overlaps)
    average = average_precision_score(overlap, score)
    lines = [f"overlap in {overlap.mean():.3f} of the frames; average precision {average:.3f}"]
    for threshold in np.arange(0.1, 1.0, 0.1):
        right = np.sum((score >= threshold) & overlap)
        precision, recall = right / max(1, np.sum(score >= threshold)), right / max(1, np.sum(overlap))
        lines.append(f"from {threshold:.1f}: precision {precision:.3f}, recall {recall:.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
