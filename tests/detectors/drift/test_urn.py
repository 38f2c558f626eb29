"""The urn's arithmetic, by enumeration: ratios of mean one whatever the reference's luck."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import gammaln

from detectors.drift.bets import BetTable
from detectors.drift.chart import Chart
from detectors.drift.columns import INNER, INVALID, MISSING, N_BINS, CategoryBins, Group, NumericBins, WatchedColumn
from detectors.drift.ladders import Scale
from detectors.drift.urn import Urn, log_rise
from detectors.evidence import tilt_masses

SCALES = (Scale(n_reference=14.0, per_pane=3.0, needed=9.0), Scale(n_reference=1_000.0, per_pane=500.0, needed=9.0))
COLUMNS = (
    WatchedColumn("size", Group.FEATURE, NumericBins(np.array([0.0, 1.0, 2.0]))),
    WatchedColumn("colour", Group.FEATURE, CategoryBins(("red", "blue"), frozenset())),
)


def reference_counts() -> np.ndarray:
    counts = np.zeros((2, N_BINS), dtype=np.int64)
    counts[0, :4] = [0, 9, 5, 0]
    counts[1, :2] = [9, 5]
    return counts


def balls_of(counts: np.ndarray) -> np.ndarray:
    balls = counts + 0.5
    balls[0, 4:INNER] = 0.0
    return balls


def pane_probability(balls: np.ndarray, drawn: np.ndarray) -> float:
    """Dirichlet-multinomial probability of the counts ``drawn``."""
    n, whole = drawn.sum(), balls.sum()
    ways = gammaln(n + 1) - gammaln(drawn + 1).sum()
    draws = (gammaln(balls + drawn) - gammaln(balls)).sum() - (gammaln(whole + n) - gammaln(whole))
    return float(np.exp(ways + draws))


def every_pane(n: int, slots: list[int]) -> list[np.ndarray]:
    found = []
    for cut in product(range(n + 1), repeat=len(slots)):
        if sum(cut) == n:
            drawn = np.zeros(N_BINS, dtype=np.int64)
            drawn[slots] = cut
            found.append(drawn)
    return found


@pytest.mark.parametrize("n", [1, 3, 6])
def test_every_bet_on_a_numeric_column_has_mean_one_under_the_urn(n: int) -> None:
    """Tilts given the values that are there; rates over everything."""
    counts = reference_counts()
    bets = BetTable.design(COLUMNS, counts, SCALES, tolerance=0.0)
    urn, balls = Urn(bets), balls_of(counts)
    mean = np.zeros(len(bets.weight))
    inner = [0, 1, 2, 3]
    for drawn in every_pane(n, inner):
        pane = np.stack([drawn, np.zeros(N_BINS)])
        inside = np.where(np.isin(np.arange(N_BINS), inner), balls[0], 0.0)
        mean += pane_probability(inside[inner], drawn[inner]) * np.exp(urn.log_ratios(balls, pane))
    tilts = np.flatnonzero((bets.order < len(bets.tilt_column)) & (bets.column == 0))
    assert len(tilts) >= 12
    assert mean[tilts] == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("n", [1, 4])
def test_every_rate_bet_has_mean_one_under_the_urn(n: int) -> None:
    counts = reference_counts()
    bets = BetTable.design(COLUMNS, counts, SCALES, tolerance=0.0)
    urn, balls = Urn(bets), balls_of(counts)
    rates = np.flatnonzero((bets.order >= len(bets.tilt_column)) & (bets.column == 1))
    assert len(rates) >= 8
    for position in rates:
        bin_ = int(bets.rate_bin[bets.order[position] - len(bets.tilt_column)])
        other = 0 if bin_ != 0 else 1
        inside, outside = balls[1, bin_], balls[1].sum() - balls[1, bin_]
        mean = 0.0
        for k in range(n + 1):
            drawn = np.zeros(N_BINS, dtype=np.int64)
            drawn[bin_], drawn[other] = k, n - k
            pane = np.stack([np.zeros(N_BINS), drawn])
            chance = pane_probability(np.array([inside, outside]), np.array([k, n - k]))
            mean += chance * float(np.exp(urn.log_ratios(balls, pane)[position]))
        assert mean == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("n_missing", [900, 940, 960, 990, 1_000])
@pytest.mark.parametrize("bins", [NumericBins(np.empty(0)), CategoryBins(("red",), frozenset())])
def test_a_column_that_stays_as_it_was_never_pays(bins: NumericBins | CategoryBins, n_missing: int) -> None:
    """Every event as in the reference: nearly always missing, or always."""
    column = WatchedColumn("x", Group.OUTPUT, bins)
    counts = np.zeros((1, N_BINS), dtype=np.int64)
    counts[0, [0, MISSING]] = 1_000 - n_missing, n_missing
    one = np.ones(1)
    chart = Chart.design((column,), counts[None], one, one, one, 100.0, 0.02, 7.0)
    ratios = np.stack([chart.urn.log_ratios(chart.reference[0], counts), chart._lasting(counts, 0)])
    assert ratios.max() <= 0.0


@pytest.mark.parametrize("bin_", [MISSING, INVALID])
def test_a_column_that_was_always_missing_or_invalid_pays_once_it_has_values(bin_: int) -> None:
    column = WatchedColumn("x", Group.OUTPUT, NumericBins(np.empty(0)))
    counts = np.zeros((1, N_BINS), dtype=np.int64)
    counts[0, bin_] = 1_000
    one = np.ones(1)
    chart = Chart.design((column,), counts[None], one, one, one, 100.0, 0.02, 7.0)
    now = np.zeros((1, N_BINS), dtype=np.int64)
    now[0, [0, bin_]] = 60, 40
    state = chart.bet(chart.start(), now, 0, 0.0)
    assert chart.verdict(state).total > 7.0


def test_a_bet_loses_on_every_drift_inside_its_tolerance() -> None:
    """One event, from the urn's own composition tilted by less than the tolerance: the mean ratio is at most one."""
    counts = reference_counts()
    counts[0, 1:3] = [60, 40]
    bets = BetTable.design(COLUMNS, counts, SCALES, tolerance=0.05)
    urn, balls = Urn(bets), balls_of(counts)
    inner = balls[0, :INNER] / balls[0, :INNER].sum()
    tilts = [i for i in range(len(bets.weight)) if bets.order[i] < len(bets.tilt_column)]
    for position in tilts:
        row = int(bets.order[position])
        for part in (-1.0, 0.0, 0.5, 0.999):
            strength = np.array([part * bets.tilt_tolerance[row]])
            truth = tilt_masses(inner[None], bets.tilt_scores[row][None], strength)[0]
            mean = 0.0
            for bin_ in range(4):
                pane = np.zeros((2, N_BINS))
                pane[0, bin_] = 1.0
                mean += truth[bin_] * float(np.exp(urn.log_ratios(balls, pane)[position]))
            assert mean <= 1.0 + 1e-9


def test_the_series_agrees_with_gammaln() -> None:
    start = np.array([[1e-30, 0.3, 5.0, 9.99, 10.0, 40.0, 1e4, 1e6]])
    for rise in (0.0, 0.4, 1.0, 37.0, 900.0):
        added = np.full_like(start, rise)
        found = log_rise(start, np.log(start), added)
        assert found == pytest.approx(gammaln(start + rise) - gammaln(start), rel=1e-9, abs=2e-7)
