"""Ladders: alternatives lie within what panes and reference can tell."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.drift.columns import INNER
from detectors.drift.ladders import FALLS, N_TILTS, RISES, Scale, earning_tilts, tolerated_tilts
from detectors.evidence import tilt_masses


def test_the_tolerated_tilt_moves_exactly_the_tolerated_share() -> None:
    masses = np.full((2, INNER), 1.0 / INNER)
    scores = np.stack([np.linspace(-1.7, 1.7, INNER), np.linspace(-1.7, 1.7, INNER) ** 2 - 1.0])
    strengths = tolerated_tilts(masses, scores, 0.02)
    moved = np.abs(tilt_masses(masses, scores, strengths) - masses).sum(axis=1) / 2
    assert moved == pytest.approx(0.02, abs=1e-9)
    assert np.array_equal(tolerated_tilts(masses, scores, 0.0), np.zeros(2))


def test_tilts_reach_from_what_the_reference_can_tell_to_what_alarms_within_two_panes() -> None:
    needed = 9.0
    small = Scale(500, 1, needed).tilts(0.0)
    assert small[0] == pytest.approx(np.sqrt(2 * needed / 500)), "500 events of it earn the alarm, and no fewer"
    large = Scale(20_000, 500, needed).tilts(0.0)
    assert 2 * 500 * large[-1] ** 2 / 2 == pytest.approx(needed, rel=0.05)
    assert large[0] < small[0] / 5
    assert Scale(20_000, 500, needed).tilts(0.02)[0] == pytest.approx(0.05), "what is tolerated hides slighter tilts"


@pytest.mark.parametrize("n_reference", [1, 50, 1e6])
@pytest.mark.parametrize("per_pane", [0.1, 10, 1e6])
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.5])
def test_tilts_rise_whatever_the_sizes(n_reference: float, per_pane: float, tolerance: float) -> None:
    steps = Scale(n_reference, per_pane, 12.0).tilts(tolerance)
    assert len(steps) == N_TILTS
    assert np.all(np.diff(steps) > 0)
    assert 0 < steps[0] < steps[-1] <= 1.2 + 1e-9


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.3, 0.94])
@pytest.mark.parametrize("per_pane", [0.1, 10, 1e6])
@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.5])
def test_rates_rise_and_fall_by_no_more_than_the_most(rate: float, per_pane: float, tolerance: float) -> None:
    scale = Scale(5_000, per_pane, 12.0)
    for steps, most in ((scale.rises(rate, tolerance), RISES), (scale.falls(rate, tolerance), FALLS)):
        assert len(steps) in (2, 3)
        assert np.all(np.diff(steps) > 0)
        assert 0 < steps[0] <= most[0] + 1e-12
        assert steps[-1] <= most[1] + 1e-12


def test_the_slightest_rate_is_a_third_of_what_a_large_pane_errs_by() -> None:
    rate, per_pane = 0.1, 500
    error = np.sqrt(rate * (1 - rate) / per_pane)
    scale = Scale(1e9, per_pane, needed=9.0)
    up, down = scale.rises(rate, 0.0), scale.falls(rate, 0.0)
    assert up[0] * (1 - rate) == pytest.approx(0.35 * error)
    assert down[0] * rate == pytest.approx(0.35 * error)
    assert up[-1] * (1 - rate) == pytest.approx(3 * error), "two panes of it earn nine nats"
    assert down[-1] * rate == pytest.approx(3 * error)


def test_panes_of_single_events_leave_rates_where_they_are() -> None:
    scale = Scale(500, 1, 12.0)
    assert scale.rises(0.1, 0.0) == pytest.approx(RISES)
    assert scale.falls(0.1, 0.0) == pytest.approx(FALLS)


def test_a_rare_flag_is_not_looked_for_in_every_event() -> None:
    """A tilt of 1.1 sd would make 1 % of flags nearly 100 %; one that earns as much as on a normal score, a quarter."""
    masses = np.zeros((2, INNER))
    masses[:, :2] = [0.99, 0.01]
    score = np.array([-1.0, 99.0, *np.zeros(INNER - 2)]) / np.sqrt(99.0)
    scores, steps = np.stack([score, -score]), np.full(2, 1.1)
    assert tilt_masses(masses, scores, steps)[0, 1] > 0.98
    strengths = earning_tilts(masses, scores, steps)
    flags = tilt_masses(masses, scores, strengths)[0, 1]
    assert flags * np.log(flags / 0.01) + (1 - flags) * np.log((1 - flags) / 0.99) == pytest.approx(1.1**2 / 2)
    assert 0.2 < flags < 0.35
    assert strengths[1] == 1.1, "a tilt that earns less goes as far as it may"
