"""The arithmetic of the heads against independent implementations, and the price of looking often."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from detectors.extraction.baseline import fit_rate, scatter
from detectors.extraction.heads import BODY, Rate, Spread, beta_binomial_log_sf, t_squared
from detectors.extraction.verdict import HEAD_SHARES, look_share, share_unlike


@pytest.mark.parametrize(("k", "n", "a", "b"), [(1, 10, 0.5, 40.0), (7, 50, 0.6, 59.4), (50, 50, 2.0, 3.0)])
def test_beta_binomial_tail_agrees_with_scipy(k, n, a, b):
    expected = stats.betabinom.sf(k - 1, n, a, b)
    assert np.exp(beta_binomial_log_sf(k, n, a, b)) == pytest.approx(expected, rel=1e-6)


def test_no_hits_are_no_evidence():
    assert Rate(0.01, 60.0).log_p(0, 500) == 0.0
    assert Rate(0.01, 60.0).log_p(5, 0) == 0.0


def test_peers_with_a_high_rate_excuse_a_client():
    rate = Rate(0.01, 60.0)
    assert rate.log_p(60, 200) < -10
    assert rate.log_p(60, 200, peers_mean=0.3) > -3


def test_t_squared_discounts_directions_in_which_honest_clients_differ():
    y = np.array([1.0, 1.0])
    assert t_squared(y, np.array([10.0, 10.0]), 100) < t_squared(y, np.array([0.01, 0.01]), 100)


def test_the_tail_of_t_squared_falls_without_end():
    one = np.ones(1)
    spread = Spread(np.zeros(1), np.eye(1), one, np.array([1.0, 1e6]), np.ones(2), 2.0, 0.5, 0.2)
    values = [spread.log_p(r) for r in (1.0, 2.0, 2.01, 5.0, 50.0, 5_000.0)]
    assert values[:2] == [0.0, 0.0]
    assert values[2] < np.log(BODY) + 1e-9
    assert all(a > b for a, b in pairwise(values[1:]))


def test_the_prices_of_all_looks_sum_to_one():
    assert sum(look_share(k) for k in range(20_000)) == pytest.approx(1.0, abs=1e-3)
    assert sum(HEAD_SHARES) == pytest.approx(1.0)


def test_scatter_of_clients_that_do_not_differ_is_small_and_never_zero():
    rng = np.random.default_rng(0)
    same = [rng.normal(size=(200, 6)) for _ in range(60)]
    different = [rows + rng.normal(size=6) for rows in same]
    low, high = scatter(same)[1][1], scatter(different)[1][1]
    assert 0 < low.max() < 0.02
    assert high.min() > 0.2


def test_rates_that_differ_between_clients_are_fitted_wider():
    rng = np.random.default_rng(1)
    alike = [(int(rng.binomial(100, 0.05)), 100) for _ in range(60)]
    unlike = [(int(rng.binomial(100, rng.beta(0.2, 3.8))), 100) for _ in range(60)]
    assert fit_rate(alike, 0.05, 60, 60.0).concentration > fit_rate(unlike, 0.05, 60, 60.0).concentration


def test_share_unlike_is_the_share_of_a_mixture():
    d = 8 + 32
    mean, centre = np.zeros(d), np.zeros(d)
    mean[:8] = 0.3 * (1 - np.array([0.002, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9]))
    assert share_unlike(mean, centre, 1e9) == pytest.approx(0.3, abs=1e-3)
    assert share_unlike(mean, centre, 100) < 0.3
    assert share_unlike(centre, centre, 100) <= 0.0
