"""All the choices that make a model, with reasons. A TOML file overrides it; unknown keys are refused."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from training.corpora import default_data

RAVDESS_FOLDS = (
    ("01", "11", "20"),
    ("04", "10", "12", "14"),
    ("08", "09", "19"),
    ("03", "05", "07"),
    ("02", "15", "16", "18"),
    ("06", "13", "17"),
)


class TrainingConfig(BaseModel):
    """The whole recipe. The same seed and the same data give the same model on the same machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    corpus: str = "ravdess"
    data: Path = Field(default_factory=default_data)  # the folder that holds the corpus's own folder
    cache: Path = Path(tempfile.gettempdir()) / "tonetrack-training"  # features; nothing of a corpus enters the project
    folds: tuple[tuple[str, ...], ...] = RAVDESS_FOLDS  # speakers held out together; any others train in every fold
    seed: int = 1
    workers: int = Field(default=1, ge=1)  # folds trained at once, each in a process of one thread

    # What a fragment is. Serving hears the last 1 to 3 s of a turn, so that is what training hears.
    shortest: float = 1.0  # s; training on cuts, not on whole clips, is what makes one second enough
    longest: float = 3.0  # s
    margin: float = 0.1  # s of quiet kept at either end of a clip's speech, as voice activity detection leaves it
    variants: int = Field(default=12, ge=1)  # cuts made of each clip; an epoch takes one of them at random

    # What happens to a cut before its features are taken: actors in a studio become voices in a room.
    speeds: tuple[float, ...] = (
        0.9,
        1.0,
        1.1,
    )  # resampling, so tempo and pitch move together as they do between people
    room_share: float = 0.5  # of the cuts are heard in a small synthetic room
    noise_share: float = 0.5  # of the cuts lie over noise
    noise: tuple[float, float] = (15.0, 35.0)  # dB of speech over noise, from a fan nearby to a quiet office

    # TIM-Net. At 24 ms a frame, six scales of two kernels of two reach 127 frames, 3 s, either way: all of the
    # longest fragment that training hears.
    channels: int = 64  # 208,000 parameters; twice the channels would cost four times the time
    scales: int = 6
    kernel_size: int = 2  # the paper's
    dropout: float = 0.15  # the paper's 0.1 and half as much again, for the test is on actors never heard

    # Optimisation. The last epoch is the one that counts: choosing one on held-out actors would flatter the figure.
    epochs: int = 45
    batch: int = 24
    learning_rate: float = 5e-3  # peak; up to it for a twentieth of the steps, then a cosine down to nothing
    weight_decay: float = 0.02
    label_smoothing: float = 0.1  # the paper's
    longest_gap: int = 12  # frames; up to so many in a row, twice a fragment, give way to the mean

    # When to answer "unsure".
    asserted_accuracy: float = 0.75  # the least confidence is asserted at which this share of assertions is right

    @classmethod
    def read(cls, path: Path) -> TrainingConfig:
        """The recipe in a TOML file; whatever it leaves out keeps its default."""
        return cls.model_validate(tomllib.loads(path.read_text()))

    @property
    def corpus_root(self) -> Path:
        """The folder of the corpus itself."""
        return self.data / self.corpus
