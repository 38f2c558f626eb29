"""Metrics from counts against scikit-learn on the events, and their standard errors against repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score

from detectors.performance.metrics import figure, macro_f1, roc_auc, share


@pytest.mark.parametrize("k", [2, 3, 7])
def test_macro_f1_is_that_of_scikit_learn(k):
    rng = np.random.default_rng(k)
    predicted = rng.integers(0, k, 500)
    true = np.where(rng.random(500) < 0.7, predicted, rng.integers(0, k, 500))
    table = confusion_matrix(true, predicted).T.astype(float)
    assert macro_f1(table)[0] == pytest.approx(f1_score(true, predicted, average="macro"))


def test_classes_that_neither_were_predicted_nor_true_do_not_count():
    table = np.zeros((5, 5))
    table[:2, :2] = [[8, 2], [1, 9]]
    assert macro_f1(table)[0] == pytest.approx(macro_f1(table[:2, :2])[0])
    assert macro_f1(np.zeros((3, 3))) == (0.0, 0.0)


def test_auc_of_binned_scores_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    score = rng.integers(0, 12, 800)
    true = rng.random(800) < score / 14
    positive, negative = (np.bincount(score[true == side], minlength=12).astype(float) for side in (True, False))
    assert roc_auc(positive, negative)[0] == pytest.approx(roc_auc_score(true, score))
    assert roc_auc(positive, np.zeros(12)) == (0.5, 0.5)


def test_standard_errors_are_those_of_repeated_draws():
    rng = np.random.default_rng(1)
    rates = np.array([[0.4, 0.05, 0.01], [0.06, 0.2, 0.04], [0.02, 0.02, 0.2]])
    tables = rng.multinomial(600, rates.ravel(), size=1_500).reshape(-1, 3, 3).astype(float)
    found = np.array([macro_f1(table) for table in tables])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.15)
    positive = rng.multinomial(300, [0.05, 0.1, 0.2, 0.3, 0.35], size=1_500).astype(float)
    negative = rng.multinomial(300, [0.4, 0.25, 0.2, 0.1, 0.05], size=1_500).astype(float)
    found = np.array([roc_auc(p, n) for p, n in zip(positive, negative, strict=True)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.15)


def test_intervals_stay_in_range_and_around_their_value():
    assert share(0, 0).high == 1.0
    perfect = share(50, 50)
    assert (perfect.value, perfect.high) == (1.0, pytest.approx(1.0))
    assert 0.9 < perfect.low < 1.0
    assert (share(43, 50).low, share(43, 50).high) == (pytest.approx(0.738, abs=1e-3), pytest.approx(0.930, abs=1e-3))
    assert (figure(0.99, 0.1).high, figure(0.01, 0.1).low) == (1.0, 0.0)
