from __future__ import annotations

import re
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.baseline import SpeakerBaseline
from pipeline.features import MEL_BANDS, frames_in
from pipeline.functionals import COUNT
from pipeline.timeline import EMOTIONS, SAMPLE_RATE
from tests.training.synthetic import TINY
from training.config import ToneNetRecipe
from training.tone_net import AgainstSpeaker, together, tone_net, with_heads

SECOND = frames_in(SAMPLE_RATE)


def lived_in(network: keras.Model, seed: int) -> keras.Model:
    """The network with weights as if it had been trained: no mean is 0 and no deviation 1."""
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    network.get_layer("functionals_standardised").adapt(rng.normal(1, 2, (50, COUNT)).astype(np.float32))
    return network


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return lived_in(tone_net(TINY), seed=1)


def inputs(batch: int, frames: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "frames": rng.standard_normal((batch, frames, MEL_BANDS)).astype(np.float32),
        "heard": np.ones((batch, frames), bool),
        "functionals": rng.standard_normal((batch, COUNT)).astype(np.float32),
    }


def answer(network: keras.Model, heard: dict[str, np.ndarray]) -> np.ndarray:
    return keras.ops.convert_to_numpy(network(heard, training=False))


def test_an_embedding_has_the_numbers_of_both_ears(network: keras.Model) -> None:
    assert answer(network, inputs(3, SECOND)).shape == (3, TINY.embedding + TINY.projection)


def test_both_ears_count(network: keras.Model) -> None:
    heard, other = inputs(2, SECOND), inputs(2, SECOND, seed=2)
    of_frames = answer(network, heard | {"frames": other["frames"]}) != answer(network, heard)
    of_functionals = answer(network, heard | {"functionals": other["functionals"]}) != answer(network, heard)
    assert of_frames[:, : TINY.embedding].any()
    assert not of_frames[:, TINY.embedding :].any()
    assert of_functionals[:, TINY.embedding :].any()
    assert not of_functionals[:, : TINY.embedding].any()


@pytest.mark.parametrize("frames", [SECOND, SECOND - 1, SECOND - 2, SECOND - 3, 20])
def test_padding_never_changes_the_answer(frames: int, network: keras.Model) -> None:
    alone = inputs(2, frames)
    padded = inputs(2, 3 * SECOND, seed=2) | {"functionals": alone["functionals"]}
    padded["frames"][:, :frames] = alone["frames"]
    padded["heard"][:, frames:] = False
    np.testing.assert_allclose(answer(network, padded), answer(network, alone), rtol=1e-4, atol=1e-4)


def test_a_fragment_is_set_against_its_speaker_as_in_serving() -> None:
    rng = np.random.default_rng(1)
    embeddings = rng.normal(1, 2, (6, 5)).astype(np.float32)
    history = np.array([2.0, 0, 1.5, 30, 0, 0], np.float32)
    against = np.asarray(AgainstSpeaker(3)(embeddings, history))
    for rows in (slice(0, 3), slice(3, 6)):
        baseline = SpeakerBaseline.of(embeddings[rows], history[rows])
        expected = np.stack([baseline.normalise(embedding) for embedding in embeddings[rows]])
        np.testing.assert_allclose(against[rows], expected, rtol=1e-3, atol=1e-3)


def test_eight_seconds_of_a_speaker_weigh_as_much_as_everybody() -> None:
    against = np.asarray(AgainstSpeaker(2)(np.array([[1.0], [3.0]], np.float32), np.array([8.0, 0], np.float32)))
    deviation = np.sqrt((8 * 0.5**2 + 8) / 16)
    np.testing.assert_allclose(against[:, 0], [0.5 / deviation, 2.5 / deviation], rtol=1e-3)


def test_heads_answer_for_known_and_unknown_voices(network: keras.Model) -> None:
    model = with_heads(network, TINY)
    heard = inputs(TINY.clips, SECOND)
    nothing = model(heard | {"history": np.zeros(TINY.clips, np.float32)}, training=False)
    known = model(heard | {"history": np.ones(TINY.clips, np.float32)}, training=False)
    assert {name: tuple(logits.shape) for name, logits in known.items()} == dict.fromkeys(
        ("alone", "known", "alone_frames", "known_frames"), (TINY.clips, len(EMOTIONS))
    )
    np.testing.assert_array_equal(nothing["alone"], known["alone"])
    assert not np.allclose(nothing["known"], known["known"])
    kernel, bias = model.get_layer("alone").get_weights()
    np.testing.assert_allclose(known["alone"], answer(network, heard) @ kernel + bias, rtol=1e-4, atol=1e-4)


def test_networks_together_answer_side_by_side_and_one_alone_as_it_is(network: keras.Model) -> None:
    other = lived_in(tone_net(TINY, name="other"), seed=2)
    heard = inputs(3, SECOND)
    both = np.concatenate([answer(network, heard), answer(other, heard)], axis=1)
    np.testing.assert_allclose(answer(together([network, other]), heard), both, rtol=1e-5, atol=1e-5)
    assert together([network]) is network


def test_a_saved_network_needs_nothing_but_keras(network: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    both = together([network, lived_in(tone_net(TINY, name="other"), seed=2)])
    both.save(path)
    with zipfile.ZipFile(path) as file:
        modules = set(re.findall(r'"module": "(\w+)', file.read("config.json").decode()))
    assert modules <= {"keras", "builtins"}
    loaded = keras.saving.load_model(path, compile=False)
    heard = inputs(2, SECOND)
    np.testing.assert_allclose(answer(loaded, heard), answer(both, heard), rtol=1e-5, atol=1e-6)


def test_the_default_recipe_is_below_4_mb() -> None:
    recipe = ToneNetRecipe()
    assert recipe.members * tone_net(recipe).count_params() * 4 < 4_000_000
