from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.baseline import SpeakerBaseline
from pipeline.timeline import EMOTIONS
from tests.training.synthetic import TINY, fragments
from training.config import ToneNetRecipe
from training.fragments import Fragments
from training.train import Trained, train

pytestmark = pytest.mark.long  # a network takes its time to be traced, however small it is

SEED = 5
TWO: ToneNetRecipe = TINY.model_copy(update={"members": 2})


class Stopped(Exception):
    """What ends a run before its time."""


@dataclass
class Pair:
    """Two networks trained side by side, and the numbers of the epochs that were told meanwhile."""

    trained: Trained
    epochs: list[int]


@pytest.fixture(scope="module")
def heard() -> Fragments:
    return fragments(clips=8)


@pytest.fixture(scope="module")
def pair(heard: Fragments) -> Pair:
    epochs: list[int] = []
    return Pair(train(heard, TWO, SEED, on_epoch=lambda epoch, loss: epochs.append(epoch)), epochs)


def of_member(trained: Trained, member: int) -> tuple[np.ndarray, np.ndarray]:
    """What a member of two gives to the logits for unknown and for known voices: the maps without their biases."""
    size = trained.head.size // 2
    rows = slice(member * size, (member + 1) * size)
    return trained.head.alone[rows], trained.head.known[rows]


def test_members_are_told_of_one_after_another(pair: Pair) -> None:
    assert pair.epochs == [1, 2, 3, 4]


def test_the_head_of_two_says_the_mean_of_what_each_would_say_alone(heard: Fragments, pair: Pair) -> None:
    """The second member is the network that its own seed gives."""
    second = train(heard, TINY, 1000 + SEED)
    for ours, theirs in zip(of_member(pair.trained, 1), (second.head.alone, second.head.known), strict=True):
        np.testing.assert_allclose(2 * ours, theirs[:-1], rtol=1e-3, atol=1e-4)
    both, alone = pair.trained.embed(heard), second.embed(heard)
    np.testing.assert_allclose(both[:, alone.shape[1] :], alone, rtol=1e-3, atol=1e-3)
    first = of_member(pair.trained, 0)[0]
    assert not np.allclose(2 * first, second.head.alone[:-1], atol=1e-2)


def test_a_head_answers_for_known_and_unknown_voices_and_has_no_temperature_yet(pair: Pair) -> None:
    head = pair.trained.head
    assert head.alone.shape == head.known.shape == (head.size + 1, len(EMOTIONS))
    assert head.temperatures == (1.0, 1.0)
    assert head.size == 2 * (TINY.embedding + TINY.projection)
    assert head.probabilities(np.zeros(head.size, np.float32), SpeakerBaseline.unknown(head.size)).shape == (8,)


def test_fragments_are_embedded_in_their_own_order(heard: Fragments, pair: Pair) -> None:
    embeddings = pair.trained.embed(heard, batch=5)
    assert embeddings.shape == (len(heard), pair.trained.head.size)
    for number in (0, 7, len(heard) - 1):
        alone = pair.trained.network(heard.padded(np.array([number])), training=False)
        np.testing.assert_allclose(embeddings[number], np.asarray(alone)[0], rtol=1e-4, atol=1e-4)


@pytest.fixture
def stopped(heard: Fragments, tmp_path: Path) -> Path:
    """Where the checkpoints of a run lie that was stopped in its third epoch of four, the second member's first."""

    def stop(epoch: int, loss: float) -> None:
        if epoch == 3:
            raise Stopped

    with pytest.raises(Stopped):
        train(heard, TWO, SEED, tmp_path, stop)
    return tmp_path


def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_been(heard: Fragments, pair: Pair, stopped: Path) -> None:
    epochs: list[int] = []
    again = train(heard, TWO, SEED, stopped, lambda epoch, loss: epochs.append(epoch))
    assert epochs == [4]
    for ours, theirs in zip(again.network.weights, pair.trained.network.weights, strict=True):
        if "seed" not in ours.path:
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-4, err_msg=ours.path)
    np.testing.assert_allclose(again.head.known, pair.trained.head.known, rtol=1e-3, atol=1e-4)


def test_the_functionals_are_standardised_over_the_training_fragments(heard: Fragments, pair: Pair) -> None:
    (first, _) = (layer for layer in pair.trained.network.layers if isinstance(layer, keras.Model))
    standardised = np.asarray(first.get_layer("functionals_standardised")(heard.functionals))
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=1e-3)
