"""The urn: bets against a null that knows how little a finite reference says.

Given cut points at order statistics of ``N`` reference values, further values of the same source fall into bins as
balls are drawn from a Pólya urn that holds one ball for each reference gap, and one more of a bin's colour after every
draw from it. The null's probability of a pane is therefore Dirichlet-multinomial, exactly and for every distribution;
the alternative is the same urn with its composition tilted. Their ratio has mean one whatever the reference's luck, so
a small reference costs power, never false alarms. Values that are judged ordinary join the urn.

Source: the urn is the posterior predictive of the Dirichlet process (Blackwell and MacQueen, 1973); the mean-one ratio
is what an e-detector needs (Shin, Ramdas, Rinaldo, 2023, §2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import gammaln

from detectors.batch import FloatArray, IntArray
from detectors.drift.bets import BetTable
from detectors.drift.columns import INNER

_NO_BALL = 1e-30
_STIRLING_FROM = 10.0


@dataclass(frozen=True, eq=False)
class _Rows:
    """Compositions to weigh a pane with: the column of each, and by which factor (rows, INNER) its balls change."""

    column: IntArray
    factor: FloatArray
    log_factor: FloatArray

    @classmethod
    def of(cls, column: IntArray, log_factor: FloatArray) -> Self:
        return cls(column, np.exp(log_factor), log_factor)


class Urn:
    """Log likelihood ratios of a table's bets against the urn. Cost: about one logarithm per tilt and bin."""

    def __init__(self, bets: BetTable) -> None:
        self._bets = bets
        nulls = bets.null_rows
        signed = bets.tilt_scores
        self._nulls = _Rows.of(bets.tilt_column[nulls], bets.tilt_tolerance[nulls, None] * signed[nulls])
        self._tilted = _Rows.of(bets.tilt_column, (bets.tilt_tolerance + bets.tilt_step)[:, None] * signed)

    def log_ratios(self, balls: FloatArray, counts: FloatArray) -> FloatArray:
        """(t + r,) log L of each bet, in the table's order.

        Args:
            balls: (columns, N_BINS) the urn, ≥ 0.
            counts: (columns, N_BINS) what the pane drew, ≥ 0; real where dispersion scales it.
        """
        return np.concatenate([self._tilts(balls, counts), self._rates(balls, counts)])[self._bets.order]

    def _tilts(self, balls: FloatArray, counts: FloatArray) -> FloatArray:
        inner = np.where(self._bets.tilted, np.maximum(balls[:, :INNER], _NO_BALL), _NO_BALL)
        drawn = np.where(self._bets.tilted, counts[:, :INNER], 0.0)
        null = _log_draw(inner, drawn, self._nulls)
        return _log_draw(inner, drawn, self._tilted) - null[self._bets.tilt_null]

    def _rates(self, balls: FloatArray, counts: FloatArray) -> FloatArray:
        bets = self._bets
        whole = balls.sum(axis=1)[bets.rate_column]
        null, further = bets.rate_range(balls[bets.rate_column, bets.rate_bin] / np.maximum(whole, _NO_BALL))
        inside = counts[bets.rate_column, bets.rate_bin]
        outside = counts.sum(axis=1)[bets.rate_column] - inside
        return _log_pair(whole, further, inside, outside) - _log_pair(whole, null, inside, outside)


def _log_draw(balls: FloatArray, drawn: FloatArray, rows: _Rows) -> FloatArray:
    """(rows,) log of the Dirichlet-multinomial weight of ``drawn`` with composition ``balls × factor``, total kept."""
    tilted = balls[rows.column]
    tilted *= rows.factor
    scale = balls.sum(axis=1)[rows.column] / tilted.sum(axis=1)
    tilted *= scale[:, None]
    log_tilted = np.log(balls)[rows.column]
    log_tilted += rows.log_factor
    log_tilted += np.log(scale)[:, None]
    return np.asarray(log_rise(tilted, log_tilted, drawn[rows.column]).sum(axis=1))


def log_rise(start: FloatArray, log_start: FloatArray, rise: FloatArray) -> FloatArray:
    """``log Γ(start + rise) - log Γ(start)`` for positive ``start`` whose logarithm is known, and ``rise`` ≥ 0.

    Stirling's series where ``start`` is at least ten (absolute error below 1e-8), ``gammaln``, at twice the cost,
    elsewhere.
    """
    end = start + rise
    after, before = np.reciprocal(end), np.reciprocal(start)
    third = after * after
    third += after * before
    third += before * before
    third *= -1.0 / 360.0
    third += 1.0 / 12.0
    after -= before
    third *= after
    out = np.log(end)
    out *= end - 0.5
    out += third
    out -= rise
    out -= log_start * (start - 0.5)
    small = np.flatnonzero((start < _STIRLING_FROM) & (rise > 0))
    low = start.ravel()[small]
    out.ravel()[small] = gammaln(end.ravel()[small]) - gammaln(low)
    out[rise == 0] = 0.0
    return np.asarray(out)


def _log_pair(whole: FloatArray, rate: FloatArray, inside: FloatArray, outside: FloatArray) -> FloatArray:
    first, second = np.maximum(whole * rate, _NO_BALL), np.maximum(whole * (1 - rate), _NO_BALL)
    return np.asarray(gammaln(first + inside) - gammaln(first) + gammaln(second + outside) - gammaln(second))
