"""Calibration: chances rise with confidence, and their intervals hold the truth on held-out and on shifted traffic."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.performance.calibration import N_BINS, N_FOLDS, Calibration, confidence_edges
from tests.detectors.performance.worlds import fitted, logistic, sums_of

CONFIDENCE = np.linspace(0.5, 0.99, N_BINS)


def counts(rng, chance, n=4_000):
    """Events and right answers by fold, for (k, N_BINS) true chances."""
    k = len(chance)
    cell = rng.integers(0, k * N_BINS, n)
    right = rng.random(n) < chance.ravel()[cell]
    fold = np.arange(n) * N_FOLDS // n
    shape = (N_FOLDS, k, N_BINS)
    at = fold * k * N_BINS + cell
    events = np.bincount(at, minlength=np.prod(shape)).reshape(shape)
    return events, np.bincount(at[right], minlength=np.prod(shape)).reshape(shape)


def test_an_overconfident_model_is_put_right():
    truth = np.stack([0.5 + 0.6 * (CONFIDENCE - 0.5)] * 2)
    calibration = Calibration.fit(*counts(np.random.default_rng(0), truth, 20_000), CONFIDENCE)
    assert np.all(np.diff(calibration.chance, axis=1) >= 0)
    assert np.abs(calibration.chance - truth).max() < 0.06
    assert calibration.chance[0, -1] < CONFIDENCE[-1] - 0.15
    assert calibration.error < 0.01


def test_a_class_with_enough_labels_has_a_curve_of_its_own():
    truth = np.stack([CONFIDENCE, CONFIDENCE - 0.3])
    events, right = counts(np.random.default_rng(1), truth, 20_000)
    apart = Calibration.fit(events, right, CONFIDENCE).chance
    assert np.abs(apart - truth).mean() < 0.03
    scarce = np.zeros_like(events)
    scarce[:, 0], scarce[0, 1, 3] = events[:, 0], 20
    one = Calibration.fit(scarce, np.minimum(right, scarce), CONFIDENCE).chance
    assert one[1] == pytest.approx(
        Calibration.fit(scarce, np.minimum(right, scarce), CONFIDENCE).without[5, 1], abs=0.05
    )
    assert np.abs(one[0] - one[1]).max() < 0.02


def test_confidence_that_means_nothing_still_gives_the_average():
    truth = np.full((1, N_BINS), 0.8)
    calibration = Calibration.fit(*counts(np.random.default_rng(2), truth), CONFIDENCE)
    mean, error = calibration.expected_right(np.full((1, N_BINS), 50))
    assert mean == pytest.approx(0.8, abs=2.5 * error)
    assert np.ptp(calibration.chance) < 0.15


def test_a_calibration_that_fails_on_held_out_blocks_says_so():
    """The meaning of confidence changes half way through the reference: the chances cannot hold for both halves."""
    truth = np.stack([CONFIDENCE])
    events, right = counts(np.random.default_rng(3), truth, 8_000)
    turned = right.copy()
    turned[: N_FOLDS // 2] = (events - right)[: N_FOLDS // 2]
    assert Calibration.fit(events, right, CONFIDENCE).error < 0.02
    spread = Calibration.fit(events, turned, CONFIDENCE)
    assert (
        spread.expected_right(events.sum(axis=0))[1]
        > 3 * Calibration.fit(events, right, CONFIDENCE).expected_right(events.sum(axis=0))[1]
    )


def test_edges_are_finest_where_confidence_is_low():
    edges = confidence_edges(np.linspace(0, 1, 10_001))
    assert len(edges) == N_BINS - 1
    assert np.all(np.diff(edges) > 0)
    assert edges[0] == pytest.approx(0.005)
    assert np.diff(edges)[0] < np.diff(edges)[-1]


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 1.5])
def test_intervals_hold_the_truth_when_inputs_move(shift):
    """40 references of 4,000 events, 2,000 events each of moved traffic: accuracy, macro F1 and AUC, nominal 95 %."""
    inside = {"accuracy": 0, "macro F1": 0, "ROC AUC": 0}
    bias = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        detector = fitted(logistic(4_000, rng))
        sums = sums_of(detector, logistic(2_000, rng, shift))
        for row in detector.measure.metrics(sums, sums):
            inside[row["name"]] += row["estimated_low"] <= row["measured"] <= row["estimated_high"]
        first = detector.measure.metrics(sums, sums)[0]
        bias.append(first["estimated"] - first["measured"])
    assert all(n >= 34 for n in inside.values()), inside
    assert abs(np.mean(bias)) < 0.006
