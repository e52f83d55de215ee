from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from training.config import RAVDESS_FOLDS, TrainingConfig


def test_a_file_overrides_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "short.toml"
    file.write_text("epochs = 3\nnoise = [10.0, 20.0]\n")
    config = TrainingConfig.read(file)
    assert (config.epochs, config.noise, config.batch) == (3, (10.0, 20.0), TrainingConfig().batch)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "typo.toml"
    file.write_text("epoch = 3\n")
    with pytest.raises(ValidationError, match=r"epoch\n  Extra inputs are not permitted"):
        TrainingConfig.read(file)


def test_every_actor_is_held_out_once() -> None:
    actors = [actor for fold in RAVDESS_FOLDS for actor in fold]
    assert sorted(actors) == [f"{actor:02}" for actor in range(1, 21)]
