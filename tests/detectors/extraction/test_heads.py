"""The arithmetic of the heads against independent implementations, and the price of looking often."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from detectors.clients.betabinomial import Rate, beta_binomial_log_sf
from detectors.extraction.baseline import fit_rate, scatter
from detectors.extraction.heads import t_squared
from detectors.extraction.tails import Heard, Tail
from detectors.extraction.verdict import HEAD_SHARES, Apart, _agreed, share_unlike


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


@pytest.mark.parametrize("farther", [None, 5.0])
def test_a_tail_falls_without_end_and_can_be_asked_backwards(farther):
    honest = list(np.random.default_rng(1).lognormal(0.0, 0.4, 100))
    tail = Tail.fit(honest) if farther is None else Tail.fit(honest, [farther * v for v in honest])
    values = [tail.log_p(v * tail.shown.beyond) for v in (1.0, 2.0, 200.0)]
    assert tail.log_p(0.5 * tail.shown.middle) == pytest.approx(0.0)
    assert all(a > b for a, b in pairwise([0.0, *values]))
    for log_p in (-1.0, -3.0, -9.0):
        assert tail.log_p(tail.at(log_p)) == pytest.approx(log_p, abs=1e-6)
    assert Tail.of_row(tail.to_row()) == tail


def test_without_unshown_sorts_the_tail_begins_at_the_rank_it_is_learned_from():
    tail = Tail.fit(list(np.random.default_rng(1).lognormal(0.0, 0.4, 100)))
    assert tail.log_p(tail.shown.beyond) == pytest.approx(np.log(4 / 101))


def test_p_values_of_new_honest_clients_are_as_rare_as_they_say():
    rng = np.random.default_rng(2)
    tails = [Tail.fit(list(rng.lognormal(0.0, 0.5, 100))) for _ in range(60)]
    for level in (0.1, 0.01, 0.001):
        share = np.mean([tail.log_p(v) <= np.log(level) for tail in tails for v in rng.lognormal(0.0, 0.5, 500)])
        assert share <= 1.3 * level


def test_a_sort_of_client_that_was_made_up_widens_the_tail():
    honest = list(np.random.default_rng(3).lognormal(0.0, 0.3, 100))
    assert Tail.fit(honest, [30.0] * 50).log_p(30.0) > Tail.fit(honest).log_p(30.0)


def test_a_sort_that_the_reference_does_not_show_is_as_frequent_as_the_rule_of_succession_has_it():
    rng = np.random.default_rng(4)
    honest, made_up = list(rng.lognormal(0.0, 0.3, 100)), list(rng.lognormal(3.0, 0.3, 200))
    tail = Tail.fit(honest, made_up)
    assert np.exp(tail.log_p(7.0)) == pytest.approx(1 / 101, rel=0.1)
    assert np.exp(tail.log_p(float(np.quantile(made_up, 0.9)))) == pytest.approx(0.1 / 101, rel=0.2)


def test_two_heads_do_not_count_twice_how_rare_an_unshown_sort_is():
    rng = np.random.default_rng(5)
    tail = Tail.fit(list(rng.lognormal(0.0, 0.3, 100)), list(rng.lognormal(3.0, 0.3, 200)))
    heard = tail.heard(21.0)
    assert heard.log_p < np.log(0.01)
    assert heard.unshown == pytest.approx(np.log(0.5), abs=0.3)
    assert _agreed(heard, 1.0, heard) == pytest.approx(-np.log(heard.weight))
    assert _agreed(heard, 1.0, Heard.alone(-1.0)) == pytest.approx(0.0, abs=1e-12)


def test_a_tail_that_is_softened_says_so_many_times_less():
    tail = Tail.fit(list(np.random.default_rng(1).lognormal(0.0, 0.4, 100)))
    for value in (1.0, 2.0, 20.0):
        beyond = value * tail.shown.beyond
        assert tail.softened(1.5).log_p(beyond) == pytest.approx(tail.log_p(beyond) / 1.5)


def test_the_share_of_queries_chosen_to_keep_apart_is_a_lower_bound():
    rng = np.random.default_rng(6)
    for chosen in (0.0, 0.3, 0.9):
        apart = rng.binomial(400, 1.0 - 0.25 * (1.0 - chosen), 300) / 400
        told = [Apart(float(share), 0.75, 400).chosen for share in apart]
        assert np.mean(np.array(told) > chosen + 1e-9) < 0.05
    assert Apart(1.0, 0.75, 400).chosen > 0.8
    assert Apart(1.0, 0.75, 10).chosen == 0.0


def test_the_shares_of_the_heads_sum_to_one():
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
    commoner = np.zeros(d)
    commoner[6:8] = -0.3 * np.array([0.75, 0.9])
    assert share_unlike(commoner, centre, 1e9) == pytest.approx(0.3, abs=1e-3)
