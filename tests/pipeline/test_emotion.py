from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import features
from pipeline.baseline import PRIOR_SECONDS, SpeakerBaseline
from pipeline.emotion import (
    BATCHES,
    CIRCUMPLEX,
    LONGEST,
    METADATA,
    SHIPPED,
    WEIGHTS,
    EmotionHead,
    EmotionModel,
    ModelMismatch,
    affect,
    label_of,
    mixed,
    sizes,
)
from pipeline.features import features_of
from pipeline.timeline import EMOTIONS, SAMPLE_RATE, UNSURE
from tests.service import Pcm

SIZE = 5  # numbers in an embedding of the small heads below


@pytest.fixture(scope="module")
def model() -> EmotionModel:
    return EmotionModel.load()


@pytest.fixture(scope="module")
def shipped_head() -> EmotionHead:
    return EmotionHead.load()


def voice(seconds: float, pitch: float = 150.0, gain: int = 1) -> Pcm:
    """A buzz with vibrato over a little noise, so many times as loud."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * pitch * time + 3 * np.sin(2 * np.pi * 4 * time)
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 20))
    noise = np.random.default_rng(0).standard_normal(len(time))
    return np.round(buzz * (1.2 + np.sin(7 * time)) * 1_000 + 20 * noise).astype(np.int16) * np.int16(gain)


def a_head(alone: int = 1, known: int = 2, unsure_below: float = 0.0) -> EmotionHead:
    """A small head; the same numbers make the same maps."""
    maps = [np.random.default_rng(seed).standard_normal((SIZE + 1, 8)).astype(np.float32) for seed in (alone, known)]
    return EmotionHead("test", unsure_below, maps[0], maps[1], (1.5, 0.7))


def an_embedding(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)


def spoken(seconds: float) -> SpeakerBaseline:
    """Of somebody who has said so much, in a voice of their own."""
    embeddings = np.random.default_rng(9).normal(1, 2, (20, SIZE)).astype(np.float32)
    return SpeakerBaseline.of(embeddings, np.full(20, seconds / 20))


def certain(emotion: str) -> np.ndarray:
    return np.eye(len(EMOTIONS))[EMOTIONS.index(emotion)]


@pytest.mark.parametrize("seconds", [0.0, 0.5, 8.0, 600.0])
def test_probabilities_sum_to_1(seconds: float) -> None:
    probabilities = a_head().probabilities(an_embedding(), spoken(seconds))
    assert probabilities.shape == (8,)
    assert probabilities.dtype == np.float32
    assert probabilities.min() > 0
    assert probabilities.sum() == pytest.approx(1, abs=1e-6)


def test_both_maps_are_linear_and_the_second_hears_the_embedding_set_against_the_speaker() -> None:
    head, embedding, baseline = a_head(), an_embedding(), spoken(20)
    alone, known = head.logits(embedding, baseline)
    np.testing.assert_allclose(alone, np.append(embedding, 1) @ head.alone, atol=1e-5)
    np.testing.assert_allclose(known, np.append(baseline.normalise(embedding), 1) @ head.known, atol=1e-5)


def test_of_a_voice_that_nobody_knows_only_the_first_map_tells() -> None:
    unknown, embedding = SpeakerBaseline.unknown(SIZE), an_embedding()
    heard = a_head().probabilities(embedding, unknown)
    np.testing.assert_array_equal(a_head(known=3).probabilities(embedding, unknown), heard)
    assert np.abs(a_head(alone=3).probabilities(embedding, unknown) - heard).max() > 0.05


def test_of_a_well_known_voice_next_to_nothing_but_the_second_map_tells() -> None:
    known, embedding = spoken(1e6), an_embedding()
    heard = a_head().probabilities(embedding, known)
    np.testing.assert_allclose(a_head(alone=3).probabilities(embedding, known), heard, atol=1e-4)
    assert np.abs(a_head(known=3).probabilities(embedding, known) - heard).max() > 0.05


def test_the_maps_are_mixed_as_far_as_the_second_is_trusted() -> None:
    """Their log-probabilities are, so that .8 to .2 and .5 to .5 make 2 to 1 halfway: the roots of .4 and .1."""
    alone, known = np.log([0.8, 0.2]), np.log([0.5, 0.5])
    assert mixed(alone, known, 0.0, (1, 1)) == pytest.approx([0.8, 0.2])
    assert mixed(alone, known, 1.0, (1, 1)) == pytest.approx([0.5, 0.5])
    assert mixed(alone, known, 0.5, (1, 1)) == pytest.approx([2 / 3, 1 / 3])
    several = mixed(np.stack([alone] * 3), np.stack([known] * 3), np.array([0.0, 0.5, 1.0]), (1, 1))
    np.testing.assert_allclose(several, [[0.8, 0.2], [2 / 3, 1 / 3], [0.5, 0.5]], atol=1e-6)


def test_each_map_has_a_temperature_of_its_own() -> None:
    logits = np.log([16.0, 1.0])
    assert mixed(logits, logits, 0.0, (2, 4)) == pytest.approx([4 / 5, 1 / 5])
    assert mixed(logits, logits, 1.0, (2, 4)) == pytest.approx([2 / 3, 1 / 3])
    assert mixed(logits + 5, logits - 5, 1.0, (2, 4)) == pytest.approx([2 / 3, 1 / 3]), "only differences count"


def test_at_as_much_speech_as_the_prior_both_maps_count_the_same() -> None:
    head, embedding, baseline = a_head(), an_embedding(), spoken(PRIOR_SECONDS)
    halfway = mixed(*head.logits(embedding, baseline), 0.5, head.temperatures)
    np.testing.assert_allclose(head.probabilities(embedding, baseline), halfway, atol=1e-6)


def test_a_reading_says_what_it_was_set_against() -> None:
    head, embedding = a_head(), an_embedding()
    reading = head.reading(4, (1.5, 2.0), 1.9, embedding, spoken(12.5), "causal")
    assert (reading.turn, reading.start, reading.end, reading.heard) == (4, 1.5, 2.0, 1.9)
    assert (reading.mode, reading.baseline, reading.model) == ("causal", 12.5, "test")
    probabilities = head.probabilities(embedding, spoken(12.5))
    assert reading.probabilities == pytest.approx(probabilities.tolist(), abs=1e-4)
    assert (reading.valence, reading.arousal) == pytest.approx(affect(probabilities), abs=1e-3)
    assert reading.label == EMOTIONS[int(probabilities.argmax())]
    assert head.reading(4, (1.5, 2.0), 1.9, embedding, spoken(12.5), "full").mode == "full"


@pytest.mark.parametrize("mode", ["none", "causal", "full"])
def test_a_reading_against_nothing_says_so(mode: str) -> None:
    reading = a_head().reading(0, (0, 0.5), 0.5, an_embedding(), SpeakerBaseline.unknown(SIZE), mode)
    assert (reading.mode, reading.baseline) == ("none", 0)


def test_a_reading_that_is_not_likely_enough_is_unsure() -> None:
    embedding, baseline = an_embedding(), spoken(3)
    likeliest = float(a_head().probabilities(embedding, baseline).max())
    for margin, label in ((-0.01, True), (0.01, False)):
        reading = a_head(unsure_below=likeliest + margin).reading(0, (0, 1), 1, embedding, baseline, "causal")
        assert (reading.label != UNSURE) is label


def test_the_label_is_the_likeliest_emotion_or_unsure() -> None:
    probabilities = np.full(8, 0.05)
    probabilities[EMOTIONS.index("happy")] = 0.65
    assert label_of(probabilities, unsure_below=0.6) == "happy"
    assert label_of(probabilities, unsure_below=0.65) == "happy"
    assert label_of(probabilities, unsure_below=0.7) == UNSURE


def test_affect_is_the_mean_over_the_circumplex() -> None:
    assert affect(certain("angry")) == CIRCUMPLEX["angry"]
    assert affect(certain("neutral")) == (0, 0)
    valence, arousal = affect((certain("happy") + certain("sad")) / 2)
    assert (valence, arousal) == pytest.approx((0.1, 0.1))


def test_labels_and_heads_need_no_tensorflow() -> None:
    code = """
import sys
import numpy as np
from pipeline.baseline import SpeakerBaseline
from pipeline.emotion import EmotionHead, affect, label_of
head = EmotionHead("test", 0.5, np.ones((3, 8)), np.ones((3, 8)), (1, 1))
head.reading(0, (0, 1), 1, np.ones(2), SpeakerBaseline.unknown(2), "causal")
sys.exit(bool({"tensorflow", "keras"} & sys.modules.keys()))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("loaded", [EmotionModel, EmotionHead])
@pytest.mark.parametrize(
    ("what", "other", "told"),
    [("features", {**features.SETTINGS, "hop": 512}, "'hop': 512"), ("emotions", [*EMOTIONS, "bored"], "'bored'")],
)
def test_weights_for_other_features_or_emotions_are_refused(
    tmp_path: Path, loaded: type[EmotionModel] | type[EmotionHead], what: str, other: object, told: str
) -> None:
    metadata = {"emotions": list(EMOTIONS), "features": features.SETTINGS, what: other}
    (tmp_path / METADATA).write_text(json.dumps(metadata))
    with pytest.raises(ModelMismatch, match=told):
        loaded.load(tmp_path)


def test_an_embedding_for_every_fragment(model: EmotionModel) -> None:
    embeddings = model.embed([voice(0.5), voice(4.0), voice(1.7)])
    assert len(embeddings) == 3
    assert {(embedding.shape, embedding.dtype) for embedding in embeddings} == {(embeddings[0].shape, np.dtype("f4"))}
    assert np.abs(embeddings[0] - embeddings[2]).max() > 0.1
    assert model.embed([]) == []


@pytest.mark.parametrize("mates", [1, 2, 7, BATCHES[-1] + 4])
def test_batch_mates_make_no_difference(model: EmotionModel, mates: int) -> None:
    fragment = voice(1.3)
    (alone,) = model.embed([fragment])
    others = [voice(3.0, pitch=100.0 + 10 * mate) for mate in range(mates)]
    np.testing.assert_allclose(model.embed([fragment, *others])[0], alone, atol=1e-4)
    np.testing.assert_allclose(model.embed([*others, fragment])[-1], alone, atol=1e-4)


@pytest.mark.parametrize(
    ("count", "batches"),
    [(0, []), (1, [1]), (2, [1, 1]), (3, [4]), (5, [4, 1]), (8, [4, 4]), (9, [16]), (16, [16]), (23, [16, 4, 4])],
)
def test_less_than_half_a_batch_is_padding(count: int, batches: list[int]) -> None:
    assert list(sizes(count)) == batches


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.8])
def test_padding_makes_no_difference(model: EmotionModel, seconds: float) -> None:
    """The network is always given 2 s; what is not sound in them changes nothing."""
    import keras

    fragment = voice(seconds)
    heard = features_of(fragment.astype(np.float32))
    network = keras.saving.load_model(SHIPPED / WEIGHTS, compile=False)
    mask = np.ones((1, len(heard.frames)), bool)
    (exactly,) = np.asarray(network([heard.frames[None], mask, heard.functionals[None]], training=False))
    alone, beside_longer = model.embed([fragment])[0], model.embed([fragment, voice(3.0)])[0]
    np.testing.assert_allclose(alone, exactly, atol=1e-3)
    np.testing.assert_allclose(beside_longer, exactly, atol=1e-3)


@pytest.mark.parametrize("gain", [2, 6])
def test_level_makes_no_difference(model: EmotionModel, gain: int) -> None:
    quiet, loud = model.embed([voice(2.0), voice(2.0, gain=gain)])
    np.testing.assert_allclose(quiet, loud, atol=0.01)


def test_of_a_long_fragment_the_end_is_heard(model: EmotionModel) -> None:
    fragment = voice(6.0)
    whole, end, more = model.embed(
        [fragment, fragment[-round(LONGEST * SAMPLE_RATE) :], fragment[-3 * SAMPLE_RATE // 2 :]]
    )
    np.testing.assert_allclose(whole, end, atol=1e-4)
    assert np.abs(more - end).max() > 1e-2


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_silence_has_an_embedding_too(model: EmotionModel, seconds: float) -> None:
    (embedding,) = model.embed([np.zeros(round(seconds * SAMPLE_RATE), np.int16)])
    assert np.isfinite(embedding).all()


def test_warming_up_changes_no_answer(model: EmotionModel) -> None:
    (before,) = model.embed([voice(1.0)])
    model.warm_up()
    np.testing.assert_array_equal(model.embed([voice(1.0)])[0], before)


def test_the_shipped_head_tells_its_version_and_threshold(shipped_head: EmotionHead) -> None:
    assert shipped_head.version == "tone-net-1"
    assert 1 / 8 < shipped_head.unsure_below < 1
    assert min(shipped_head.temperatures) > 0


def test_the_shipped_head_and_model_belong_together(model: EmotionModel, shipped_head: EmotionHead) -> None:
    (embedding,) = model.embed([voice(2.0)])
    assert embedding.shape == (shipped_head.size,)
    assert shipped_head.alone.shape == shipped_head.known.shape == (shipped_head.size + 1, len(EMOTIONS))
    for baseline in (SpeakerBaseline.unknown(shipped_head.size), SpeakerBaseline.of(embedding[None], np.ones(1))):
        assert shipped_head.probabilities(embedding, baseline).sum() == pytest.approx(1, abs=1e-5)
