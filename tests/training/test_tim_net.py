from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from training.tim_net import COEFFICIENTS, FRAMES, RATE, SAMPLES, causal_convolution, mfcc, tim_net


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """The published network, untrained."""
    keras.utils.set_random_seed(0)
    return tim_net()


@pytest.fixture(scope="module")
def heard() -> np.ndarray:
    """Something of the size of MFCCs: (3, FRAMES, COEFFICIENTS)."""
    return 30 * noise(3 * FRAMES * COEFFICIENTS).reshape(3, FRAMES, COEFFICIENTS)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal(count).astype(np.float32)


def answers(model: keras.Model, heard: np.ndarray) -> np.ndarray:
    return np.asarray(model(heard, training=False))


def wav(path: Path, sound: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, sound, rate, subtype="FLOAT")
    return path


def test_it_answers_a_finite_logit_for_each_class(model: keras.Model, heard: np.ndarray) -> None:
    logits = answers(model, heard)
    assert logits.shape == (3, 8)
    assert np.isfinite(logits).all()
    assert logits.min() < 0  # as no probability is


def test_there_are_as_many_parameters_as_in_the_authors_network(model: keras.Model) -> None:
    # Theirs come to 0.41 MiB of float32, and their README says 0.40 MB.
    convolution = 2 * 39 * 39 + 39
    normalisation = 4 * 39
    block = 2 * (convolution + normalisation)
    chain = (39 * 39 + 39) + 8 * block
    assert model.count_params() == 2 * chain + 8 + (39 * 8 + 8) == 107_032


@pytest.mark.parametrize("frame", [0, 1, FRAMES // 2, FRAMES - 1])
def test_every_frame_counts(model: keras.Model, heard: np.ndarray, frame: int) -> None:
    changed = heard.copy()
    changed[:, frame] += 100
    assert not np.allclose(answers(model, changed), answers(model, heard), rtol=1e-3)


def test_the_order_of_the_frames_counts(model: keras.Model, heard: np.ndarray) -> None:
    assert not np.allclose(answers(model, heard[:, ::-1]), answers(model, heard), rtol=1e-3)


def test_with_its_chains_exchanged_it_hears_the_sound_backwards(heard: np.ndarray) -> None:
    model, other = tim_net(), tim_net()
    opposite = {"forward": "backward", "backward": "forward"}
    for layer in model.layers:
        direction, _, rest = layer.name.partition("_")
        if layer.weights:
            name = f"{opposite[direction]}_{rest}" if direction in opposite else layer.name
            other.get_layer(name).set_weights(layer.get_weights())
    np.testing.assert_allclose(answers(other, heard[:, ::-1]), answers(model, heard), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel_size", "dilation"), [(2, 1), (2, 16), (2, 128), (3, 4)])
def test_a_causal_convolution_is_that_of_conv1d(heard: np.ndarray, kernel_size: int, dilation: int) -> None:
    frames = keras.Input(heard.shape[1:])
    ours = keras.Model(frames, causal_convolution(frames, dilation, kernel_size, "ours"))
    theirs = keras.layers.Conv1D(COEFFICIENTS, kernel_size, dilation_rate=dilation, padding="causal")
    theirs.build(frames.shape)
    taps = [ours.get_layer(f"ours_{tap}") for tap in range(kernel_size)]
    taps[-1].bias.assign(noise(COEFFICIENTS))
    kernel = np.stack([np.asarray(tap.kernel) for tap in taps])
    theirs.set_weights([kernel, noise(COEFFICIENTS)])
    np.testing.assert_allclose(answers(ours, heard), np.asarray(theirs(heard)), rtol=1e-4, atol=1e-3)


def test_a_convolution_starts_as_conv1d_does() -> None:
    frames = keras.Input((FRAMES, COEFFICIENTS))
    ours = keras.Model(frames, causal_convolution(frames, 4, 2, "ours"))
    theirs = keras.layers.Conv1D(COEFFICIENTS, 2, dilation_rate=4, padding="causal")
    theirs.build(frames.shape)
    ours_largest = max(np.abs(tap).max() for tap in ours.get_weights())
    assert ours_largest == pytest.approx(np.abs(theirs.kernel).max(), rel=0.01)
    assert ours.count_params() == theirs.count_params()
    oldest, latest = (np.asarray(ours.get_layer(f"ours_{tap}").kernel) for tap in range(2))
    assert abs(np.corrcoef(oldest.ravel(), latest.ravel())[0, 1]) < 0.2


def test_a_sound_shorter_than_the_network_reaches_back_is_refused() -> None:
    with pytest.raises(ValueError, match="128 frames are too few for 8 scales"):
        tim_net(frames=128)


def test_a_saved_network_loads_and_answers_the_same(model: keras.Model, heard: np.ndarray, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(answers(loaded, heard), answers(model, heard), rtol=1e-5)


@pytest.mark.parametrize(("seconds", "rate"), [(1.5, 24_000), (7.0, 24_000), (3.0, 48_000)])
def test_features_are_of_one_size_whatever_the_file_s(tmp_path: Path, seconds: float, rate: int) -> None:
    features = mfcc(wav(tmp_path / "clip.wav", 0.1 * noise(round(seconds * rate)), rate))
    assert features.shape == (215, 39)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_a_short_file_is_padded_on_both_sides_alike(tmp_path: Path) -> None:
    sound = 0.1 * noise(30_001)
    alone = mfcc(wav(tmp_path / "alone.wav", sound))
    np.testing.assert_array_equal(alone, mfcc(wav(tmp_path / "wider.wav", np.pad(sound, 20_000))))
    assert not np.array_equal(alone, mfcc(wav(tmp_path / "earlier.wav", np.pad(sound, (0, 20_000)))))


def test_of_a_long_file_the_middle_is_heard(tmp_path: Path) -> None:
    middle = 0.1 * noise(SAMPLES)
    before, after = 0.9 * np.ones(10_000, np.float32), np.zeros(10_001, np.float32)
    long = mfcc(wav(tmp_path / "long.wav", np.concatenate([before, middle, after])))
    np.testing.assert_array_equal(long, mfcc(wav(tmp_path / "middle.wav", middle)))
