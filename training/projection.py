"""Fit the projection that turns the encoder's embeddings into voiceprints.

    python -m training.projection pipeline/models/voiceprint/projection.npz LIBRISPEECH RAVDESS

Linear discriminants (Fisher 1936): the SIZE directions in which speakers differ most for how much one speaker
varies, each with the same variance within. What the service hears is rarely as clean as a corpus, so every stretch
of speech is heard in rooms and over noise first, and in windows as the diariser cuts them. Calm reading teaches how
voices differ, acted emotion what one voice can do, so both kinds of corpora count the same, however large.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import scipy.linalg
import typer
from numpy.typing import NDArray

from pipeline.diarisation.local import UNIT
from pipeline.speech import SpeechDetector, SpeechState
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import ENCODER, LONGEST, SIZE, VoiceEncoder
from training import augment
from training.augment import in_room, over_noise
from training.simulate import Recording, read_recordings
from training.sound import speech

PIECE: Final = 4 * SAMPLE_RATE  # samples of a recording that are heard in one room
ROOMS: Final = 2  # that each piece is heard in
NOISE: Final = (14.0, 30.0)  # dB below the speech
SHRINKAGE: Final = 0.7  # of the mean variance, added within: few speakers make every other direction look reliable

Embeddings = Mapping[str, NDArray[np.float32]]


def embeddings_of(voices: Mapping[str, Sequence[Recording]], seed: int) -> Embeddings:
    """What the encoder makes of each speaker's recordings in rooms and noise: (windows, 256) a speaker."""
    encoder, detector = VoiceEncoder(), SpeechDetector()
    rng = np.random.default_rng(seed)
    heard = {
        speaker: [
            window
            for recording in recordings
            for piece in _pieces(speech(recording.path, margin=0.1))
            for _ in range(ROOMS)
            for window in _windows(over_noise(in_room(piece, rng), rng.uniform(*NOISE), rng), detector)
        ]
        for speaker, recordings in voices.items()
    }
    return {speaker: encoder.embed(windows) for speaker, windows in heard.items() if len(windows) > 1}


def cached_embeddings(folder: Path, cache: Path, seed: int = 1) -> Embeddings:
    """`embeddings_of` everyone under a folder, which takes minutes, or what the folder `cache` holds of it.

    What is kept has a name of its own for every set of files, and for all that the embeddings depend on here.
    """
    voices = read_recordings(folder)
    files = [(str(one.path), one.path.stat().st_size) for spoken in voices.values() for one in spoken]
    code = [Path(source).read_text() for source in (__file__, augment.__file__)]
    name = hashlib.sha256(json.dumps([files, seed, code, ENCODER.stat().st_size]).encode()).hexdigest()[:16]
    path = cache / f"embeddings-{name}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        arrays: dict[str, Any] = dict(embeddings_of(voices, seed))
        np.savez(partial, **arrays)
        partial.replace(path)
    with np.load(path) as stored:
        return dict(stored)


def fit(corpora: Sequence[Embeddings]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """The mean (256,) and the axes (256, SIZE) of the projection, from the embeddings of each corpus."""
    between, within, middles = [], [], []
    for corpus in corpora:
        centres = np.stack([embeddings.mean(0) for embeddings in corpus.values()]).astype(float)
        offsets = np.concatenate([embeddings - embeddings.mean(0) for embeddings in corpus.values()]).astype(float)
        middles.append(centres.mean(0))
        between.append(centres - centres.mean(0))
        within.append(offsets.T @ offsets / len(offsets))
    speakers = np.concatenate(between)
    across = speakers.T @ speakers / (len(speakers) - len(corpora))
    inside = np.mean(within, axis=0)
    inside += SHRINKAGE * np.trace(inside) / len(inside) * np.eye(len(inside))
    _, axes = scipy.linalg.eigh(across, inside)  # the most telling ones last
    axes = axes[:, : -SIZE - 1 : -1]
    axes /= np.abs(axes).max()  # half precision does not reach far; voiceprints have unit length anyway
    return np.mean(middles, axis=0).astype(np.float16), axes.astype(np.float16)


def main(
    output: Annotated[Path, typer.Argument(help="Where the projection goes (.npz).")],
    folders: Annotated[list[Path], typer.Argument(help="Corpora, as training.simulate reads them.")],
    seed: Annotated[int, typer.Option(help="Of the rooms and the noise.")] = 1,
) -> None:
    """Fit the projection on every speaker of some corpora, and write it."""
    corpora = [embeddings_of(read_recordings(folder), seed) for folder in folders]
    mean, axes = fit(corpora)
    np.savez_compressed(output, mean=mean, axes=axes)
    typer.echo(f"{output}: {sum(map(len, corpora))} speakers, {output.stat().st_size / 1e3:.0f} kB")


def _pieces(audio: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """The audio in equal pieces of at most PIECE samples."""
    yield from np.array_split(audio, -(-len(audio) // PIECE))


def _windows(audio: NDArray[np.float32], detector: SpeechDetector) -> Iterator[NDArray[np.float32]]:
    """Windows as `LocalDiariser` cuts them: one every UNIT of an island, with up to LONGEST of it."""
    islands, _ = detector.hear(audio, 0, SpeechState.fresh())
    for island in islands:
        for end in range(island.start + UNIT, island.end + 1, UNIT):
            yield audio[max(island.start, end - round(LONGEST * SAMPLE_RATE)) : end]


if __name__ == "__main__":
    typer.run(main)
