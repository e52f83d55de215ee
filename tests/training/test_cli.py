from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.service import ROOT
from training.cli import app, recipe_of
from training.config import Training


def refused(*arguments: object) -> str:
    """What a command says that ends with a sentence in place of a traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.output.strip()


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_an_unknown_corpus_is_answered_with_those_there_are(tmp_path: Path) -> None:
    said = refused("train", "--output", tmp_path, "--corpus", "iemocap")
    assert said == "no corpus 'iemocap'; there are ravdess, emo-db, crema-d, labelled"


@pytest.mark.parametrize("command", [("train", "--output", "model"), ("evaluate", "emotion")])
def test_a_folder_that_is_not_there_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    said = refused(*command, "--corpus-root", tmp_path / "nowhere")
    assert said.startswith(f"no folder {tmp_path / 'nowhere'}: put the corpus ravdess there")


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in refused("evaluate", "emotion", "--weights", tmp_path / "nowhere")


def test_a_recipe_that_is_no_toml_or_not_there_cannot_be_read(tmp_path: Path) -> None:
    said = refused("train", "--output", tmp_path, "--config", written(tmp_path, "seed = "))
    assert said.startswith("The recipe cannot be read: Invalid value")
    said = refused("evaluate", "emotion", "--config", tmp_path / "nowhere.toml")
    assert said.startswith("The recipe cannot be read: ")
    assert "nowhere.toml" in said


def test_what_makes_no_sense_in_a_recipe_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, "[tone_net]\nepoch = 3\n[augmentation]\nnoise_ratio = [9, 1]\n")
    said = refused("evaluate", "emotion", "--config", file)
    assert said.startswith("The recipe does not make sense. ")
    assert "tone_net.epoch: Extra inputs are not permitted" in said
    assert "augmentation: Value error, noise_ratio (9.0, 1.0) is the lower end first, then the upper" in said


@pytest.mark.parametrize("option", [("--fold", 1), ("--protocol", "clips")])
def test_only_tim_net_has_folds_of_its_own(option: tuple[str, object]) -> None:
    assert refused("evaluate", "emotion", *option).startswith("--protocol and --fold are for --model tim-net")


def test_only_tone_net_is_trained_to_be_served(tmp_path: Path) -> None:
    file = written(tmp_path, 'model = "tim-net"')
    assert refused("train", "--output", tmp_path, "--config", file).startswith("Only tone-net is trained to be served")


def test_options_go_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "seed = 3\nworkers = 2\n[tone_net]\nepochs = 40\nmembers = 1\n")
    assert recipe_of(file, seed=None) == Training.read(file)
    recipe = recipe_of(file, seed=5, epochs=2, corpus=None)
    assert (recipe.seed, recipe.workers, recipe.corpus) == (5, 2, "ravdess")
    assert (recipe.tone_net.epochs, recipe.tone_net.members, recipe.tim_net.epochs) == (2, 1, 2)
    assert recipe_of(None, runs=None) == Training()


def test_an_option_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        recipe_of(None, workers=0)
    assert "workers: Input should be greater than or equal to 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["train"], ["evaluate"], *(["evaluate", what] for what in ("emotion", "conversation", "speakers"))]
)
def test_help_waits_for_no_heavy_library(command: list[str]) -> None:
    script = f"""
import sys
from typer.testing import CliRunner
from deployments.cli import app
result = CliRunner().invoke(app, {[*command, "--help"]})
assert result.exit_code == 0, result.output
assert "Usage: tonetrack {" ".join(command)}" in result.output, result.output
print(*({{"torch", "tensorflow", "keras", "ray", "librosa", "sklearn"}} & sys.modules.keys()))
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr
