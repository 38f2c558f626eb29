"""Stretches: what the reference shows over time, along any direction, and nothing where events are independent."""

from __future__ import annotations

import numpy as np

from detectors.drift.stretches import Stretches

PANE_S, PER_PANE = 10.0, 20


def measured(values: np.ndarray) -> Stretches:
    n = len(values)
    one_stratum, mean = np.zeros(n, dtype=np.int64), values.mean(axis=0)[None]
    return Stretches.measure(
        np.arange(n) * PANE_S / PER_PANE, one_stratum, mean, lambda run: values[run].sum(axis=0), PANE_S
    )


def test_independent_events_scatter_no_more_than_chance_and_have_no_rhythm() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        values = rng.normal(size=(6_000, 30))
        stretches = measured(values)
        assert len(stretches.number) <= 512
        directions = rng.normal(size=(3, 30))
        assert np.all(stretches.overdispersion(directions, (directions**2).sum(axis=1)) == 1.0)
        assert len(stretches.rhythm(values[::10].astype(np.float32))[0]) == 0


def test_a_wave_scatters_along_its_own_direction_alone() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(8_000, 5))
    values[:, 1] += np.sin(np.arange(8_000) / 8_000 * 10 * 2 * np.pi)
    stretches = measured(values)
    found = stretches.overdispersion(np.eye(5), values.var(axis=0))
    assert found[1] > 20
    assert np.all(np.delete(found, 1) == 1.0)
    loadings, taken = stretches.rhythm((values - values.mean(axis=0))[::10].astype(np.float32))
    assert len(loadings) == 1
    witness = np.array([[0.0, 1.0, 0.0, 1.0, 0.0]])
    turned = witness - (witness @ loadings.T) @ taken
    assert abs(turned[0, 1]) < 0.2
    assert turned[0, 3] > 0.9


def test_too_short_a_reference_says_nothing() -> None:
    stretches = measured(np.random.default_rng(3).normal(size=(PER_PANE * 4, 2)))
    assert stretches.overdispersion(np.eye(2), np.ones(2)).tolist() == [1.0, 1.0]
