"""Conversations put together from recordings of single speakers, with a record of who spoke when, and how.

    python -m training.simulate FOLDER OUTPUT --conversations 12

FOLDER is RAVDESS (`Actor_NN/...`), LibriSpeech (`SPEAKER-CHAPTER-UTTERANCE.flac`, flat or as published), or
anything with a sub-folder of recordings for each speaker. One seed gives one conversation, sample for sample.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import librosa
import numpy as np
import soundfile
import typer
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from pipeline.timeline import SAMPLE_RATE
from training.augment import REVERBERATION, TELEPHONE_BAND, in_room, over_noise
from training.corpora import Ravdess
from training.sound import SPEECH_RANGE, speech

Audio = NDArray[np.float32]

STEP = SAMPLE_RATE // 100  # samples between two frames of the level
SHORTEST_ISLAND = 8 * STEP  # samples; less is a click
SOFT_EDGE = SAMPLE_RATE // 20  # samples of speech around an island that are too soft to stand out


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """What a conversation is like. A pair of numbers is a range to draw from, evenly."""

    seconds: float = 180.0  # at most; a conversation also ends when there is nothing left to say
    gap: tuple[float, float] = (0.1, 1.0)  # s between turns: people answer each other fast
    overlap_share: float = 0.15  # turns that begin before the one before them ends
    overlap: tuple[float, float] = (0.2, 1.0)  # s by which they do, but never more than 40 % of either turn
    same_again: float = 0.1  # turns after which the same speaker goes on: a pause is no proof of a change
    turn: tuple[float, float] = (2.0, 6.0)  # s; longer recordings are cut into such where they are quietest
    level: float = -26.0  # dBFS of speech, as is usual in telephony
    gain: tuple[float, float] = (-3.0, 3.0)  # dB a speaker: some sit closer
    rooms: bool = True  # every speaker in a place of their own in a small room; False: dry
    noise: tuple[float, float] | None = (18.0, 28.0)  # dB below the talk: from an office to a study
    telephone: bool = False  # only TELEPHONE_BAND comes through
    pause: float = 0.5  # s; shorter pauses within a turn count as speech in the reference


ORDINARY = SimulationSettings()


class Recording(NamedTuple):
    """One speaker, alone, in one file."""

    path: Path
    speaker: str
    emotion: str | None = None  # in the spelling of `pipeline.timeline.EMOTIONS`, where it is known


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """What one speaker says at a stretch, in seconds from the conversation's first sample."""

    speaker: str
    start: float
    end: float
    emotion: str | None
    speech: tuple[tuple[float, float], ...]  # start and end of each island of speech within the turn
    source: str  # name of the recording

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end - self.start

    def later(self, by: float) -> SpokenTurn:
        """The same turn `by` seconds later, to the millisecond, which is a whole number of samples."""
        speech = tuple((round(start + by, 3), round(end + by, 3)) for start, end in self.speech)
        return replace(self, start=round(self.start + by, 3), end=round(self.end + by, 3), speech=speech)


@dataclass(frozen=True, slots=True)
class Conversation:
    """float32 (n,) at SAMPLE_RATE and all its turns, in order of their starts."""

    audio: Audio
    turns: tuple[SpokenTurn, ...]
    settings: SimulationSettings
    seed: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.audio) / SAMPLE_RATE

    @property
    def speakers(self) -> list[str]:
        """Everyone who speaks, by name."""
        return sorted({turn.speaker for turn in self.turns})

    def rttm(self, name: str) -> str:
        """The islands of speech as NIST RTTM, a line each, in order of time."""
        islands = sorted((*island, turn.speaker) for turn in self.turns for island in turn.speech)
        return "".join(
            f"SPEAKER {name} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
            for start, end, speaker in islands
        )

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.flac (16 bits), NAME.json (turns, emotions, settings) and NAME.rttm."""
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.flac", self.audio, SAMPLE_RATE, subtype="PCM_16")
        (folder / f"{name}.rttm").write_text(self.rttm(name))
        record = {
            "name": name,
            "seconds": self.seconds,
            "seed": self.seed,
            "settings": asdict(self.settings),
            "speakers": self.speakers,
            "turns": [asdict(turn) for turn in self.turns],
        }
        (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def read_recordings(folder: Path) -> dict[str, list[Recording]]:
    """All recordings under a folder, by speaker, in an order that never changes."""
    if any(folder.glob("Actor_*")):
        found = [Recording(clip.path, clip.speaker, clip.emotion) for clip in Ravdess(folder).clips()]
    else:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".flac", ".wav", ".ogg"})
        found = [Recording(path, _speaker_of(path.relative_to(folder))) for path in paths]
    if not found:
        raise FileNotFoundError(f"no recordings (.flac, .wav, .ogg) under {folder}")
    voices: dict[str, list[Recording]] = {}
    for recording in found:
        voices.setdefault(recording.speaker, []).append(recording)
    return voices


def _speaker_of(path: Path) -> str:
    """The sub-folder that a file lies in or, where there is none, its name up to the first dash."""
    return path.parts[0] if len(path.parts) > 1 else path.stem.split("-")[0]


def simulate(
    voices: Mapping[str, Sequence[Recording]], seed: int, settings: SimulationSettings = ORDINARY
) -> Conversation:
    """Let these speakers talk: everyone once, in a random order, then as the dice fall.

    No recording is used twice, and who has nothing left to say falls silent.
    """
    rng = np.random.default_rng(seed)
    names = [str(name) for name in rng.permutation(sorted(voices))]
    left = {name: _utterances(voices[name], settings, rng.spawn(1)[0]) for name in names}
    mix = np.zeros(round((settings.seconds + 1) * SAMPLE_RATE), np.float32)
    turns: list[SpokenTurn] = []
    while left:
        speaker = _next_speaker(list(left), turns, settings, rng)
        utterance = next(left[speaker], None)
        if utterance is None:
            del left[speaker]
            continue
        audio, turn = utterance
        turn = turn.later(_start(turn, turns, settings, rng))
        if turn.end > settings.seconds:
            break
        turns.append(turn)
        first = round(turn.start * SAMPLE_RATE)
        mix[first : first + len(audio)] += audio[: len(mix) - first]
    end = round((turns[-1].end + 0.5) * SAMPLE_RATE) if turns else 0
    return Conversation(_recorded(mix[:end], settings, rng), tuple(turns), settings, seed)


def _utterances(
    recordings: Sequence[Recording], settings: SimulationSettings, rng: Generator
) -> Iterator[tuple[Audio, SpokenTurn]]:
    """What a speaker has to say, as the microphone hears it: float32 (n,), and its turn, starting at 0."""
    gain = np.float32(10 ** ((settings.level + rng.uniform(*settings.gain)) / 20))
    place = int(rng.integers(2**32))
    for index in rng.permutation(len(recordings)):
        for audio, turn in _turns_in(recordings[index], settings):
            yield (_in_place(gain * audio, place) if settings.rooms else gain * audio), turn


def _in_place(audio: Audio, place: int) -> Audio:
    """The audio with its echo in and after it: float32, longer than before. One place, one echo."""
    echo = round(max(REVERBERATION) * SAMPLE_RATE)
    return in_room(np.pad(audio, (0, echo)), np.random.default_rng(place))


def _turns_in(recording: Recording, settings: SimulationSettings) -> Iterator[tuple[Audio, SpokenTurn]]:
    """A recording in turns: float32 (n,), whose speech has an RMS of 1, and the turn, starting at 0."""
    path, speaker, emotion = recording
    for piece in _cut(speech(path, margin=0.1), settings.turn):
        islands = _islands(piece, settings.pause)
        if not islands:
            continue
        first, last = islands[0][0], islands[-1][1]
        level = np.sqrt(np.mean(np.concatenate([piece[a:b] for a, b in islands]) ** 2))
        position = np.arange(last - first, dtype=np.float32)
        fades = np.clip(np.minimum(position, position[::-1]) / (0.005 * SAMPLE_RATE), 0, 1)  # no cut clicks
        spoken = tuple(((a - first) / SAMPLE_RATE, (b - first) / SAMPLE_RATE) for a, b in islands)
        turn = SpokenTurn(speaker, 0.0, spoken[-1][1], emotion, spoken, path.name)
        yield piece[first:last] * fades / level, turn


def _cut(audio: Audio, turn: tuple[float, float]) -> Iterator[Audio]:
    """Pieces of `turn` seconds, cut where it is quietest; what is no longer than that stays whole."""
    shortest, longest = (round(seconds * SAMPLE_RATE) for seconds in turn)
    while len(audio) > max(longest, 2 * shortest + STEP):
        middle = audio[shortest : min(longest, len(audio) - shortest)]
        level = librosa.feature.rms(y=middle, frame_length=12 * STEP, hop_length=STEP)[0]
        quietest = shortest + int(level[:-1].argmin()) * STEP
        yield audio[:quietest]
        audio = audio[quietest:]
    yield audio


def _islands(audio: Audio, pause: float) -> list[tuple[int, int]]:
    """First and last sample of each stretch of speech, with pauses shorter than `pause` seconds bridged."""
    loud = librosa.effects.split(audio, top_db=SPEECH_RANGE, frame_length=400, hop_length=STEP)
    islands: list[tuple[int, int]] = []
    for begin, end in loud[np.diff(loud)[:, 0] >= SHORTEST_ISLAND].tolist():
        begin, end = max(0, begin - SOFT_EDGE), min(len(audio), end + SOFT_EDGE)
        if islands and begin - islands[-1][1] < pause * SAMPLE_RATE:
            begin, _ = islands.pop()
        islands.append((begin, end))
    return islands


def _next_speaker(names: list[str], turns: list[SpokenTurn], settings: SimulationSettings, rng: Generator) -> str:
    fresh = [name for name in names if all(turn.speaker != name for turn in turns)]
    if fresh:
        return fresh[0]
    last = turns[-1].speaker
    others = [name for name in names if name != last]
    if last in names and (not others or rng.random() < settings.same_again):
        return last
    return others[rng.integers(len(others))]


def _start(turn: SpokenTurn, turns: list[SpokenTurn], settings: SimulationSettings, rng: Generator) -> float:
    """When the next turn begins, in seconds. It always ends after the turn before it."""
    gap = rng.uniform(*settings.gap)
    if not turns:
        return gap
    last = turns[-1]
    if turn.speaker == last.speaker or rng.random() >= settings.overlap_share:
        return last.end + gap
    return last.end - min(rng.uniform(*settings.overlap), 0.4 * last.seconds, 0.4 * turn.seconds)


def _recorded(mix: Audio, settings: SimulationSettings, rng: Generator) -> Audio:
    """What the microphone and the line make of the mix: noise, the telephone's band, and no clipping."""
    if settings.noise and len(mix):
        mix = over_noise(mix, rng.uniform(*settings.noise), rng)
    if settings.telephone and len(mix):
        band = butter(4, TELEPHONE_BAND, "bandpass", fs=SAMPLE_RATE, output="sos")
        mix = sosfiltfilt(band, mix).astype(np.float32)
    return mix / max(1.0, float(np.abs(mix).max(initial=0)) / 0.98)


def main(
    folder: Annotated[Path, typer.Argument(help="RAVDESS, LibriSpeech, or a sub-folder for each speaker.")],
    output: Annotated[Path, typer.Argument(help="Folder for NAME.flac, NAME.rttm and NAME.json of each.")],
    conversations: Annotated[int, typer.Option(min=1, help="How many.")] = 12,
    seconds: Annotated[float, typer.Option(min=5, help="The longest that one may be.")] = ORDINARY.seconds,
    fewest: Annotated[int, typer.Option(min=1, help="Speakers in the first conversation.")] = 2,
    most: Annotated[int, typer.Option(min=1, help="One more in each up to these, then again.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other conversations.")] = 1,
    clean: Annotated[bool, typer.Option("--clean", help="No overlaps, no rooms, no noise.")] = False,
    telephone: Annotated[bool, typer.Option("--telephone", help="Only 300 to 3400 Hz come through.")] = False,
) -> None:
    """Put conversations together from recordings of single speakers."""
    settings = replace(ORDINARY, seconds=seconds, telephone=telephone)
    if clean:
        settings = replace(settings, overlap_share=0.0, rooms=False, noise=None)
    voices = read_recordings(folder)
    rng = np.random.default_rng(seed)
    counts = itertools.cycle(range(fewest, max(fewest, most) + 1))
    for number, count in enumerate(itertools.islice(counts, conversations)):
        chosen = rng.choice(sorted(voices), size=min(count, len(voices)), replace=False).tolist()
        talk = simulate({name: voices[name] for name in chosen}, 1000 * seed + number, settings)
        name = f"conversation_{number:02d}"
        talk.save(output, name)
        typer.echo(f"{name}: {len(talk.speakers)} speakers, {len(talk.turns)} turns, {talk.seconds:.0f} s")


if __name__ == "__main__":
    typer.run(main)
