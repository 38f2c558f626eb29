"""The heads' arithmetic: exact tables, honest coupling, flip rates and the price of looking often."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from scipy import stats

from detectors.evasion.crowd import Crowd
from detectors.evasion.heads import LEAST_MOVES, Coupling, descent_log_p, table_log_p
from detectors.evasion.honest import Baseline, fit_flips, stretch_of
from detectors.evasion.tally import COUNTS, WIDTH, Tally
from detectors.evasion.verdict import HEAD_SHARES, examine, look_share

INDEPENDENT = Coupling(0.0, 1e-9)


def tally(**counts: int) -> Tally:
    vector = np.zeros(WIDTH, dtype=np.int64)
    for name, value in counts.items():
        vector[COUNTS.index(name)] = value
    return Tally(vector)


@pytest.mark.parametrize("table", [(5, 1, 2, 7), (0, 4, 3, 3), (9, 0, 0, 9), (3, 3, 3, 3)])
def test_without_coupling_a_table_is_fisher_s_exact_test(table):
    a, b, c, d = table
    expected = stats.fisher_exact([[a, b], [c, d]], alternative="greater").pvalue
    assert table_log_p(table, INDEPENDENT) == pytest.approx(np.log(expected), abs=1e-6)


def test_p_values_of_a_table_are_honest_by_enumeration():
    """With an honest odds ratio drawn as the coupling says, P(p <= level) <= level, given the margins."""
    coupling, liked, other, on = Coupling(0.3, 0.5), 9, 7, 8
    ks = range(max(0, on - other), min(liked, on) + 1)
    nodes = np.linspace(-5, 5, 2001)
    weights = np.exp(-0.5 * nodes**2) / np.exp(-0.5 * nodes**2).sum()
    ways = np.array([comb(liked, k) * comb(other, on - k) for k in ks], dtype=float)
    masses = ways * np.exp((0.3 + 0.5 * nodes)[:, None] * np.array(ks))
    chance = weights @ (masses / masses.sum(axis=1, keepdims=True))
    log_p = np.array([table_log_p((k, liked - k, on - k, other - on + k), coupling) for k in ks])
    for level in np.exp(log_p):
        assert chance[np.exp(log_p) <= level + 1e-12].sum() <= level * (1 + 1e-3)


def test_a_wider_coupling_asks_for_more():
    wide, narrow = (table_log_p((30, 5, 5, 30), Coupling(0.0, spread)) for spread in (1.0, 0.25))
    assert narrow < wide < -3


def test_an_empty_or_one_sided_table_says_nothing():
    for table in ((0, 0, 0, 0), (5, 0, 9, 0), (0, 5, 0, 9), (7, 3, 0, 0)):
        assert table_log_p(table, Coupling()) == 0.0


def test_a_huge_table_is_scaled_down_and_still_says_as_much_as_a_thousand_moves():
    assert table_log_p((90_000, 10_000, 10_000, 90_000), Coupling()) == pytest.approx(
        table_log_p((450, 50, 50, 450), Coupling())
    )


def test_coupling_is_found_among_honest_clients_and_one_attacker_does_not_move_it():
    rng = np.random.default_rng(0)
    odds = rng.normal(0.4, 0.6, 80)
    tables = []
    for value in odds:
        first = rng.binomial(100, 1 / (1 + np.exp(-value / 2)))
        second = rng.binomial(100, 1 / (1 + np.exp(value / 2)))
        tables.append((first, 100 - first, second, 100 - second))
    found = Coupling.fit(tables)
    assert found.centre == pytest.approx(0.4, abs=0.2)
    assert found.spread == pytest.approx(0.6, abs=0.15)
    spoilt = Coupling.fit([*tables, (100, 0, 0, 100)])
    assert abs(spoilt.spread - found.spread) < 0.1
    assert Coupling.fit(tables[:5]) == Coupling()


def test_flip_rates_follow_the_reference_and_never_forget_the_imagined_walkers():
    quiet = fit_flips([(0, 60)] * 30)
    restless = fit_flips([(k, 60) for k in (3, 9, 15, 6, 12) * 6])
    assert quiet.mean <= 0.02
    assert restless.mean == pytest.approx(0.15, abs=0.05)
    assert restless.log_p(12, 60) > quiet.log_p(12, 60) + 1
    assert fit_flips([]).log_p(4, 40) > -4


def test_stretch_brings_the_lowest_tenth_back_to_chance():
    log_p = np.log((np.arange(200) + 1.0) / 200)
    assert stretch_of(log_p) == pytest.approx(1.0, abs=0.02)
    assert stretch_of(2.0 * log_p) == pytest.approx(0.5, abs=0.02)
    assert stretch_of(log_p[:4]) == 1.0


def test_shares_of_heads_windows_and_looks_sum_to_at_most_one():
    assert sum(HEAD_SHARES) == pytest.approx(1.0)
    assert sum(look_share(k) for k in range(10_000)) <= 1.0 + 1e-9


def test_a_walk_alone_is_no_evidence_and_every_head_speaks_for_itself():
    baseline = Baseline.fit([])
    steps = {"events": 200, "compared": 200, "steps": 190, "labelled": 190}
    assert examine(tally(**steps), 0, baseline, 0.0).evidence == 0.0
    speaking = [
        {"tight_labelled": 150, "tight_flips": 70},
        {"fell_on": 60, "fell_back": 5, "rose_on": 4, "rose_back": 60},
        {"fell_on": 4, "fell_back": 60, "rose_on": 60, "rose_back": 5},
        {"kept_on": 60, "kept_back": 5, "flipped_on": 4, "flipped_back": 60},
        {"kept_ahead": 40, "kept_turned": 0, "flipped_ahead": 0, "flipped_turned": 40},
    ]
    for head, counts in enumerate(speaking):
        finding = examine(tally(**steps, **counts), 0, baseline, 0.0)
        assert finding.head == head
        assert finding.evidence > 8


def test_flips_of_today_s_peers_excuse_a_client():
    restless = tally(events=200, steps=190, tight_labelled=150, tight_flips=60)
    baseline = Baseline.fit([])
    assert examine(restless, 0, baseline, 0.35).evidence < examine(restless, 0, baseline, 0.0).evidence - 5


def test_the_crowd_is_bounded_robust_and_leaves_the_client_out():
    def counts(flips: int, steps: int) -> np.ndarray:
        return tally(tight_flips=flips, tight_labelled=steps).vector

    crowd = Crowd.load(None).met({f"c{i}": counts(2, 20) for i in range(9)} | {"loud": counts(900, 1_000)})
    assert crowd.flip_rate("loud") == pytest.approx(0.1)
    assert crowd.flip_rate("c0") == pytest.approx(0.1)
    assert crowd.without([f"c{i}" for i in range(6)]).flip_rate("x") == 0.0
    for i, j in itertools.product(range(10), range(20)):
        crowd = crowd.met({f"n{i}-{j}": counts(1, 30)})
    assert len(crowd.keys) == 64
    again = Crowd.load(crowd.to_arrays())
    np.testing.assert_array_equal(again.counts, crowd.counts)


def test_moves_that_have_nothing_to_do_with_the_answers_are_as_rare_as_they_say():
    rng = np.random.default_rng(7)
    share = rng.random((20_000, 8))
    down, up = (np.rint(-1000.0 * np.log(p)).sum(axis=1).astype(int) for p in (share, 1.0 - share))
    log_p = [descent_log_p(tally(moves=8, down=int(a), up=int(b))) for a, b in zip(down, up, strict=True)]
    for level in (0.1, 0.01, 0.001):
        assert np.mean(np.array(log_p) <= np.log(level)) <= 1.1 * level


def test_moves_along_the_slope_say_more_the_more_there_are_and_a_few_say_nothing():
    told = [descent_log_p(tally(moves=n, down=4_000 * n, up=20 * n)) for n in (LEAST_MOVES - 1, LEAST_MOVES, 6, 10)]
    assert told[0] == 0.0
    assert 0.0 > told[1] > told[2] > told[3]
    assert told[3] == descent_log_p(tally(moves=10, up=40_000, down=200))
    assert told[1] == pytest.approx(0.8 * np.log(2.0 * stats.gamma(3).sf(12.0)), abs=1e-9)
