from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from training.config import Augmentation, ToneNetRecipe, Training


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_file_overrides_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    recipe = Training.read(
        written(
            tmp_path,
            """
            seed = 7
            corpus_root = "elsewhere"
            [fragments]
            places = 2
            [augmentation]
            noise_ratio = [5, 20]
            [tone_net]
            channels = [8, 16, 16, 24]
            epochs = 3
            """,
        )
    )
    assert (recipe.seed, recipe.corpus_root) == (7, Path("elsewhere"))
    assert recipe.fragments == Training().fragments.model_copy(update={"places": 2})
    assert recipe.augmentation == Augmentation(noise_ratio=(5.0, 20.0))
    assert recipe.tone_net == ToneNetRecipe(channels=(8, 16, 16, 24), epochs=3)
    assert recipe.tim_net == Training().tim_net


@pytest.mark.parametrize(
    ("text", "where"),
    [("epochs = 3", "epochs"), ("[tone_net]\nepoch = 3", r"tone_net\.epoch"), ("[noise]\nratio = 1", "noise")],
)
def test_an_unknown_key_is_refused_wherever_it_stands(text: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=rf"(?m)^{where}\n  Extra inputs are not permitted"):
        Training.read(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('model = "other"', "model"),
        ("workers = 0", "workers"),
        ("asserted = 1.5", "asserted"),
        ("[fragments]\nshortest = 0", r"fragments\.shortest"),
        ('[tone_net]\nchannels = ["a"]', r"tone_net\.channels\.0"),
        ("[tone_net]\nclips = 1", r"tone_net\.clips"),
        ("[tim_net]\nbatch = 0", r"tim_net\.batch"),
    ],
)
def test_a_value_that_cannot_be_is_refused(text: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=rf"(?m)^{where}$"):
        Training.read(written(tmp_path, text))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("room", 1.1),
        ("speeds", ()),
        ("speeds", (0.4,)),
        ("opus_bitrates", (4_000,)),
        ("noise_ratio", (20, 10)),
        ("overdrive", (9, 1)),
        ("telephone", 0.95),
        ("echo", 0.1),
    ],
)
def test_an_augmentation_that_cannot_be_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=rf"{field}|one line at a time"):
        Augmentation.model_validate({field: value})


def test_a_recipe_comes_back_from_json_as_it_was() -> None:
    recipe = Training(folds=Path("folds.json"), tone_net=ToneNetRecipe(lengths=(1.0, 2.0)))
    assert Training.model_validate(recipe.model_dump(mode="json")) == recipe


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Training().tone_net.epochs = 3
