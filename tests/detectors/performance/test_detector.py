"""Performance: silent in honest traffic, quick where accuracy drops, and told by labels where the estimate is wrong."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from detectors.base import Kind, Level, Pane, Unfit
from detectors.batch import concatenate
from detectors.performance.detector import PerformanceDetector
from detectors.performance.numbers import NumberMeasure
from detectors.schema import infer_schema
from detectors.sketch import Sketch
from tests.detectors.performance.worlds import (
    PANE_S,
    PER_PANE,
    alarms,
    fitted,
    logistic,
    play,
    regression,
    sums_by_pane,
    sums_of,
    unlabelled,
    with_delay,
)

BEFORE = 60
"""Ordinary panes before the change."""


@pytest.fixture(scope="module")
def detector() -> PerformanceDetector:
    return fitted(logistic(4_000, np.random.default_rng(0)))


def changed(seed: int, panes: int, **change: float):
    """Ordinary traffic and then ``panes`` panes of changed traffic, as one batch."""
    rng = np.random.default_rng(seed)
    honest = logistic(BEFORE * PER_PANE, rng)
    return concatenate([honest, logistic(panes * PER_PANE, rng, start=BEFORE * PANE_S, **change)])


def test_a_drop_that_labels_show_alarms_and_says_what_was_measured(detector):
    """Labels turn over with the same inputs: the estimate sees nothing, the labels do."""
    batch = changed(1, 60, flip=0.15)
    readings = play(detector, sums_by_pane(detector, batch))
    found = alarms(readings)
    assert found
    assert BEFORE <= found[0] < BEFORE + 40
    alarm = readings[found[0]]
    assert alarm.kind is Kind.PERFORMANCE
    assert alarm.detail["basis"] == "measured"
    assert alarm.reason.startswith("Accuracy fell from 8")
    assert alarm.effect == pytest.approx(0.11, abs=0.05)
    assert alarm.effect_unit == "drop in accuracy"
    assert alarm.minimum_effect == 0.02
    assert abs(alarm.since - BEFORE * PANE_S) <= 10 * PANE_S
    accuracy = alarm.detail["metrics"][0]
    assert accuracy["name"] == "accuracy"
    assert accuracy["measured_low"] < accuracy["measured"] < accuracy["measured_high"] < accuracy["reference"]
    assert f"measured on {accuracy['n_labels']:,} labels" in alarm.reason
    assert alarm.detail["label_delay_s"] == 0.0


def test_without_labels_the_estimate_alarms_when_inputs_move_to_where_the_model_is_unsure(detector):
    batch = unlabelled(changed(2, 100, shift=1.0))
    readings = play(detector, sums_by_pane(detector, batch))
    found = alarms(readings)
    assert found
    assert BEFORE <= found[0] < BEFORE + 60
    alarm = readings[found[0]]
    assert alarm.detail["basis"] == "estimated"
    assert "is estimated at 8" in alarm.reason
    assert alarm.reason.endswith("in the reference; labels have not come yet.")
    accuracy = alarm.detail["metrics"][0]
    truth = logistic(20_000, np.random.default_rng(3), shift=1.0)
    assert accuracy["estimated_low"] <= (truth.prediction == truth.label).mean() <= accuracy["estimated_high"]
    assert (accuracy["measured"], accuracy["n_labels"]) == (None, 0)
    assert np.sum(alarm.detail["confusion"]["current"]) == pytest.approx(1.0, abs=1e-3)


def test_the_estimate_cannot_see_labels_that_change_their_meaning_and_labels_do_when_they_come(detector):
    batch = changed(4, 160, flip=0.15)
    assert alarms(play(detector, sums_by_pane(detector, unlabelled(batch)))) == []
    delay = 50
    readings = play(detector, with_delay(detector, batch, delay))
    found = alarms(readings)
    assert found
    assert BEFORE + delay <= found[0] < BEFORE + delay + 40
    assert readings[found[0]].detail["basis"] == "measured"
    assert readings[found[0]].detail["label_delay_s"] == pytest.approx(delay * PANE_S, rel=0.25)


def fine_whatever_the_inputs(batch, accuracy):
    """The model is right as often as ever, however unsure it is."""
    rng = np.random.default_rng(0)
    other = np.where(batch.prediction == "yes", "no", "yes")
    return replace(batch, label=np.where(rng.random(len(batch)) < accuracy, batch.prediction, other).astype(object))


def test_an_estimate_that_labels_do_not_bear_out_never_alarms(detector):
    batch = fine_whatever_the_inputs(changed(5, 200, shift=1.0), detector.measure.reference())
    readings = play(detector, sums_by_pane(detector, batch))
    assert alarms(readings) == []
    refuted = [reading for reading in readings if "is not borne out" in reading.reason]
    assert refuted
    assert "measured on" in refuted[0].reason
    assert alarms(play(detector, sums_by_pane(detector, unlabelled(batch))))


def test_labels_of_earlier_answers_do_not_settle_the_estimate(detector):
    """Labels come 80 panes late and are fine: they speak of the time before the inputs moved."""
    readings = play(detector, with_delay(detector, changed(2, 70, shift=1.0), 80))
    found = alarms(readings)
    assert found
    assert readings[found[0]].detail["basis"] == "estimated"
    assert "labels have not come yet" in readings[found[0]].reason


def test_labels_that_bear_the_estimate_out_let_it_count_on(detector):
    batch = changed(6, 120, shift=1.0)
    together = alarms(play(detector, sums_by_pane(detector, batch)))[0]
    alone = alarms(play(detector, with_delay(detector, batch, 0, share=0.0)))[0]
    assert together <= alone


def test_after_an_alarm_the_evidence_starts_over(detector):
    panes = sums_by_pane(detector, changed(1, 60, flip=0.3))
    readings = play(detector, panes)
    first = alarms(readings)[0]
    assert readings[first + 1].log_evidence < readings[first].log_evidence / 2


@pytest.mark.slow
def test_honest_streams_stay_within_the_budget():
    """8 references of 1,000 events, 1,200 panes each, threshold 200: at most 48 alarms are allowed."""
    n = 0
    for seed in range(8):
        judge = fitted(logistic(1_000, np.random.default_rng(seed)), 7 * 86_400 / PANE_S / 200, share=1.0)
        stream = logistic(1_200 * PER_PANE, np.random.default_rng(1_000 + seed))
        n += len(alarms(play(judge, sums_by_pane(judge, stream))))
    assert n <= 48


@pytest.mark.slow
def test_a_drop_of_five_points_is_found_within_ten_thousand_labels():
    delays = []
    for seed in range(8):
        judge = fitted(logistic(4_000, np.random.default_rng(seed)))
        readings = play(judge, sums_by_pane(judge, changed(100 + seed, 400, flip=0.0625)))
        found = alarms(readings)
        assert not found or found[0] >= BEFORE
        delays.append((found[0] - BEFORE) * PER_PANE if found else np.inf)
    assert np.median(delays) < 10_000


@pytest.mark.parametrize("seed", range(3))
def test_a_fall_within_the_tolerance_is_not_worth_an_alarm(detector, seed):
    assert alarms(play(detector, sums_by_pane(detector, changed(seed, 400, flip=0.02)))) == []


def test_quiet_readings_are_small_and_say_how_the_model_does(detector):
    reading = play(detector, sums_by_pane(detector, logistic(500, np.random.default_rng(1))))[-1]
    assert reading.level is Level.OK
    assert reading.since is None
    assert "confusion" not in reading.detail
    assert [row["name"] for row in reading.detail["metrics"]] == ["accuracy", "macro F1", "ROC AUC"]
    assert len(msgspec.json.encode(reading.detail)) < 2_000


def test_details_are_json(detector):
    for reading in play(detector, sums_by_pane(detector, changed(1, 40, flip=0.3))):
        assert msgspec.json.decode(msgspec.json.encode(reading.detail)) == reading.detail


def test_a_pane_without_answers_is_warming(detector):
    nothing = logistic(PER_PANE, np.random.default_rng(0))
    bare = replace(nothing, prediction=None, label=None, probabilities=None)
    reading = play(detector, [sums_of(detector, bare)])[0]
    assert reading.level is Level.WARMING
    assert np.isfinite(reading.log_evidence)


def test_a_joined_label_is_counted_as_label_and_not_as_answer(detector):
    batch = logistic(500, np.random.default_rng(7))
    together = sums_of(detector, batch)
    apart = with_delay(detector, batch, 0)
    for name in ("answers", "labelled", "right", "told"):
        assert np.array_equal(sum(sums[name] for sums in apart), together[name]), name


def test_a_regression_is_judged_by_its_error_once_labels_come():
    judge = fitted(regression(4_000, np.random.default_rng(0)))
    assert isinstance(judge.measure, NumberMeasure)
    rng = np.random.default_rng(1)
    stream = concatenate([regression(3_000, rng), regression(3_000, rng, worse=1.4, start=600.0)])
    readings = play(judge, sums_by_pane(judge, stream))
    found = alarms(readings)
    assert BEFORE <= found[0] < BEFORE + 20
    alarm = readings[found[0]]
    assert alarm.reason.startswith("Mean absolute error rose from ")
    assert alarm.effect == pytest.approx(0.4 * 5 * np.sqrt(2 / np.pi), rel=0.5)
    assert alarm.effect >= alarm.minimum_effect == pytest.approx(0.02 * judge.measure.scale)
    (row,) = alarm.detail["metrics"]
    assert (row["name"], row["estimated"]) == ("mean absolute error", None)
    assert alarms(play(judge, sums_by_pane(judge, regression(20_000, np.random.default_rng(2))))) == []
    assert play(judge, sums_by_pane(judge, unlabelled(stream)))[-1].level is Level.WARMING


def test_a_regression_says_that_it_cannot_be_estimated():
    part = PerformanceDetector.fit(batch := regression(500, np.random.default_rng(0)), infer_schema(batch), PANE_S, 0)
    assert "cannot be told without its label" in part.facts["no_estimate"]


def test_a_classifier_without_probabilities_is_measured_and_not_estimated():
    def bare(batch):
        return replace(batch, probabilities=None, classes=())

    judge = fitted(bare(logistic(4_000, np.random.default_rng(0))))
    assert judge.estimated_bets is None
    readings = play(judge, sums_by_pane(judge, bare(changed(1, 60, flip=0.15))))
    assert alarms(readings)[0] >= BEFORE
    assert [row["name"] for row in readings[0].detail["metrics"]] == ["accuracy", "macro F1"]


def test_many_classes_share_the_other_class():
    rng = np.random.default_rng(0)
    n, k = 6_000, 30
    truth = rng.integers(0, k, n)
    said = np.where(rng.random(n) < 0.8, truth, rng.integers(0, k, n))
    batch = replace(
        logistic(n, rng),
        probabilities=None,
        classes=(),
        prediction=said.astype(str).astype(object),
        label=truth.astype(str).astype(object),
    )
    judge = fitted(batch)
    sums = sums_of(judge, batch)
    assert len(judge.measure.classes) == 20
    assert sums["right"].sum() == (said == truth).sum()
    assert sums["told"].shape == (21, 21)


def test_what_teaches_nothing_is_unfit_with_the_reason():
    batch = logistic(500, np.random.default_rng(0))
    none = PerformanceDetector.fit(unlabelled(batch), infer_schema(batch), PANE_S, 0)
    assert isinstance(none, Unfit)
    assert none.reason.startswith("the reference holds no labels")
    few = replace(batch, label=np.where(np.arange(500) < 7, batch.label, None))
    found = PerformanceDetector.fit(few, infer_schema(batch), PANE_S, 0)
    assert isinstance(found, Unfit)
    assert "7 answers with their labels; performance needs at least 50" in found.reason


def test_judging_leaves_the_pane_as_it_was(detector):
    sums = sums_of(detector, logistic(100, np.random.default_rng(0)))
    before = {name: array.copy() for name, array in sums.items()}
    detector.judge({}, Pane(0.0, PANE_S, 100, Sketch(sums)))
    assert all(np.array_equal(before[name], sums[name]) for name in sums)
