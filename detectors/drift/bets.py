"""The bets on the watched columns: which changes are looked for, and which are tolerated.

Numeric columns bet on location and spread (exponential tilts of Legendre scores) and on the rates of values outside
the reference's range, missing and invalid. Categorical columns bet on the rate of each heavy value, of rare and unseen
values, missing and invalid. Each bet has a *null*, the reference moved in the bet's own direction by the tolerance, and
an *alternative* further out, so that it pays only beyond the tolerance. All bets of all columns are rows of one table,
ordered by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.drift.columns import INNER, INVALID, MISSING, OTHER, UNSEEN, Group, NumericBins, WatchedColumn
from detectors.evidence import legendre_scores, tilt_masses

N_TILTS = 3
"""Alternatives of each tilt, evenly spaced in logarithms (``tilt_steps``)."""
_MOST_TILT = 1.2
_PANE_ERRORS = 0.35
"""The slightest tilt in standard errors of a pane's mean: what panes are taken together for."""
RISES = (0.05, 0.25)
"""How far an alternative rate is from the null towards one."""
FALLS = (0.7, 0.3)
"""Alternative rates below the null, relative to it."""
_TILT_OF_SHARE = 2.5
"""The tilt in standard deviations that moves a share of the traffic, over that share, for small ones."""
_TILT_WEIGHT = 0.8
A_TILTS_WEIGHT = _TILT_WEIGHT / (4 * N_TILTS)
"""Share of one tilt in the evidence of a continuous column: location and spread, both ways."""
_FULLY_WATCHED = 10
"""The heaviest values bet both ways twice; lighter ones on one rise each."""
_LEAST_FALLING = 0.02
_MOST_RATE = 0.95
_LEAST_RATE = 1e-6


def smoothed(counts: IntArray | FloatArray) -> FloatArray:
    """(…, k) bin masses with half a pseudo-event in each bin (Jeffreys)."""
    weights = counts + 0.5
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


@dataclass(frozen=True, slots=True)
class _Rate:
    bin: int
    rises: bool
    step: float


@dataclass(frozen=True, eq=False)
class BetTable:
    """Every bet on a set of columns.

    Attributes:
        tilt_column (t,), tilt_scores (t, INNER), tilt_step (t,): signed scores of the tilts, and how far they reach.
        tilt_tolerance: (t,) strength of the tilt that moves the tolerated share of traffic.
        tilt_null: (t,) row of ``null_rows`` that a tilt's null is; those rows are positions of tilts.
        null_rows: (z,) one tilt for each distinct null.
        tilted: (columns, INNER) whether a bin is one that its column's tilts are about.
        rate_column, rate_bin, rate_rises, rate_step: (r,) the rates.
        order: (t + r,) positions that sort the bets, tilts first, by column.
        starts: (columns,) where each column's bets start in that order.
        weight: (t + r,) in that order; the weights of a column's bets sum to one.
        tolerance: share of traffic that may move.
    """

    tilt_column: IntArray
    tilt_scores: FloatArray
    tilt_step: FloatArray
    tilt_tolerance: FloatArray
    tilt_null: IntArray
    null_rows: IntArray
    tilted: NDArray[np.bool_]
    rate_column: IntArray
    rate_bin: IntArray
    rate_rises: NDArray[np.bool_]
    rate_step: FloatArray
    order: IntArray
    starts: IntArray
    weight: FloatArray
    tolerance: float

    @property
    def column(self) -> IntArray:
        """(t + r,) column of each bet, in order."""
        return np.concatenate([self.tilt_column, self.rate_column])[self.order]

    @classmethod
    def design(
        cls, columns: Sequence[WatchedColumn], counts: IntArray, steps: Sequence[FloatArray], tolerance: float
    ) -> Self:
        """The bets for ``columns`` whose reference counts are ``counts`` (columns, N_BINS).

        ``steps``: for each column, how far its tilts reach (``tilt_steps``).
        """
        tilt_column: list[int] = []
        scores: list[FloatArray] = []
        tilt_step: list[float] = []
        null: list[int] = []
        null_rows: list[int] = []
        rate_column: list[int] = []
        rates: list[_Rate] = []
        weight_tilt: list[float] = []
        weight_rate: list[float] = []
        for c, column in enumerate(columns):
            own, reach = _tilt_scores(column, counts[c]), steps[c]
            for signed in own:
                null_rows.append(len(tilt_column))
                for step in reach:
                    tilt_column.append(c)
                    scores.append(signed)
                    tilt_step.append(float(step))
                    null.append(len(null_rows) - 1)
            found = _rates(column, counts[c], tolerance)
            rate_column += [c] * len(found)
            rates += found
            n_tilts = len(own) * len(reach)
            share = 0.0 if not n_tilts else _TILT_WEIGHT if found else 1.0
            weight_tilt += [share / n_tilts] * n_tilts if n_tilts else []
            weight_rate += [(1.0 - share) / len(found)] * len(found) if found else []
        owner = np.array([*tilt_column, *rate_column], dtype=np.int64)
        order = np.argsort(owner, kind="stable")
        scores_array = np.array(scores).reshape(-1, INNER)
        inner = _inner_masses(columns, counts)
        masses = inner[np.array(tilt_column, dtype=np.int64)].reshape(-1, INNER)
        return cls(
            tilt_column=np.array(tilt_column, dtype=np.int64),
            tilt_scores=scores_array,
            tilt_step=np.array(tilt_step),
            tilt_tolerance=tolerated_tilts(masses, scores_array, tolerance),
            tilt_null=np.array(null, dtype=np.int64),
            null_rows=np.array(null_rows, dtype=np.int64),
            tilted=inner > 0,
            rate_column=np.array(rate_column, dtype=np.int64),
            rate_bin=np.array([rate.bin for rate in rates], dtype=np.int64),
            rate_rises=np.array([rate.rises for rate in rates], dtype=np.bool_),
            rate_step=np.array([rate.step for rate in rates]),
            order=order,
            starts=np.searchsorted(owner[order], np.arange(len(columns))),
            weight=np.array([*weight_tilt, *weight_rate])[order],
            tolerance=tolerance,
        )

    def rate_range(self, rate: FloatArray, error: FloatArray | float = 0.0) -> tuple[FloatArray, FloatArray]:
        """(r,) null and alternative rates for present rates (r,), with a sampling error added to the tolerance."""
        up = np.clip(rate + self.tolerance + error, _LEAST_RATE, _MOST_RATE)
        down = np.clip(rate - self.tolerance - error, _LEAST_RATE, _MOST_RATE)
        null = np.where(self.rate_rises, up, down)
        further = np.where(self.rate_rises, null + (1 - null) * self.rate_step, null * self.rate_step)
        return null, further


def tilt_steps(n_reference: float, per_pane: float, needed: float, tolerance: float) -> FloatArray:
    """(N_TILTS,) how far beyond the null alternatives are, in standard deviations of the score, the slightest first.

    A tilt ``t`` earns ``t**2 / 2`` an event of the change that it is made for. The strongest alarms within two panes,
    so that more is no use; the slightest is what a reference can tell apart before the urn has learned the change, or,
    in large panes, what takes several of them; it is not lost beside the tolerance.

    Args:
        n_reference, per_pane: effective events of the reference, and of a usual pane.
        needed: log evidence at which one bet alone raises the alarm.
    """
    pane, whole = max(per_pane, 1.0), max(n_reference, 1.0)
    strongest = np.sqrt(needed * (1 / pane + 1 / whole))
    slightest = min(np.sqrt(2 * needed / whole), _PANE_ERRORS / np.sqrt(pane))
    low = float(np.clip(slightest, _TILT_OF_SHARE * tolerance, _MOST_TILT / 4))
    return np.geomspace(low, float(np.clip(strongest, 4 * low, _MOST_TILT)), N_TILTS)


def tolerated_tilts(masses: FloatArray, scores: FloatArray, tolerance: float) -> FloatArray:
    """(t,) strengths at which tilting ``masses`` (t, k) by ``scores`` moves ``tolerance`` of the traffic.

    Total variation grows with the strength; found by bisection up to a strength of four.
    """
    low, high = np.zeros(len(masses)), np.full(len(masses), 4.0)
    if tolerance <= 0 or not len(masses):
        return low
    for _ in range(40):
        middle = (low + high) / 2
        moved = np.abs(tilt_masses(masses, scores, middle) - masses).sum(axis=1) / 2
        low, high = np.where(moved < tolerance, middle, low), np.where(moved < tolerance, high, middle)
    return low


def tilted_bins(column: WatchedColumn) -> slice:
    """The bins that a column's tilts are about, given that a value is in one of them; none of a categorical column.

    Beyond the first and last cut point of continuous values lies one gap of reference values each, and tilts move it
    like any other. Where a column has few distinct values, nothing says that there are any beyond: a null that expects
    some would lose to every tilt away from them.
    """
    if not isinstance(column.bins, NumericBins):
        return slice(0, 0)
    n_inner = column.bins.n_inner
    return slice(1, n_inner - 1) if column.bins.values.size else slice(0, n_inner)


def _inner_masses(columns: Sequence[WatchedColumn], counts: IntArray) -> FloatArray:
    """(columns, INNER) masses of the tilted bins among the values in them; 0 elsewhere."""
    masses = np.zeros((len(columns), INNER))
    for c, column in enumerate(columns):
        tilted = tilted_bins(column)
        masses[c, tilted] = smoothed(counts[c, tilted]) if tilted.stop > tilted.start else 0.0
    return masses


def _tilt_scores(column: WatchedColumn, counts: IntArray) -> list[FloatArray]:
    """(INNER,) signed scores of a numeric column: location and spread, both ways; only upwards for variation."""
    tilted = tilted_bins(column)
    if np.count_nonzero(counts[tilted]) < 2:
        return []
    signs = (1.0,) if column.group is Group.VARIATION else (1.0, -1.0)
    found = []
    for score in legendre_scores(smoothed(counts[tilted])):
        if np.any(score):
            padded = np.zeros(INNER)
            padded[tilted] = score
            found += [sign * padded for sign in signs]
    return found


def _rates(column: WatchedColumn, counts: IntArray, tolerance: float) -> list[_Rate]:
    if column.group is Group.VARIATION:
        return [_Rate(column.bins.n_inner - 1, True, step) for step in RISES]
    if isinstance(column.bins, NumericBins):
        edges = (0, column.bins.n_inner - 1) if column.bins.n_inner >= 3 else ()
        return [_Rate(bin_, True, step) for bin_, step in product((*edges, MISSING, INVALID), RISES)]
    rates = [_Rate(bin_, True, step) for bin_, step in product((UNSEEN, MISSING, INVALID), RISES)]
    for bin_ in (*range(INNER - 2), OTHER):
        rate = float(counts[bin_]) / max(float(counts.sum()), 1.0)
        if counts[bin_] == 0:
            continue
        if bin_ >= _FULLY_WATCHED and bin_ != OTHER:
            rates.append(_Rate(bin_, True, RISES[0]))
            continue
        if rate + tolerance < _MOST_RATE:
            rates += [_Rate(bin_, True, step) for step in RISES]
        if rate - tolerance > _LEAST_FALLING:
            rates += [_Rate(bin_, False, step) for step in FALLS]
    return rates
