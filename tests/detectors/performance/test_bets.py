"""Every bet is fair for every mean loss that is tolerated, by enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from detectors.performance.bets import LossBets, dispersion, dispersion_between

RIGHT_OR_WRONG = np.array([0.0, 1.0])


def designed(levels, masses, temper=1.0, tolerance=0.02, n=None):
    masses = np.asarray(masses, dtype=float)
    return LossBets.design(np.asarray(levels), masses, masses.sum() if n is None else n, temper, tolerance)


@pytest.mark.parametrize("masses", [[900, 100], [50, 0], [30, 30], [5, 95], [99_000, 1_000]])
def test_a_bet_on_right_and_wrong_is_exactly_fair_at_the_null_and_loses_below_it(masses):
    bets = designed(RIGHT_OR_WRONG, masses)
    for rate, fair in ((bets.null, 1.0), (bets.null * 0.9, None), (0.0, None)):
        payment = np.exp(bets.log_ratios) @ np.array([1 - rate, rate])
        assert np.all(payment <= 1 + 1e-12)
        if fair is not None:
            assert payment == pytest.approx(np.ones(len(bets.log_ratios)))
    worse = min(bets.null + 0.1, 1.0)
    assert np.any(np.exp(bets.log_ratios) @ np.array([1 - worse, worse]) > 1)


def test_bets_on_a_graded_loss_are_fair_for_every_distribution_with_a_tolerated_mean():
    levels = np.array([0.0, 0.1, 0.3, 0.6, 1.0])
    bets = designed(levels, [400, 300, 200, 80, 20], tolerance=0.03)
    ratios = np.exp(bets.log_ratios)
    tried = 0
    for weights in product(range(6), repeat=5):
        if not sum(weights):
            continue
        p = np.array(weights) / sum(weights)
        if p @ levels <= bets.null:
            tried += 1
            assert np.all(ratios @ p <= 1 + 1e-12)
    assert tried > 100


def test_the_evidence_of_several_events_is_fair_by_enumeration():
    """All outcomes of six events at the null: the mean product of payments is one."""
    bets = designed(RIGHT_OR_WRONG, [180, 20])
    mean = np.zeros(len(bets.log_ratios))
    for wrongs in product((0, 1), repeat=6):
        k = sum(wrongs)
        mean += bets.null**k * (1 - bets.null) ** (6 - k) * np.exp(bets.log_ratios @ np.array([6 - k, k]))
    assert mean == pytest.approx(np.ones(len(mean)))


def test_tempering_keeps_bets_below_fair():
    bets = designed(RIGHT_OR_WRONG, [900, 100], temper=3.0)
    assert np.all(np.exp(bets.log_ratios) @ np.array([1 - bets.null, bets.null]) < 1)


def test_small_references_tolerate_more():
    nulls = [designed(RIGHT_OR_WRONG, np.array([0.9, 0.1]) * n).null for n in (50, 500, 50_000)]
    errors = [float(np.sqrt(0.09 / n)) for n in (50, 500, 50_000)]
    assert nulls[0] == pytest.approx(0.1 + 2.5 * errors[0])
    assert nulls[1] == pytest.approx(0.1 + max(0.02 + errors[1], 2.5 * errors[1]))
    assert nulls[2] == pytest.approx(0.12 + errors[2])


def test_losses_that_come_in_spells_are_overdispersed():
    rng = np.random.default_rng(0)
    time = np.arange(4_000) / 5.0
    spells = np.repeat(rng.random(80) < 0.2, 50)
    loss = (rng.random(4_000) < np.where(spells, 0.5, 0.05)).astype(float)
    assert dispersion(loss, time, 10.0) > 5
    assert dispersion(rng.permutation(loss), time, 10.0) < 2
    assert dispersion_between(loss, np.repeat(np.arange(80), 50).astype(object)) > 5
    assert dispersion_between(loss, None) == 1.0
