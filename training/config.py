"""All the choices that make a model, with reasons. A TOML file overrides them; unknown keys are refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


Seconds = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class _Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Augmentation(_Recipe):
    """How training varies a recording (`training.augment.varied`): how often each step is taken, and how far."""

    # Other tempos and pitches (Ko et al. 2015, Audio augmentation for speech recognition). Few, and no further than
    # two semitones or so, for tempo and pitch are also how an emotion sounds.
    speeds: Annotated[tuple[Annotated[float, Field(ge=0.5, le=2)], ...], Len(1)] = (0.88, 0.94, 1.0, 1.06, 1.12)
    room: Share = 0.4  # corpora are recorded in studios, talks are not; a headset is still a common case
    noise: Share = 0.5  # clean speech is half of what there is to hear
    noise_ratio: tuple[float, float] = (8.0, 35.0)  # dB of speech over noise, from a busy café to a quiet study
    equaliser: Share = 0.5  # a corpus has one microphone, its listeners have thousands
    band: Share = 0.25  # cheap microphones and noise suppression, often; most bands are full
    opus: Share = 0.1  # browsers send it; at these rates it changes little, so a few clips are enough
    opus_bitrates: Annotated[tuple[Annotated[int, Field(ge=6000)], ...], Len(1)] = (12_000, 16_000, 24_000, 32_000)
    telephone: Share = 0.1  # rare on a page, and the harshest of all
    overdriven: Share = 0.05  # features do not depend on the level, until it is too high for the microphone
    overdrive: tuple[float, float] = (1.0, 9.0)  # dB by which the peak is above what comes through

    @model_validator(mode="after")
    def _can_be_drawn(self) -> Augmentation:
        if self.opus + self.telephone > 1:
            raise ValueError(f"one line at a time: opus + telephone is {self.opus + self.telephone}, more than 1")
        for name in ("noise_ratio", "overdrive"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} {(low, high)} is the lower end first, then the upper")
        return self


class Fragments(_Recipe):
    """What of a corpus training hears. Serving hears the last 0.5 to 3 s of a turn, so training hears such cuts."""

    shortest: float = Field(0.8, gt=0)  # s; training on cuts, not on whole clips, is what makes one second enough
    longest: float = Field(3.0, gt=0)  # s
    margin: float = Field(0.1, ge=0)  # s of quiet kept at either end of a clip's speech, as voice detection leaves it
    places: int = Field(6, ge=1)  # each speaker is heard in: as recorded, and in so many less one other places
    cuts: int = Field(4, ge=1)  # of each clip in each place; an epoch takes one of them

    @model_validator(mode="after")
    def _can_be_cut(self) -> Fragments:
        if self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest} s) is longer than longest ({self.longest} s)")
        return self


class ToneNetRecipe(_Recipe):
    """The successor of TIM-Net: a small convolutional network beside functionals (`training.tone_net`)."""

    # The network. Small on purpose: few speakers teach it, and each of them the same few sentences.
    channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Len(2)] = (
        24,
        48,
        64,
        96,
    )  # of the convolutions over time and frequency
    temporal: int = 128  # channels of the last convolution, over time alone
    embedding: int = 64  # numbers from the frames
    projection: int = 64  # numbers from the functionals
    dropout: Share = 0.2
    functional_dropout: Share = 0.3  # functionals are many and noisy for so few speakers
    head_noise: Weight = 0.1  # added to embeddings and functionals, in their standard deviations

    # A batch is a few speakers, each in one place, with enough clips of each to know how they sound.
    speakers: int = Field(4, ge=1)
    clips: int = Field(16, ge=2)
    as_recorded: Share = 0.4  # of the speakers in a batch; the others are heard elsewhere
    lengths: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Len(1)] = (
        0.9,
        1.4,
        2.0,
        2.0,
        2.6,
    )  # s; all fragments of a batch are of one of these, in turn

    # SpecAugment (Park et al. 2019, arXiv 1904.08779) and mixup (Zhang et al. 2018, arXiv 1710.09412).
    masks: int = Field(2, ge=0)  # stretches of time, and as many of frequency, that give way to the mean
    longest_mask: Share = 0.125  # of a fragment, or of the bands
    mixup: Weight = 0.0  # both parameters of the beta distribution of shares; 0: none

    # Optimisation. The last epoch is the one that counts: choosing one on held-out speakers would flatter the figure.
    epochs: int = Field(100, ge=1)
    learning_rate: float = Field(
        3e-3, gt=0
    )  # peak; up to it for a twentieth of the steps, then a cosine down to nothing
    weight_decay: Weight = 0.02
    label_smoothing: Share = 0.1
    auxiliary: float = Field(
        0.5, ge=0
    )  # weight of a loss on the frames' part alone, or functionals leave it little to learn
    members: int = Field(1, ge=1)  # networks that differ by their seeds and answer together

    @property
    def epochs_in_all(self) -> int:
        """Of all members, one after another."""
        return self.epochs * self.members


class TimNetRecipe(_Recipe):
    """TIM-Net as its authors train it; every number is theirs (`training.tim_net`)."""

    epochs: int = Field(500, ge=1)
    batch: int = Field(64, ge=1)


class Training(_Recipe):
    """Everything. The same seed and the same data give the same model on the same machine, if nothing interrupts it."""

    model: Literal["tone-net", "tim-net"] = "tone-net"
    corpus: str = "ravdess"
    corpus_root: Path | None = None  # default: the corpus's own folder in $TONETRACK_DATA
    folds: Path | None = (
        None  # JSON lists of speakers; default: EmoBox's for RAVDESS (others dealt to them), else by seed
    )
    seed: int = Field(1, ge=0)
    workers: int = Field(1, ge=1)  # folds trained at once on this machine; a Ray cluster takes as many as fit
    gpus: float = Field(0, ge=0)  # of one fold
    runs: Path = Path.home() / ".cache" / "tonetrack" / "training"  # features, checkpoints, answers of folds

    fragments: Fragments = Fragments()
    augmentation: Augmentation = Augmentation()
    tone_net: ToneNetRecipe = ToneNetRecipe()
    tim_net: TimNetRecipe = TimNetRecipe()

    asserted: Share = 0.7  # the share of readings that are asserted; the rest are answered with "unsure"

    @classmethod
    def read(cls, path: Path) -> Training:
        """The recipe in a TOML file; whatever it leaves out keeps its default."""
        return cls.model_validate(tomllib.loads(path.read_text()))
