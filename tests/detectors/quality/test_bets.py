"""The bets of data quality keep E[L] at one or below, by enumeration, for everything that is tolerated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from detectors.quality.duplicates import N_BUCKETS, repeat_bet
from detectors.quality.profile import Profile
from detectors.quality.silence import SilenceWatch
from detectors.quality.volume import negative_binomial_bet


def mean_ratio(mean: float, size: float, null: float, ratio: float) -> float:
    n = np.arange(0, 6_000)
    log_p = stats.nbinom.logpmf(n, size, size / (size + mean))
    return float(np.exp(log_p + negative_binomial_bet(n, size, null, ratio)).sum())


@pytest.mark.parametrize("size", [0.7, 5.0, 400.0])
@pytest.mark.parametrize("ratio", [0.15, 0.5, 1.5, 3.0])
def test_a_volume_bet_is_fair_at_the_edge_and_loses_inside_the_tolerance(size: float, ratio: float) -> None:
    null = 30.0
    assert mean_ratio(null, size, null, ratio) == pytest.approx(1.0, abs=1e-6)
    inside = (1.2, 2.0, 5.0) if ratio < 1 else (0.8, 0.5, 0.1)
    assert all(mean_ratio(null * factor, size, null, ratio) < 1 for factor in inside)
    beyond = 0.3 if ratio < 1 else 1.1
    assert mean_ratio(null * beyond, size, null, ratio) > 1


def occupancy(n: int, share: float) -> np.ndarray:
    """(n + 1,) chance of each number of occupied buckets after ``n`` events, each a repeat with chance ``share``."""
    chance = np.zeros(n + 1)
    chance[0] = 1.0
    occupied = np.arange(n + 1)
    for i in range(n):
        fresh = (1 - share * (i > 0)) * (1 - occupied / N_BUCKETS)
        chance = chance * (1 - fresh) + np.concatenate([[0.0], (chance * fresh)[:-1]])
    return chance


@pytest.mark.parametrize("n", [2, 25, 250])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.03, 0.1])
def test_a_bet_on_repeats_is_never_better_than_fair_up_to_its_null(n: int, share: float) -> None:
    by_chance = 1 - N_BUCKETS * (1 - (1 - 1 / N_BUCKETS) ** n) / n
    ratio = [repeat_bet(n, n - occupied, by_chance, share, share + 0.1) for occupied in range(n + 1)] if share else []
    for actual in (0.0, share / 2, share) if share else ():
        assert float(occupancy(n, actual) @ np.exp(ratio)) <= 1 + 1e-9


def test_a_bet_on_silence_is_fair_for_gaps_of_the_reference_s_scale_and_loses_for_shorter_ones() -> None:
    watch = SilenceWatch(Profile(np.array([1.0]), 3_600.0), 12.0, 12.0, 1.3, 10.0)
    step = 1e-2
    beyond = np.arange(step / 2, 300, step)
    log_l = np.array([watch.ended(watch.longest + x) for x in beyond])
    for rate, expected in ((1.0, 1.0), (1.5, 0.136), (4.0, 0.066)):
        log_density = np.log(rate * step / watch.scale) - rate * beyond / watch.scale
        assert float(np.exp(log_density + log_l).sum()) == pytest.approx(expected, abs=2e-3)
    assert watch.ended(watch.longest) == 0.0


def test_time_that_expects_an_amount_is_the_inverse_of_the_amount_expected_in_a_time() -> None:
    rng = np.random.default_rng(3)
    for k in (1, 24, 168):
        profile = Profile(rng.random(k) * (rng.random(k) < 0.6) + 0.01, 3_600.0)
        start = 1.7e9 + float(rng.random()) * 1e6
        for amount in (0.5, 300.0, 5e6):
            end = profile.reached(start, amount)
            assert float(profile.expected(start, end)) == pytest.approx(amount, rel=1e-6, abs=1e-3)


def test_a_profile_without_events_never_reaches_anything() -> None:
    assert Profile(np.zeros(24), 3_600.0).reached(0.0, 1.0) == float("inf")
