"""Stretches: what the reference itself shows from one stretch of time to the next, along any direction.

Traffic with a rhythm (the hour of the day, the weather, who is awake) moves along a few directions of a block's
features, and no single overdispersion tells which. The sums of the features over stretches of the reference do: the
scatter of a witness's score from stretch to stretch, over what independent events would show, is how much its evidence
must be tempered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import chi2

from detectors.batch import FloatArray, IntArray

_MOST = 128
_FEWEST = 8
_WIDER = 4
_CLEAR = 1e-3
"""Chance among independent events of a scatter that is taken for real."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Stretches of the reference in time order.

    Attributes:
        number: (k,) int64, which stretch of time each is: gaps have none; k ≤ 128.
        sums: (k, D) sums of the features over each, less what its events' seasons expect.
        n: events in all.
    """

    number: IntArray
    sums: FloatArray
    n: float

    @classmethod
    def none(cls, width: int) -> Self:
        return cls(np.empty(0, dtype=np.int64), np.empty((0, width)), 0.0)

    @classmethod
    def measure(
        cls,
        timestamp: FloatArray,
        strata: IntArray,
        means: FloatArray,
        sums: Callable[[slice], FloatArray],
        pane_s: float,
    ) -> Self:
        """From the reference, in time order; stretches are as many panes as a power of four, the narrowest allowed.

        Args:
            timestamp, strata: (n,) of its events; means: (strata, D) of their features.
            sums: (D,) sums of the features over a run of events.
        """
        width = pane_s
        number = np.floor(timestamp / width).astype(np.int64)
        while np.unique(number).size > _MOST:
            width *= _WIDER
            number = np.floor(timestamp / width).astype(np.int64)
        found, starts = np.unique(number, return_index=True)
        if len(found) < _FEWEST:
            return cls.none(means.shape[1])
        ends = np.append(starts[1:], len(timestamp))
        rows = []
        for start, end in zip(starts, ends, strict=True):
            expected = np.bincount(strata[start:end], minlength=len(means)) @ means
            rows.append(sums(slice(int(start), int(end))) - expected)
        return cls(found, np.stack(rows), float(len(timestamp)))

    def overdispersion(self, directions: FloatArray, variance: FloatArray) -> FloatArray:
        """(m,) clear overdispersion ≥ 1 of the scores ``directions`` (m, D), whose events have ``variance`` (m,)."""
        found = np.ones(len(directions))
        if not self.n:
            return found
        scores, number = self.sums @ directions.T, self.number
        usual = np.maximum(self.n * variance, 1e-300)
        while len(number) >= _FEWEST:
            freedom = len(number) - 1
            ratio = (scores**2).sum(axis=0) / usual * len(number) / freedom
            clear = ratio > float(chi2.isf(_CLEAR, freedom)) / freedom
            found = np.where(clear, np.maximum(found, ratio), found)
            number, starts = np.unique(number // _WIDER, return_index=True)
            scores = np.add.reduceat(scores, starts, axis=0)
        return np.asarray(found)
