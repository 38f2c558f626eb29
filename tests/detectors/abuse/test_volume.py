"""Volume: a client's day beside its past, beside honest clients, and beside everybody's day."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.abuse.volume import (
    DAY_S,
    Crowd,
    Volumes,
    VolumeWatch,
    everybodys_rise,
    has_past,
    hours_active,
)
from detectors.batch import FloatArray

PANE_S = 600.0


@pytest.fixture(scope="module")
def fitted() -> tuple[Volumes, FloatArray, FloatArray]:
    rng = np.random.default_rng(0)
    times, clients = [], []
    for c in range(100):
        volume = 50.0 * np.exp(rng.normal(scale=0.8))
        for day in range(10):
            n = rng.poisson(volume * np.exp(rng.normal(scale=0.3)))
            times.append(day * DAY_S + rng.uniform(0, DAY_S, n))
            clients.append(np.full(n, c))
    time, client = np.concatenate(times), np.concatenate(clients)
    order = np.argsort(time)
    found = Volumes.fit(time[order], client[order], np.ones(len(time)), 100, PANE_S)
    assert found is not None
    return found


def day_of(volumes: Volumes, state: FloatArray, day: int, n: float, panes: int = 24) -> FloatArray:
    for i in range(panes):
        state = volumes.after(state, day * DAY_S + i * 3_600.0, n / panes)
    return state


def test_windows_are_pane_hour_and_day(fitted: tuple[Volumes, FloatArray, FloatArray]) -> None:
    volumes, days, means = fitted
    assert volumes.widths.tolist() == [600.0, 3_600.0, 86_400.0]
    assert days.max() <= 10
    assert np.all(np.diff(means, axis=1) >= -1e-9)
    again = Volumes.load(volumes.to_arrays(), volumes.calibration)
    np.testing.assert_allclose(again.within.scale, volumes.within.scale)


def test_a_day_like_the_days_before_is_no_surprise(fitted: tuple[Volumes, FloatArray, FloatArray]) -> None:
    volumes = fitted[0]
    state = volumes.new_state()
    for day in range(12):
        state = day_of(volumes, state, day, 120.0)
    assert has_past(state)
    assert hours_active(state) == 24
    assert volumes.log_p(state, np.zeros(3)) == 0.0
    assert volumes.usual(state)[-1] == pytest.approx(120.0, rel=0.15)


def test_a_flood_is_told_within_the_day_and_is_not_learned(fitted: tuple[Volumes, FloatArray, FloatArray]) -> None:
    volumes = fitted[0]
    state = volumes.new_state()
    for day in range(8):
        state = day_of(volumes, state, day, 120.0)
    flooded = volumes.after(state, 8 * DAY_S, 20_000.0)
    assert volumes.log_p(flooded, np.zeros(3)) < -15.0
    after = volumes.after(flooded, 9 * DAY_S, 1.0)
    assert volumes.usual(after)[-1] < 200.0


def test_a_nightly_batch_is_as_large_as_it_was(fitted: tuple[Volumes, FloatArray, FloatArray]) -> None:
    volumes = fitted[0]
    state = volumes.new_state()
    for day in range(10):
        state = volumes.after(state, day * DAY_S + 7_200.0, 5_000.0)
    assert volumes.log_p(state, np.zeros(3)) == 0.0


def test_a_rise_of_everybody_explains_that_of_one(fitted: tuple[Volumes, FloatArray, FloatArray]) -> None:
    volumes = fitted[0]
    state = volumes.new_state()
    for day in range(8):
        state = day_of(volumes, state, day, 120.0)
    state = day_of(volumes, state, 8, 3_000.0)
    assert volumes.log_p(state, np.zeros(3)) < -8.0
    assert volumes.log_p(state, np.full(3, np.log(25.0))) == 0.0


def test_small_clients_that_grow_are_no_cost(fitted: tuple[Volumes, FloatArray, FloatArray]) -> None:
    volumes = fitted[0]
    state = volumes.new_state()
    for day in range(8):
        state = day_of(volumes, state, day, 1.0, panes=1)
    state = day_of(volumes, state, 8, 20.0, panes=1)
    assert volumes.surprise(state)[-1] > 1.0
    assert not volumes.is_large(state)[-1]


def test_the_days_of_a_client_share_what_it_may_use_of_the_budget(
    fitted: tuple[Volumes, FloatArray, FloatArray],
) -> None:
    volumes = fitted[0]
    spent = 0.0
    for looked in range(1, 20_000):
        state = volumes.new_state()
        state[2] = looked
        spent += float(np.exp(volumes.log_share(state)))
    assert 0.5 < spent <= 1.0


def test_the_crowd_is_the_upper_quartile_of_the_others(fitted: tuple[Volumes, FloatArray, FloatArray]) -> None:
    table = {i: (5.0, np.full(3, float(i))) for i in range(9)} | {99: (4.0, np.full(3, 50.0))}
    crowd = Crowd.load(Crowd(table).to_arrays(3), 3)
    rise, n = crowd.rise(8, 5.0, 3)
    assert n == 8
    assert rise[0] == pytest.approx(5.25)
    assert everybodys_rise([], 3).tolist() == [0.0, 0.0, 0.0]
    assert everybodys_rise([np.full(3, -2.0)], 3).tolist() == [0.0, 0.0, 0.0]
    watch = VolumeWatch(fitted[0], {"known": (5.0, np.log1p(np.array([10.0, 30.0, 400.0])))}, 0.4)
    assert watch.volumes.usual(watch.after("known", None, 0.0, 1.0))[-1] > 250.0
    assert watch.volumes.usual(watch.after("new", None, 0.0, 1.0))[-1] < 100.0


def test_a_reference_of_hours_is_judged_by_hours_and_a_shorter_one_not_at_all() -> None:
    rng = np.random.default_rng(1)
    time = np.sort(rng.uniform(0, 6 * 3_600.0, 4_000))
    client = rng.integers(0, 20, 4_000)
    found = Volumes.fit(time, client, np.ones(4_000), 20, 60.0)
    assert found is not None
    assert found[0].period_s == 3_600.0
    assert Volumes.fit(time / 6, client, np.ones(4_000), 20, 60.0) is None
