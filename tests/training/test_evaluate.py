from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy.special import log_softmax, softmax

from pipeline.baseline import SpeakerBaseline
from pipeline.emotion import EmotionHead
from pipeline.timeline import EMOTIONS
from tests.training.synthetic import answers, fragments
from training.crossvalidation import Answers, answer
from training.evaluate import (
    MODES,
    REFERENCE,
    Calibration,
    by_mode,
    calibrate,
    calibration_error,
    evaluate,
    evaluate_as_is,
    fit_temperature,
    hear,
    rates,
    within,
)
from training.fragments import CONDITIONS, WHOLE

FOLDS = (("a", "b"), ("c", "d"))
SEXES = {"a": "female", "b": "male", "c": "female", "d": None}


def certain(labels: list[int], confidence: list[float]) -> np.ndarray:
    """Probabilities with these likeliest emotions, so likely; the others share the rest: (n, 8)."""
    others = (1 - np.array(confidence)) / (len(EMOTIONS) - 1)
    probabilities = np.tile(others[:, None], len(EMOTIONS))
    probabilities[np.arange(len(labels)), labels] = confidence
    return probabilities.astype(np.float32)


def everywhere(made: Answers) -> np.ndarray:
    return np.ones(len(made.labels), bool)


def test_recall_is_counted_for_each_emotion() -> None:
    labels, speakers = np.array([0, 0, 0, 0, 1, 1]), np.array(["a", "a", "b", "b", "a", "b"])
    heard = hear(certain([0, 0, 0, 1, 1, 0], [0.9] * 6), np.ones(6, bool), labels, speakers, seed=0)
    assert heard.fragments == 6
    assert heard.recall == {"angry": 0.75, "calm": 0.5}
    assert [row[:3] for row in heard.confusion[:3]] == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert heard.uar.value == pytest.approx(0.625)
    assert heard.war.value == pytest.approx(4 / 6)
    assert heard.war.low <= heard.war.value <= heard.war.high
    assert heard.calibration_error == pytest.approx(0.9 - 4 / 6)


def test_what_is_unsure_is_judged_apart() -> None:
    labels, sure = np.array([0, 0, 0, 1, 1]), np.array([True, True, False, False, True])
    heard = hear(certain([0, 1, 0, 0, 1], [0.9, 0.8, 0.3, 0.2, 0.7]), sure, labels, np.array(["a"] * 5), seed=0)
    assert heard.asserted == pytest.approx(0.6)
    assert heard.asserted_war == pytest.approx(2 / 3)
    assert heard.unsure_war == pytest.approx(1 / 2)


def test_the_surest_seventy_percent_are_judged_whatever_is_asserted() -> None:
    confidence = np.linspace(1, 0.55, 10)
    heard = hear(
        certain([0] * 7 + [1] * 3, confidence.tolist()),
        np.zeros(10, bool),
        np.zeros(10, int),
        np.array(["a"] * 10),
        seed=0,
    )
    assert heard.surest_uar == 1
    assert heard.uar.value == pytest.approx(0.7)
    assert heard.asserted == 0
    assert np.isnan(heard.asserted_war)


def test_one_speaker_leaves_no_interval() -> None:
    uar, war = rates(np.array([0, 1]), np.array([0, 0]), np.array(["a", "a"]), seed=0)
    assert (uar.low, uar.value, uar.high) == (war.low, war.value, war.high) == (0.5, 0.5, 0.5)


def test_intervals_come_from_whole_speakers() -> None:
    labels = np.zeros(200, int)
    one_is_heard = np.repeat([0, 1], 100)
    of_two, of_many = np.repeat(["a", "b"], 100), np.arange(200).astype(str)
    _, war = rates(one_is_heard, labels, of_two, seed=0)
    assert (war.low, war.value, war.high) == (0, 0.5, 1)
    _, war = rates(one_is_heard, labels, of_many, seed=0)
    assert war.value == 0.5
    assert 0.4 < war.low < war.high < 0.6
    assert rates(one_is_heard, labels, of_many, seed=0)[1] == war


def test_the_temperature_that_made_the_labels_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, len(EMOTIONS)))
    chances = softmax(logits, axis=1)
    labels = (chances.cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)
    right = chances.argmax(axis=1) == labels
    assert calibration_error(chances.max(axis=1), right) < 0.01
    assert calibration_error(softmax(3 * logits, axis=1).max(axis=1), right) > 0.1


def test_each_map_gets_a_temperature_of_its_own_and_the_threshold_lets_the_share_pass() -> None:
    made = answers()
    once = calibrate(made, everywhere(made), 0.7)
    scaled = calibrate(replace(made, alone=2 * made.alone, full=5 * made.full), everywhere(made), 0.7)
    assert scaled.temperature_alone == pytest.approx(2 * once.temperature_alone, rel=1e-3)
    assert scaled.temperature_known == pytest.approx(5 * once.temperature_known, rel=1e-3)
    assert scaled.temperatures == (scaled.temperature_alone, scaled.temperature_known)
    clean = np.isin(made.conditions, CONDITIONS[:5])
    live = by_mode(made, once)["causal"][clean].max(axis=1)
    assert (live >= once.unsure_below).mean() == pytest.approx(0.7, abs=0.005)


def test_calibration_listens_to_clean_speech_alone() -> None:
    made = answers()
    adverse = ~np.isin(made.conditions, CONDITIONS[:5])
    spoilt = replace(made, labels=np.where(adverse, 0, made.labels))
    assert calibrate(spoilt, everywhere(made), 0.7) == calibrate(made, everywhere(made), 0.7)


def test_probabilities_are_those_that_serving_gives_in_each_mode() -> None:
    heard = fragments(places=1, cuts=1)
    rng = np.random.default_rng(1)
    alone, known = rng.standard_normal((2, 5, len(EMOTIONS))).astype(np.float32)
    head = EmotionHead("test", 0.3, alone, known, (0.7, 1.9))
    embeddings = rng.standard_normal((len(heard), 4)).astype(np.float32)
    made = answer(head, embeddings, heard, seed=1)
    probabilities = by_mode(made, Calibration(*head.temperatures, head.unsure_below))
    assert tuple(probabilities) == MODES
    for speaker in ("a", "b"):
        rows = np.flatnonzero(heard.speakers == speaker)
        in_order = rows[np.argsort(made.causal_trust[rows])]
        for number, row in enumerate(in_order):
            baselines = {
                "none": SpeakerBaseline.unknown(head.size),
                "causal": SpeakerBaseline.of(embeddings[in_order[:number]], heard.seconds[in_order[:number]]),
                "full": SpeakerBaseline.of(embeddings[rows], heard.seconds[rows]),
            }
            for mode, baseline in baselines.items():
                np.testing.assert_allclose(
                    probabilities[mode][row], head.probabilities(embeddings[row], baseline), rtol=1e-3, atol=1e-5
                )


def test_with_fewer_emotions_the_others_keep_their_proportions() -> None:
    made, calibration = answers(), Calibration(1.3, 0.8, 0.4)
    few = ["angry", "sad", "neutral"]
    ours = [EMOTIONS.index(emotion) for emotion in few]
    everything, fewer = by_mode(made, calibration), by_mode(within(made, few), calibration)
    for mode in MODES:
        assert not np.delete(fewer[mode], ours, axis=1).any()
        expected = log_softmax(np.log(everything[mode][:, ours]), axis=1)
        np.testing.assert_allclose(np.log(fewer[mode][:, ours]), expected, rtol=1e-3, atol=1e-4)


def as_sure_as_right(speakers: tuple[str, ...], tenths: int) -> Answers:
    """Answers of which so many tenths are right, and which all are as sure as that in every mode."""
    made = answers(speakers)
    heard = np.where(np.arange(len(made.labels)) % 10 < tenths, made.labels, (made.labels + 1) % len(EMOTIONS))
    logits = np.log(certain(heard.tolist(), [tenths / 10] * len(heard)))
    return replace(made, alone=logits, causal=logits, full=logits)


def test_a_fold_is_judged_by_what_the_other_folds_ask_for() -> None:
    """Each by the other's threshold: of the surer fold everything passes, and nothing of the other."""
    made = Answers.joined([as_sure_as_right(FOLDS[0], 8), as_sure_as_right(FOLDS[1], 3)])
    heard = evaluate(made, FOLDS, SEXES, 1, 0.7).hearing[REFERENCE]
    assert {of_mode.asserted for of_mode in heard.values()} == {0.5}
    assert heard["none"].asserted_war == pytest.approx(0.8, abs=0.05)
    assert heard["none"].unsure_war == pytest.approx(0.3, abs=0.05)


def test_a_fold_s_own_labels_do_not_change_its_probabilities() -> None:
    made = answers()
    mine = np.isin(made.speakers, FOLDS[0])
    changed = replace(made, labels=np.where(mine, (made.labels + 1) % len(EMOTIONS), made.labels))
    assert calibrate(changed, ~mine, 0.7) == calibrate(made, ~mine, 0.7)
    assert calibrate(changed, mine, 0.7) != calibrate(made, mine, 0.7)


def test_an_evaluation_judges_every_condition_mode_speaker_and_sex() -> None:
    made = answers()
    evaluation = evaluate(made, FOLDS, SEXES, 1, 0.7)
    assert set(evaluation.hearing) == set(CONDITIONS)
    assert evaluation.calibration == calibrate(made, everywhere(made), 0.7)
    assert evaluation.folds == FOLDS
    assert evaluation.speakers == 4
    whole = made.conditions == WHOLE
    for speaker in "abcd":
        here = whole & (made.speakers == speaker)
        uar, _ = rates(made.alone[here].argmax(axis=1), made.labels[here], made.speakers[here], 1)
        assert evaluation.by_speaker[speaker]["none"] == pytest.approx(uar.value)
    assert list(evaluation.by_sex) == ["female", "male"]
    assert evaluation.by_sex["male"]["full"].value == evaluation.by_speaker["b"]["full"]
    assert evaluation.hearing[REFERENCE]["none"].fragments == 4 * len(EMOTIONS) * 3


def test_a_finished_model_is_judged_with_the_calibration_that_it_has() -> None:
    made = answers()
    strict = evaluate_as_is(made, Calibration(1, 1, 1.01), SEXES, 1)
    lax = evaluate_as_is(made, Calibration(1, 1, 0), SEXES, 1)
    assert {heard.asserted for modes in strict.hearing.values() for heard in modes.values()} == {0}
    assert {heard.asserted for modes in lax.hearing.values() for heard in modes.values()} == {1}
    assert lax.folds == (("a", "b", "c", "d"),)
    assert lax.calibration.unsure_below == 0


def test_an_evaluation_is_told_as_json_and_as_tables() -> None:
    evaluation = evaluate(answers(), FOLDS, SEXES, 1, 0.7)
    figures = json.loads(json.dumps(evaluation.as_dict()))
    heard = evaluation.hearing["2 s, room"]["causal"]
    assert figures["hearing"]["2 s, room"]["causal"]["uar"]["value"] == heard.uar.value
    console = Console(file=io.StringIO(), width=80)
    evaluation.show(console)
    told = console.file.getvalue()
    for words in (
        "4 speakers",
        *CONDITIONS,
        *MODES,
        *EMOTIONS,
        "female",
        f"{heard.uar.low:.3f}-{heard.uar.high:.3f}".replace("0.", "."),
    ):
        assert words in told


def test_a_speaker_is_called_what_a_file_calls_them() -> None:
    evaluation = evaluate(answers(), FOLDS, SEXES, 1, 0.7)
    console = Console(file=io.StringIO(), width=80)
    replace(evaluation, by_speaker={"[/b]": dict.fromkeys(MODES, 0.5)}).show(console)
    assert "[/b]" in console.file.getvalue()
