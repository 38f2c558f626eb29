"""Stretches: what the reference itself shows from one stretch of time to the next, along any direction.

Traffic with a rhythm (the hour of the day, the weather, who is awake) moves along a few directions of a block's
features, and no single overdispersion tells which. The sums of the features over stretches of the reference do: the
scatter of a witness's score from stretch to stretch, over what independent events would show, is how much its evidence
must be tempered. Where they move clearly, a witness is also turned away from them: what comes and goes with the clock
would otherwise drown a change in what does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from detectors.batch import FloatArray, IntArray

_MOST, _LEAST_MOST, _MOST_CELLS = 512, 128, 250_000
_FEWEST = 8
_WIDER = 4
_CLEAR = 1e-3
"""Chance among independent events of a scatter that is taken for real."""

_BEYOND = 1.5
"""A rhythm over the largest scatter that independent events show along any direction (Marchenko and Pastur, 1967)."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Stretches of the reference in time order.

    Attributes:
        number: (k,) int64, which stretch of time each is: gaps have none; k ≤ 512, fewer where D is large: 1 MB.
        sums: (k, D) sums of the features over each, less what its events' seasons expect.
        n: (k,) events of each.
    """

    number: IntArray
    sums: FloatArray
    n: FloatArray

    @classmethod
    def none(cls, width: int) -> Self:
        return cls(np.empty(0, dtype=np.int64), np.empty((0, width)), np.empty(0))

    @classmethod
    def measure(
        cls,
        timestamp: FloatArray,
        strata: IntArray,
        means: FloatArray,
        sums: Callable[[slice], FloatArray],
        pane_s: float,
    ) -> Self:
        """From the reference, in time order; stretches are as many panes as a power of two, the narrowest allowed.

        Narrower than a season's stratum, whose mean is taken off: over a whole one nothing would be left to see.

        Args:
            timestamp, strata: (n,) of its events; means: (strata, D) of their features.
            sums: (D,) sums of the features over a run of events.
        """
        most = int(np.clip(_MOST_CELLS // max(means.shape[1], 1), _LEAST_MOST, _MOST))
        width = pane_s
        number = np.floor(timestamp / width).astype(np.int64)
        while np.unique(number).size > most:
            width *= 2
            number = np.floor(timestamp / width).astype(np.int64)
        found, starts = np.unique(number, return_index=True)
        if len(found) < _FEWEST:
            return cls.none(means.shape[1])
        ends = np.append(starts[1:], len(timestamp))
        rows = []
        for start, end in zip(starts, ends, strict=True):
            expected = np.bincount(strata[start:end], minlength=len(means)) @ means
            rows.append(sums(slice(int(start), int(end))) - expected)
        return cls(found, np.stack(rows), (ends - starts).astype(np.float64))

    def overdispersion(self, directions: FloatArray, variance: FloatArray) -> FloatArray:
        """(m,) clear overdispersion ≥ 1 of the scores ``directions`` (m, D), whose events have ``variance`` (m,).

        The larger of what stretches show on average and what makes the oddest of them as odd as one of so many may be:
        a rhythm has its rare hours.
        """
        found = np.ones(len(directions))
        scores, number, n = self.sums @ directions.T, self.number, self.n
        usual = np.maximum(variance, 1e-300)
        while len(number) >= _FEWEST:
            freedom = len(number) - 1
            mean = (scores**2).sum(axis=0) / (n.sum() * usual) * len(number) / freedom
            oddest = (scores**2 / n[:, None]).max(axis=0) / usual / (2 * np.log(len(number)))
            found = np.where(mean > _clear(freedom), np.maximum(found, np.maximum(mean, oddest)), found)
            number, starts = np.unique(number // _WIDER, return_index=True)
            scores, n = np.add.reduceat(scores, starts, axis=0), np.add.reduceat(n, starts)
        return np.asarray(found)

    def rhythm(self, rows: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """The directions along which the reference itself moves from stretch to stretch, and how to hold them down.

        Args:
            rows: (m, D) a sample of events, minus its mean.

        Returns:
            (r, D) loadings, and (r, D) what a loading of one takes away from a witness; none beyond what as many
            stretches of independent events would show.
        """
        width = rows.shape[1]
        deviation = rows.astype(np.float64).std(axis=0)
        unit = np.where(deviation > 1e-9, 1 / np.maximum(deviation, 1e-9), 0.0)
        if not len(self.n):
            return np.empty((0, width)), np.empty((0, width))
        _, singular, axes = np.linalg.svd(self.sums * unit / np.sqrt(self.n.sum()), full_matrices=False)
        own = np.mean(((rows * unit) @ axes.T) ** 2, axis=0)
        ratio = singular**2 / np.maximum(own, 1e-9)
        kept = ratio > _BEYOND * (1 + np.sqrt(width / len(self.number))) ** 2
        return axes[kept] * unit, (1 - 1 / ratio[kept])[:, None] * axes[kept] * deviation


@cache
def _clear(freedom: int) -> float:
    return float(chi2.isf(_CLEAR, freedom)) / freedom
