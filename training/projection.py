"""Fit the projection that turns the encoder's embeddings into voiceprints.

    python -m training.projection pipeline/models/voiceprint/projection.npz LIBRISPEECH RAVDESS

Linear discriminants (Fisher 1936): the SIZE directions in which speakers differ most for how much one speaker
varies, each with the same variance within, and no number of the embedding louder than another. What the service hears
is rarely as clean as a corpus, so every stretch of speech is heard in rooms and over noise first, and in windows as the
diariser cuts them. Calm reading teaches how voices differ, acted emotion what one voice can do, so both kinds of
corpora count the same, however large.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import scipy.linalg
import typer
from numpy.typing import NDArray

from pipeline import mel, voiceprint
from pipeline import speech as detection
from pipeline.diarisation import local
from pipeline.diarisation.local import UNIT
from pipeline.speech import SpeechDetector, SpeechState
from pipeline.timeline import SAMPLE_RATE
from pipeline.voiceprint import ENCODER, LONGEST, SIZE, VoiceEncoder
from training import augment, sound
from training.augment import in_room, over_noise
from training.simulate import Recording, read_recordings
from training.sound import speech

PIECE: Final = 4 * SAMPLE_RATE  # samples of a recording that are heard in one room
ROOMS: Final = 2  # that each piece is heard in
NOISE: Final = (14.0, 30.0)  # dB below the speech
SHRINKAGE: Final = 0.5  # of the mean variance, added within: few speakers make every other direction look reliable
CACHE: Final = Path.home() / ".cache" / "tonetrack" / "training"
MADE_BY: Final = (  # what is kept
    __file__,
    augment.__file__,
    sound.__file__,
    detection.__file__,
    local.__file__,
    mel.__file__,
    voiceprint.__file__,
)

Embeddings = Mapping[str, NDArray[np.float32]]


def embeddings_of(voices: Mapping[str, Sequence[Recording]], seed: int) -> Embeddings:
    """What the encoder makes of each speaker's recordings in rooms and noise: (windows, 192) a speaker."""
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
    path = _kept_embeddings(folder, cache, seed)
    if not path.exists():
        arrays: dict[str, Any] = dict(embeddings_of(read_recordings(folder), seed))
        _keep(path, arrays)
    with np.load(path) as stored:
        return dict(stored)


def without(left_out: Mapping[Path, Collection[str]], cache: Path) -> Path:
    """The file of a projection fitted on everyone under some folders but those who are named, kept in `cache`.

    `left_out`: for each corpus's folder the speakers of it who must not be heard, perhaps none. Two corpora may call
    different people by one name, which is why the folder comes first. The first call takes minutes; a file is made
    anew when the sound, the code or the speakers are others. Raises ValueError where somebody who is left out is not
    there: then the name is wrong, and the projection would know them.
    """
    kept = [_kept_embeddings(folder, cache, 1).name for folder in left_out]
    key = json.dumps([kept, [sorted(speakers) for speakers in left_out.values()]])
    path = cache / f"projection-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        corpora = []
        for folder, speakers in left_out.items():
            if strange := set(speakers) - read_recordings(folder).keys():
                raise ValueError(f"{folder} holds nobody called {', '.join(sorted(strange))}, to be left out")
            everybody = cached_embeddings(folder, cache)
            corpora.append({name: heard for name, heard in everybody.items() if name not in speakers})
        mean, axes = fit(corpora)
        _keep(path, {"mean": mean, "axes": axes})
    return path


def _kept_embeddings(folder: Path, cache: Path, seed: int) -> Path:
    """Where `cached_embeddings` keeps what it makes of a folder."""
    voices = read_recordings(folder)
    files = [(str(one.path), one.path.stat().st_size) for spoken in voices.values() for one in spoken]
    code = [Path(source).read_text() for source in MADE_BY]
    encoder = hashlib.sha256(ENCODER.read_bytes()).hexdigest()
    name = hashlib.sha256(json.dumps([files, seed, code, encoder]).encode()).hexdigest()[:16]
    return cache / f"embeddings-{name}.npz"


def _keep(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays so that whoever finds the file finds all of it, though two write it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(partial, **arrays)
    partial.replace(path)


def fit(corpora: Sequence[Embeddings]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """The mean (192,) and the axes (192, SIZE) of the projection, from the embeddings of each corpus."""
    between, within, middles = [], [], []
    spread = np.concatenate([embeddings for corpus in corpora for embeddings in corpus.values()]).std(0)
    for corpus in corpora:
        scaled = [(embeddings / spread).astype(float) for embeddings in corpus.values()]
        centres = np.stack([embeddings.mean(0) for embeddings in scaled])
        offsets = np.concatenate([embeddings - embeddings.mean(0) for embeddings in scaled])
        middles.append(centres.mean(0))
        between.append(centres - centres.mean(0))
        within.append(offsets.T @ offsets / len(offsets))
    speakers = np.concatenate(between)
    across = speakers.T @ speakers / (len(speakers) - len(corpora))
    inside = np.mean(within, axis=0)
    inside += SHRINKAGE * np.trace(inside) / len(inside) * np.eye(len(inside))
    _, axes = scipy.linalg.eigh(across, inside)  # the most telling ones last
    axes = axes[:, : -SIZE - 1 : -1] / spread[:, None]
    axes /= np.abs(axes).max()  # half precision does not reach far; voiceprints have unit length anyway
    return (np.mean(middles, axis=0) * spread).astype(np.float16), axes.astype(np.float16)


def main(
    output: Annotated[Path, typer.Argument(help="Where the projection goes (.npz).")],
    folders: Annotated[list[Path], typer.Argument(help="Corpora, as training.simulate reads them.")],
    seed: Annotated[int, typer.Option(help="Of the rooms and the noise.")] = 1,
    cache: Annotated[Path, typer.Option(help="Where embeddings are kept, which take minutes.")] = CACHE,
) -> None:
    """Fit the projection on every speaker of some corpora, and write it."""
    corpora = [cached_embeddings(folder, cache, seed) for folder in folders]
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
