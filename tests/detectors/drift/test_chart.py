"""The chart: what joins the urn and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.drift.chart import LASTING, Chart, ChartState
from detectors.drift.columns import N_BINS, CategoryBins, Group, NumericBins, WatchedColumn

LOG_B = float(np.log(1_000.0))


def chart_of(rng: np.random.Generator, n: int, tolerance: float = 0.02) -> tuple[Chart, NumericBins]:
    values = rng.normal(size=n)
    bins = NumericBins.fit(values)
    column = WatchedColumn("x", Group.FEATURE, bins)
    counts = np.bincount(bins.code(values), minlength=N_BINS)[None, None]
    one = np.ones(1)
    return Chart.design((column,), counts, one, one, one, 50.0, tolerance, LOG_B), bins


def pane(bins: NumericBins, values: np.ndarray) -> np.ndarray:
    return np.bincount(bins.code(values), minlength=N_BINS)[None]


def play(chart: Chart, bins: NumericBins, state: ChartState, panes: list[np.ndarray]) -> tuple[ChartState, list[int]]:
    alarms = []
    for i, values in enumerate(panes):
        state = chart.bet(state, pane(bins, values), 0, float(i))
        verdict = chart.verdict(state)
        if verdict.total >= LOG_B:
            alarms.append(i)
            state = chart.alarmed(state)
        else:
            state = chart.settled(state, verdict)
    return state, alarms


def test_ordinary_traffic_joins_the_urn() -> None:
    rng = np.random.default_rng(1)
    chart, bins = chart_of(rng, 1_000)
    state, alarms = play(chart, bins, chart.start(), [rng.normal(size=50) for _ in range(40)])
    assert not alarms
    assert state.live.sum() + state.waiting.sum() == 2_000
    assert state.live.sum() >= 1_500


def test_a_drift_is_not_learned_as_normal_and_its_end_is_no_new_drift() -> None:
    rng = np.random.default_rng(2)
    chart, bins = chart_of(rng, 5_000)
    drifted = [rng.normal(1.0, size=50) for _ in range(400)]
    state, alarms = play(chart, bins, chart.start(), drifted)
    assert alarms[0] <= 2
    assert alarms[-1] >= 395, "it goes on alarming as long as it lasts"
    assert state.live.sum() <= 100
    _, after = play(chart, bins, state, [rng.normal(size=50) for _ in range(200)])
    assert not [i for i in after if i > 2]


@pytest.mark.slow
def test_an_unlucky_reference_learns_what_is_normal_instead_of_alarming_for_ever() -> None:
    """A reference of 60 events misses the truth by 0.13 sd on average: the live traffic corrects it."""
    total = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        chart, bins = chart_of(rng, 60, tolerance=0.0)
        total += len(play(chart, bins, chart.start(), [rng.normal(size=200) for _ in range(300)])[1])
    assert total <= 20 * 300 / 1_000 * 1.5


def test_the_onset_is_when_the_evidence_began_to_rise() -> None:
    rng = np.random.default_rng(4)
    chart, bins = chart_of(rng, 5_000)
    state = chart.start()
    for i in range(60):
        state = chart.bet(state, pane(bins, rng.normal(0.5 if i >= 40 else 0.0, size=50)), 0, float(i))
        verdict = chart.verdict(state)
        if verdict.total >= LOG_B:
            break
        state = chart.settled(state, verdict)
    assert 40 <= i <= 46
    assert chart.onset(state) == pytest.approx(40, abs=2)


def test_the_state_is_small_and_survives_storage() -> None:
    rng = np.random.default_rng(5)
    chart, bins = chart_of(rng, 1_000)
    state, _ = play(chart, bins, chart.start(), [rng.normal(size=50) for _ in range(5)])
    arrays = state.to_arrays()
    assert sum(array.nbytes for array in arrays.values()) <= 1_024
    again = ChartState.from_arrays(arrays)
    assert np.array_equal(again.live, state.live)
    assert again.log_evidence == pytest.approx(state.log_evidence, rel=1e-6)


def test_the_urn_forgets_rather_than_grow_without_bound() -> None:
    rng = np.random.default_rng(6)
    chart, bins = chart_of(rng, 1_000)
    state, _ = play(chart, bins, chart.start(), [rng.normal(size=400_000) for _ in range(6)])
    assert state.live.sum() <= 1_000_000


@pytest.mark.slow
def test_the_share_of_rare_values_is_not_trusted_like_a_plain_share() -> None:
    """Of 10,000 values after Zipf's law, 200 events tell the share of those seen before to twice the binomial error."""
    weights = 1.0 / np.arange(1, 10_001)
    names = np.array([f"v{i}" for i in range(len(weights))], dtype=object)
    highest = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        reference, live = (rng.choice(names, size=n, p=weights / weights.sum()) for n in (200, 3_000))
        bins = CategoryBins.fit(reference)
        counts = np.bincount(bins.code_left_out(reference), minlength=N_BINS)[None, None]
        one = np.ones(1)
        column = WatchedColumn("x", Group.FEATURE, bins)
        chart = Chart.design((column,), counts, one, one, one, 10.0, 0.0, LOG_B)
        state = chart.start()
        for i, codes in enumerate(bins.code(live).reshape(-1, 10)):
            state = chart.bet(state, np.bincount(codes, minlength=N_BINS)[None], 0, float(i))
        highest.append(float(state.log_evidence[LASTING].max()))
    assert max(highest) < LOG_B
