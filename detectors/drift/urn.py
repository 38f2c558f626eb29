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

import numpy as np
from scipy.special import gammaln

from detectors.batch import FloatArray, IntArray
from detectors.drift.bets import BetTable
from detectors.drift.columns import INNER

_NO_BALL = 1e-30


class Urn:
    """Log likelihood ratios of a table's bets against the urn. Cost: one ``gammaln`` pair per tilt and bin."""

    def __init__(self, bets: BetTable) -> None:
        self._bets = bets
        nulls = bets.null_rows
        signed = bets.tilt_scores
        self._null_column = bets.tilt_column[nulls]
        with np.errstate(over="ignore"):
            self._null_factor = np.exp(bets.tilt_tolerance[nulls, None] * signed[nulls])
            reach = bets.tilt_tolerance + bets.tilt_step
            self._factor = np.exp(reach[:, None] * signed)

    def log_ratios(self, balls: FloatArray, counts: FloatArray) -> FloatArray:
        """(t + r,) log L of each bet, in the table's order.

        Args:
            balls: (columns, N_BINS) the urn, ≥ 0.
            counts: (columns, N_BINS) what the pane drew, ≥ 0; real where dispersion scales it.
        """
        return np.concatenate([self._tilts(balls, counts), self._rates(balls, counts)])[self._bets.order]

    def _tilts(self, balls: FloatArray, counts: FloatArray) -> FloatArray:
        bets = self._bets
        inner, drawn = np.maximum(balls[:, :INNER], _NO_BALL), counts[:, :INNER]
        null = _log_draw(inner, drawn, self._null_column, self._null_factor)
        return _log_draw(inner, drawn, bets.tilt_column, self._factor) - null[bets.tilt_null]

    def _rates(self, balls: FloatArray, counts: FloatArray) -> FloatArray:
        bets = self._bets
        whole = balls.sum(axis=1)[bets.rate_column]
        null, further = bets.rate_range(balls[bets.rate_column, bets.rate_bin] / np.maximum(whole, _NO_BALL))
        inside = counts[bets.rate_column, bets.rate_bin]
        outside = counts.sum(axis=1)[bets.rate_column] - inside
        return _log_pair(whole, further, inside, outside) - _log_pair(whole, null, inside, outside)


def _log_draw(balls: FloatArray, drawn: FloatArray, column: IntArray, factor: FloatArray) -> FloatArray:
    """(rows,) log of the Dirichlet-multinomial weight of ``drawn`` with composition ``balls × factor``, total kept."""
    tilted = balls[column] * factor
    tilted *= (balls.sum(axis=1)[column] / tilted.sum(axis=1))[:, None]
    seen = drawn[column]
    return np.asarray((gammaln(tilted + seen) - gammaln(tilted)).sum(axis=1))


def _log_pair(whole: FloatArray, rate: FloatArray, inside: FloatArray, outside: FloatArray) -> FloatArray:
    first, second = np.maximum(whole * rate, _NO_BALL), np.maximum(whole * (1 - rate), _NO_BALL)
    return np.asarray(gammaln(first + inside) - gammaln(first) + gammaln(second + outside) - gammaln(second))
