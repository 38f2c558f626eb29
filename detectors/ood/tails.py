"""Marginal tails: how far out each feature lies on its own, whatever the others say.

Per column the surprise ``−log two-sided tail share`` is a piecewise linear function of the value, through reference
order statistics that grow denser towards both ends, and goes on in a straight, then logarithmic line beyond the range
seen. A category's surprise is −log of the share of categories as rare or rarer. Catches an impossible value in one
column out of many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.batch import FloatArray, IntArray
from detectors.ood.encoding import compress

GROWTH = 1.5
"""Ratio of the ranks of neighbouring knots."""
BEYOND = 0.7
"""Surprise of leaving the range at all, beside the distance: log 2."""
FARTHEST = 1e12


@dataclass(frozen=True, slots=True, eq=False)
class Tails:
    """Knots of every numeric column, one after the other.

    Attributes:
        starts: (p + 1,) where each column's knots begin.
        knots, surprise: values (increasing within a column) and −log two-sided tail share.
        reach: (p, 2) the unit of distance below and above the range seen.
    """

    starts: IntArray
    knots: FloatArray
    surprise: FloatArray
    reach: FloatArray

    @classmethod
    def learn(cls, numeric: FloatArray, scale: FloatArray) -> Tails:
        columns = [_column(numeric[:, j], scale[j]) for j in range(numeric.shape[1])]
        starts = np.cumsum([0] + [len(c[0]) for c in columns])
        if not columns:
            return cls(starts, np.empty(0), np.empty(0), np.empty((0, 2)))
        return cls(
            starts,
            np.concatenate([c[0] for c in columns]),
            np.concatenate([c[1] for c in columns]),
            np.array([c[2] for c in columns]),
        )

    def surprises(self, numeric: FloatArray) -> FloatArray:
        """(n, p) surprise of every number, in nats; 0 where it is not a finite number."""
        out = np.zeros(numeric.shape)
        for j in range(numeric.shape[1]):
            knots = self.knots[self.starts[j] : self.starts[j + 1]]
            if len(knots):
                out[:, j] = self._of(j, knots, np.nan_to_num(numeric[:, j], nan=knots[0], posinf=0.0, neginf=0.0))
        out[~np.isfinite(numeric)] = 0.0
        return out

    def _of(self, j: int, knots: FloatArray, values: FloatArray) -> FloatArray:
        surprise = self.surprise[self.starts[j] : self.starts[j + 1]]
        inside = np.interp(values, knots, surprise)
        near, far = self.reach[j]
        values = np.clip(values, knots[0] - FARTHEST * near, knots[-1] + FARTHEST * far)
        below = np.maximum(knots[0] - values, 0.0) / near
        above = np.maximum(values - knots[-1], 0.0) / far
        return np.asarray(inside + np.where(below + above > 0, BEYOND, 0.0) + compress(below + above))


def _column(values: FloatArray, scale: float) -> tuple[FloatArray, FloatArray, tuple[float, float]]:
    ordered = np.sort(values[np.isfinite(values)])
    n = len(ordered)
    if n == 0:
        return np.empty(0), np.empty(0), (1.0, 1.0)
    steps = np.unique(np.floor(GROWTH ** np.arange(0, np.log(max(n / 2, 1)) / np.log(GROWTH) + 1)).astype(np.int64) - 1)
    steps = steps[steps < n]
    knots = np.unique(np.concatenate([ordered[steps], ordered[n - 1 - steps]]))
    at_most = np.searchsorted(ordered, knots, side="right")
    at_least = n - np.searchsorted(ordered, knots, side="left")
    share = np.minimum(2.0 * np.minimum(at_most, at_least) / (n + 1.0), 1.0)
    return knots, -np.log(share), _reach(ordered, scale)


def _reach(ordered: FloatArray, scale: float) -> tuple[float, float]:
    k = max(len(ordered) // 20, 1)
    low = float(np.mean(ordered[:k]) - ordered[0]), float(ordered[min(k, len(ordered) - 1)] - ordered[0])
    high = float(ordered[-1] - np.mean(ordered[-k:])), float(ordered[-1] - ordered[-min(k, len(ordered) - 1) - 1])
    floor = max(scale * 0.05, 1e-9)
    return max(max(low) * 0.5, floor), max(max(high) * 0.5, floor)
