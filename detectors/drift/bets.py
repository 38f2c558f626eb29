"""The bets on one watched column: which changes are looked for, and which are tolerated.

Numeric columns bet on location and spread (tilts of Legendre scores) and on the rates of values outside the
reference's range, missing and invalid. Categorical columns bet on the rate of each heavy value, of rare and unseen
values, missing and invalid. A bet pays only beyond the tolerance: the smallest shift worth waking anyone for plus
the reference's own sampling error (which shrinks as 1/sqrt(N) and grows with the overdispersion between clients).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.batch import FloatArray, IntArray
from detectors.drift.columns import INNER, INVALID, MISSING, N_BINS, UNSEEN, NumericBins, WatchedColumn
from detectors.evidence import legendre_scores, rate_bet, tilt_bet


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Smallest change worth an alarm.

    Attributes:
        shift: in standard deviations of a column's location or spread score.
        mass: share of traffic that may move into or out of a category.
        rare: share of traffic that may turn missing, invalid, unseen or out of range.
        sampling: how many standard errors of the reference are added to each.
    """

    shift: float = 0.1
    mass: float = 0.02
    rare: float = 0.01
    sampling: float = 2.5


_TILTS = (0.15, 0.4, 1.0)
_RISES = (0.05, 0.25)
_FALLS = (0.7, 0.3)
_TILT_WEIGHT = 0.7


def smoothed(counts: IntArray) -> FloatArray:
    """(k,) bin masses with half a pseudo-event in each bin (Jeffreys)."""
    weights = counts + 0.5
    return np.asarray(weights / weights.sum())


def column_bets(
    column: WatchedColumn, counts: IntArray, effective_n: float, tolerance: Tolerance
) -> tuple[FloatArray, FloatArray]:
    """The bets of one column and their weights.

    Args:
        counts: (N_BINS,) reference counts.
        effective_n: reference events divided by their overdispersion.

    Returns:
        (j, N_BINS) log likelihood ratios per bin, and (j,) weights that sum to one.
    """
    if isinstance(column.bins, NumericBins):
        tilts = _tilt_bets(counts, column.bins.n_inner, effective_n, tolerance)
        rates = _rare_bets(counts, _numeric_rare_bins(column.bins), effective_n, tolerance)
    else:
        tilts = []
        rates = _rare_bets(counts, (UNSEEN, MISSING, INVALID), effective_n, tolerance)
        rates += _mass_bets(counts, range(INNER - 1), effective_n, tolerance)
    weights = [_TILT_WEIGHT / len(tilts)] * len(tilts) if tilts else []
    rate_weight = 1.0 - sum(weights)
    weights += [rate_weight / len(rates)] * len(rates)
    return np.stack([*tilts, *rates]), np.asarray(weights)


def _numeric_rare_bins(bins: NumericBins) -> tuple[int, ...]:
    if bins.n_inner < 3:
        return (MISSING, INVALID)
    return (0, bins.n_inner - 1, MISSING, INVALID)


def _tilt_bets(counts: IntArray, n_inner: int, effective_n: float, tolerance: Tolerance) -> list[FloatArray]:
    inner = counts[:n_inner]
    share_present = float(inner.sum()) / max(float(counts.sum()), 1.0)
    if n_inner < 3 or np.count_nonzero(inner) < 2:
        return []
    masses = smoothed(inner)
    null = tolerance.shift + tolerance.sampling / np.sqrt(max(effective_n * share_present, 1.0))
    bets = []
    for scores in legendre_scores(masses):
        if not np.any(scores):
            continue
        for sign in (1.0, -1.0):
            for step in _TILTS:
                ratio = tilt_bet(masses, scores, sign * null, sign * (null + step))
                bets.append(np.concatenate([ratio, np.zeros(N_BINS - n_inner)]))
    return bets


def _rare_bets(counts: IntArray, bins: tuple[int, ...], effective_n: float, tolerance: Tolerance) -> list[FloatArray]:
    bets = []
    for bin_ in bins:
        rate = float(counts[bin_]) / max(float(counts.sum()), 1.0)
        null = min(rate + tolerance.rare + _sampling_error(rate, effective_n, tolerance), 0.95)
        bets += [_one_bin(bin_, null, null + (1 - null) * rise) for rise in _RISES]
    return bets


def _mass_bets(counts: IntArray, bins: range, effective_n: float, tolerance: Tolerance) -> list[FloatArray]:
    bets = []
    for bin_ in bins:
        rate = float(counts[bin_]) / max(float(counts.sum()), 1.0)
        if counts[bin_] == 0:
            continue
        error = tolerance.mass + _sampling_error(rate, effective_n, tolerance)
        high, low = rate + error, rate - error
        if high < 0.95:
            bets += [_one_bin(bin_, high, high + (1 - high) * rise) for rise in _RISES]
        if low > 0.02:
            bets += [_one_bin(bin_, low, low * fall) for fall in _FALLS]
    return bets


def _sampling_error(rate: float, effective_n: float, tolerance: Tolerance) -> float:
    floor = 1.0 / max(effective_n, 1.0)
    return tolerance.sampling * float(np.sqrt(max(rate * (1 - rate), floor) / max(effective_n, 1.0)))


def _one_bin(bin_: int, null: float, alternative: float) -> FloatArray:
    inside = np.zeros(N_BINS)
    inside[bin_] = 1.0
    return rate_bet(inside, null, alternative)
