from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.emotion import HEAD, METADATA, WEIGHTS, EmotionHead
from pipeline.features import SETTINGS
from pipeline.timeline import EMOTIONS
from tests.training.synthetic import TINY, answers, fragments
from training.config import Training
from training.corpora import Labelled
from training.evaluate import Evaluation, evaluate
from training.export import VERSION, card, export, write_metadata, write_plots
from training.plots import NoBrowser
from training.tone_net import tone_net
from training.train import Trained

CONFIG = Training(tone_net=TINY, runs=Path("/nowhere"), workers=2)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    sexes = {"a": "female", "b": "male", "c": "female", "d": "male"}
    return evaluate(answers(), (("a", "b"), ("c", "d")), sexes, 1, 0.7)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A network that nobody has trained."""
    network = tone_net(TINY)
    size = network.output.shape[-1]
    alone, known = np.random.default_rng(1).standard_normal((2, size + 1, len(EMOTIONS))).astype(np.float32)
    return Trained(network, EmotionHead("", 0.0, alone, known, (1.0, 1.0)))


def test_what_was_exported_is_the_model_with_its_calibration(
    trained: Trained, evaluation: Evaluation, tmp_path: Path
) -> None:
    trained.network.save(tmp_path / WEIGHTS)
    np.savez(tmp_path / HEAD, alone=trained.head.alone, known=trained.head.known)
    output = tmp_path / "deep" / "model"
    export(tmp_path, evaluation, CONFIG, output)
    assert {path.name for path in output.iterdir()} == {WEIGHTS, HEAD, METADATA, "README.md"}
    loaded = Trained.load(output)
    assert loaded.head.version == VERSION
    assert loaded.head.temperatures == evaluation.calibration.temperatures
    assert loaded.head.unsure_below == evaluation.calibration.unsure_below
    np.testing.assert_array_equal(loaded.head.alone, trained.head.alone)
    np.testing.assert_array_equal(loaded.head.known, trained.head.known)
    heard = fragments()
    np.testing.assert_allclose(loaded.embed(heard), trained.embed(heard), rtol=1e-4, atol=1e-5)


def test_beside_the_weights_stands_what_serving_and_readers_need(evaluation: Evaluation, tmp_path: Path) -> None:
    write_metadata(evaluation.calibration, CONFIG, {"d", "a"}, tmp_path, evaluation=evaluation.as_dict())
    metadata = json.loads((tmp_path / METADATA).read_text())
    assert metadata["emotions"] == list(EMOTIONS)
    assert metadata["features"] == SETTINGS
    assert metadata["licence"].startswith("CC BY-NC-SA 4.0")
    assert metadata["speakers"] == ["a", "d"]
    assert metadata["evaluation"]["hearing"]["whole"]["full"]["fragments"] == 4 * len(EMOTIONS) * 3
    assert metadata["recipe"]["tone_net"]["channels"] == [4, 4, 4, 4]
    assert not {"runs", "workers", "gpus", "corpus_root", "folds"} & metadata["recipe"].keys(), "where it was made"


def test_a_card_has_every_figure_in_it(trained: Trained, evaluation: Evaluation) -> None:
    text = card(trained.network, evaluation, CONFIG)
    assert "$" not in text
    assert VERSION in text
    assert str(evaluation.hearing["2 s"]["causal"].uar) in text


def test_the_card_of_another_corpus_tells_nothing_of_ravdess(trained: Trained, evaluation: Evaluation) -> None:
    text = card(trained.network, evaluation, CONFIG.model_copy(update={"corpus": "labelled"}))
    assert Labelled.description in text
    for words in ("North American", "What was tried", "CC BY-NC-SA"):
        assert words in card(trained.network, evaluation, CONFIG)
        assert words not in text


def test_the_card_s_four_plots_are_drawn(
    evaluation: Evaluation, tmp_path: Path, chromium: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TONETRACK_CHROMIUM", chromium)
    paths = write_plots(answers(), evaluation, tmp_path)
    assert [path.name for path in paths] == ["confusion.svg", "reliability.svg", "by-seconds.svg", "coverage.svg"]
    assert all(path.stat().st_size > 1_000 for path in paths)


def test_without_a_browser_there_are_no_plots(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TONETRACK_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoBrowser):
        write_plots(answers(), evaluation, tmp_path)
    assert not list(tmp_path.iterdir())
