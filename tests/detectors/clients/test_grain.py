"""The grain of numeric columns, and the surprise of values off it."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.clients.grain import Grain


def values(n: int = 2_000) -> np.ndarray:
    """Whole minutes, cents, halves, and a column that is measured."""
    rng = np.random.default_rng(0)
    return np.column_stack(
        [rng.integers(60, size=n), rng.integers(10_000, size=n) / 100.0, rng.integers(9, size=n) / 2.0, rng.random(n)]
    )


def test_each_column_has_the_coarsest_grain_that_holds() -> None:
    assert Grain.fit(values()).step.tolist() == [1.0, 0.01, 0.5, 0.0]


def test_a_few_values_off_the_grain_do_not_hide_it_and_make_the_next_ones_less_surprising() -> None:
    clean, some = values(), values()
    some[:10, 0] += 0.37
    assert Grain.fit(some).step[0] == 1.0
    assert Grain.fit(some).nats[0] < Grain.fit(clean).nats[0]


def test_values_between_the_steps_surprise_and_those_on_them_do_not() -> None:
    grain = Grain.fit(values())
    rows = np.array([[12.0, 99.99, 1.5, 0.123], [12.3, 99.99, 1.5, 0.123], [12.3, 99.991, 1.25, 0.5], [np.nan] * 4])
    nats = grain.surprise(rows)
    assert nats[0] == nats[3] == 0.0
    assert nats[1] == pytest.approx(grain.nats[0])
    assert nats[2] == pytest.approx(grain.nats[:3].sum())


def test_single_precision_does_not_put_a_value_off_its_grain() -> None:
    grain = Grain.fit(values())
    assert not grain.surprise(values().astype(np.float32).astype(np.float64)).any()


def test_few_values_and_odd_ones_have_no_grain() -> None:
    assert not Grain.fit(values(50)).known
    assert not Grain.fit(np.full((500, 1), np.nan)).known
    assert not Grain.none(3).surprise(np.ones((2, 3))).any()


def test_a_grain_can_be_stored() -> None:
    grain = Grain.fit(values())
    again = Grain.load(grain.to_arrays())
    assert np.array_equal(again.step, grain.step)
    assert np.array_equal(again.nats, grain.nats)
