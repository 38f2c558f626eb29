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
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.drift.columns import INNER, INVALID, MISSING, OTHER, UNSEEN, Group, NumericBins, WatchedColumn
from detectors.drift.ladders import N_TILTS, RISES, Scale, earning_tilts, tolerated_tilts
from detectors.evidence import legendre_scores

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
        cls, columns: Sequence[WatchedColumn], counts: IntArray, scales: Sequence[Scale], tolerance: float
    ) -> Self:
        """The bets for ``columns``, each with its scale, whose reference counts are ``counts`` (columns, N_BINS)."""
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
            own, reach = _tilt_scores(column, counts[c]), scales[c].tilts(tolerance)
            for signed in own:
                null_rows.append(len(tilt_column))
                for step in reach:
                    tilt_column.append(c)
                    scores.append(signed)
                    tilt_step.append(float(step))
                    null.append(len(null_rows) - 1)
            found = _rates(column, counts[c], scales[c], tolerance)
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
            tilt_step=earning_tilts(masses, scores_array, np.array(tilt_step)),
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
        """(r,) null and alternative rates for present rates (r,), with a sampling error added to the tolerance.

        They are equal, so that the bet neither pays nor loses, where a rate that is tolerated has no room beyond it: a
        null short of what is tolerated would pay for ever on what never changed.
        """
        up, down = rate + self.tolerance + error, rate - self.tolerance - error
        null = np.clip(np.where(self.rate_rises, up, down), _LEAST_RATE, _MOST_RATE)
        further = np.where(self.rate_rises, null + (1 - null) * self.rate_step, null * self.rate_step)
        room = np.where(self.rate_rises, up <= _MOST_RATE, down >= _LEAST_RATE)
        return null, np.where(room, further, null)


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


def _rates(column: WatchedColumn, counts: IntArray, scale: Scale, tolerance: float) -> list[_Rate]:
    if column.group is Group.VARIATION:
        return [_Rate(column.bins.n_inner - 1, True, step) for step in RISES]
    shares = counts / max(float(counts.sum()), 1.0)

    def rising(bin_: int) -> list[_Rate]:
        """None without room to rise. What the reference never saw has no standard error to go by."""
        share = float(shares[bin_])
        if share + tolerance >= _MOST_RATE:
            return []
        return [_Rate(bin_, True, float(step)) for step in (scale.rises(share, tolerance) if share else RISES)]

    def falling(bin_: int) -> list[_Rate]:
        return [_Rate(bin_, False, 1.0 - float(drop)) for drop in scale.falls(float(shares[bin_]), tolerance)]

    gone = [rate for bin_ in (MISSING, INVALID) for rate in rising(bin_) or falling(bin_)]
    if isinstance(column.bins, NumericBins):
        edges = (0, column.bins.n_inner - 1) if column.bins.n_inner >= 3 else ()
        return [rate for bin_ in edges for rate in rising(bin_)] + gone
    rates = rising(UNSEEN) + gone
    for bin_ in (*range(INNER - 2), OTHER):
        share = float(shares[bin_])
        if counts[bin_] == 0:
            continue
        if bin_ >= _FULLY_WATCHED and bin_ != OTHER:
            steps = scale.rises(share, tolerance)
            rates.append(_Rate(bin_, True, min(float(np.sqrt(steps[0] * steps[-1])), RISES[0])))
            continue
        rates += rising(bin_)
        if share - tolerance > _LEAST_FALLING:
            rates += falling(bin_)
    return rates
