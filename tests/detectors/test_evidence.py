"""The arithmetic of evidence: exact means, monotone ratios, published run lengths."""

from __future__ import annotations

from itertools import product
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.evidence import accumulate, legendre_scores, log_mean, overdispersion, rate_bet, tilt_bet

MASSES = np.array([0.5, 0.3, 0.15, 0.05])


def tilted(masses: np.ndarray, scores: np.ndarray, strength: float) -> np.ndarray:
    weights = masses * np.exp(strength * scores)
    return weights / weights.sum()


def expected_ratio(truth: np.ndarray, bet: np.ndarray, n: int) -> float:
    """E[L] over every possible count vector of n events."""
    total = 0.0
    for counts in product(range(n + 1), repeat=len(truth)):
        if sum(counts) != n:
            continue
        ways = factorial(n) / np.prod([factorial(c) for c in counts])
        total += ways * np.prod(truth ** np.array(counts)) * np.exp(np.dot(counts, bet))
    return float(total)


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_tilt_bet_has_mean_one_at_the_edge_of_its_tolerance(n: int, sign: float) -> None:
    scores = legendre_scores(MASSES)[0]
    bet = tilt_bet(MASSES, scores, sign * 0.2, sign * 0.7)
    edge = tilted(MASSES, scores, sign * 0.2)
    assert expected_ratio(edge, bet, n) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("strength", [-1.0, -0.2, 0.0, 0.1, 0.2])
def test_a_tilt_bet_loses_on_every_drift_inside_its_tolerance(strength: float) -> None:
    scores = legendre_scores(MASSES)[0]
    bet = tilt_bet(MASSES, scores, 0.2, 0.7)
    assert expected_ratio(tilted(MASSES, scores, strength), bet, 4) <= 1.0 + 1e-12


@pytest.mark.parametrize(
    ("null", "alternative", "rates"), [(0.05, 0.2, (0.0, 0.02, 0.05)), (0.4, 0.1, (0.4, 0.7, 1.0))]
)
def test_a_rate_bet_loses_at_every_rate_on_the_nulls_side(null: float, alternative: float, rates: tuple[float]) -> None:
    bet = rate_bet(np.array([1.0, 0.0]), null, alternative)
    for rate in rates:
        assert expected_ratio(np.array([rate, 1 - rate]), bet, 4) <= 1.0 + 1e-12
    edge = expected_ratio(np.array([null, 1 - null]), bet, 4)
    assert edge == pytest.approx(1.0, abs=1e-12)


def test_scores_are_orthonormal_under_the_reference() -> None:
    location, spread = legendre_scores(MASSES)
    assert np.sum(MASSES * location) == pytest.approx(0, abs=1e-12)
    assert np.sum(MASSES * location**2) == pytest.approx(1)
    assert np.sum(MASSES * spread**2) == pytest.approx(1)
    assert np.sum(MASSES * location * spread) == pytest.approx(0, abs=1e-12)


def test_shiryaev_roberts_alarms_keep_to_panes_over_bound() -> None:
    """1,000 streams at the edge of the tolerance, 400 panes: alarms at B = 200 stay below 400 / 200 a stream."""
    rng = np.random.default_rng(3)
    scores = legendre_scores(MASSES)[0]
    bet = tilt_bet(MASSES, scores, 0.2, 0.7)
    edge = tilted(MASSES, scores, 0.2)
    evidence = np.full(1_000, -np.inf)
    alarms = 0
    for _ in range(400):
        counts = rng.multinomial(10, edge, size=len(evidence))
        evidence = accumulate(evidence, counts @ bet)
        alarmed = evidence >= np.log(200)
        alarms += int(alarmed.sum())
        evidence[alarmed] = -np.inf
    rate = alarms / 1_000
    assert 0.2 < rate <= 2.0


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20))
@settings(max_examples=50)
def test_the_log_mean_agrees_with_the_plain_mean(values: list[float]) -> None:
    logs = np.array(values)
    weights = np.full(len(logs), 1 / len(logs))
    assert log_mean(logs, weights) == pytest.approx(np.log(np.mean(np.exp(logs))), abs=1e-9)


def test_independent_events_are_not_overdispersed_and_clustered_ones_are() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 20).astype(float)
    independent = rng.normal(size=4_000)
    clustered = independent + np.repeat(rng.normal(size=200), 20)
    assert overdispersion(independent, groups) < 1.4
    assert overdispersion(clustered, groups) == pytest.approx((1 + 20) / 2, rel=0.3)
