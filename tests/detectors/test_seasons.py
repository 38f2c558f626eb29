"""Seasons: found where every period shows them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.seasons import DAY_S, FEWEST_EVENTS, WEEK_S, Seasons, find_seasons


def traffic(seed: int, days: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, days * DAY_S, n)), rng.normal(size=(n, 4))


@pytest.mark.parametrize("seed", range(3))
def test_traffic_without_a_season_has_one_stratum(seed: int) -> None:
    assert find_seasons(*traffic(seed, 14), 60.0) == Seasons()


def test_a_daily_wave_is_found_and_like_hours_share_a_stratum() -> None:
    at, scores = traffic(1, 6)
    scores[:, 2] += 0.6 * np.sin(2 * np.pi * at / DAY_S)
    seasons = find_seasons(at, scores, 60.0)
    assert seasons.period_s == DAY_S
    assert 2 <= seasons.n_strata <= 6
    assert seasons.stratum(6 * 3_600.0) == seasons.stratum(DAY_S + 6 * 3_600.0) != seasons.stratum(18 * 3_600.0)
    assert np.bincount(seasons.strata(at)).min() >= FEWEST_EVENTS


def test_weekends_are_found_where_two_weeks_show_them() -> None:
    at, scores = traffic(2, 21)
    scores[:, 0] += np.floor(at / DAY_S) % 7 >= 5
    seasons = find_seasons(at, scores, 60.0)
    assert seasons.period_s == WEEK_S
    assert seasons.stratum(0.0) != seasons.stratum(5.5 * DAY_S)


def test_days_that_differ_without_rhythm_are_no_season() -> None:
    at, scores = traffic(3, 20)
    scores[:, 0] += np.random.default_rng(0).normal(size=21)[np.floor(at / DAY_S).astype(int)]
    assert find_seasons(at, scores, 60.0).n_strata == 1


def test_less_than_two_periods_show_nothing() -> None:
    at, scores = traffic(4, 1.5)
    scores[:, 0] += np.sin(2 * np.pi * at / DAY_S)
    assert find_seasons(at, scores, 60.0) == Seasons()


def test_panes_of_a_day_know_weekdays() -> None:
    at, scores = traffic(5, 28)
    scores[:, 0] += np.floor(at / DAY_S) % 7 >= 5
    seasons = find_seasons(at, scores, DAY_S)
    assert len(seasons.slots) == 7
    assert seasons.n_strata == 2


def test_seasons_survive_json() -> None:
    seasons = Seasons(DAY_S, (0, 0, 1, 1))
    assert Seasons.from_json(seasons.to_json()) == seasons
