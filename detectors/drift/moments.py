"""Moments: means and products of standardised columns, as exact additive features, and what they say of pairs.

Products make a witness that is sharp for a change of correlation, where a kernel over many columns is all but blind to
a single pair. Values count as three standard deviations at most, so that no single event decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.batch import FloatArray, IntArray
from detectors.drift.waves import GRID, Float32Array, Int32Array

MOMENT_ONE = GRID * GRID
"""Moments are whole numbers in units of 1/1024 sd, or sd squared."""
MAX_PAIRED_COLUMNS = 40
_REACH = 3 * GRID
_CERTAIN = 4.0
_LEAST_CORRELATION = 0.1
_LEAST_SHIFT = 0.1
_TOP = 5


@dataclass(frozen=True, slots=True)
class Moments:
    """Means of ``p`` columns and, where ``paired``, their products (upper triangle, squares included)."""

    p: int
    paired: bool

    @property
    def width(self) -> int:
        return self.p + (self.p * (self.p + 1) // 2 if self.paired else 0)

    @property
    def parts(self) -> tuple[IntArray, ...]:
        """Positions of the means, and where paired of the squares and of the products of two columns."""
        means = np.arange(self.p)
        if not self.paired:
            return (means,)
        i, j = np.triu_indices(self.p)
        return means, self.p + np.flatnonzero(i == j), self.p + np.flatnonzero(i != j)

    def of(self, steps: Float32Array) -> Int32Array:
        """(n, width) moments of whole (n, p) ``steps``."""
        held = np.clip(steps, -_REACH, _REACH).astype(np.int32)
        if not self.paired:
            return np.asarray(held * GRID)
        i, j = np.triu_indices(self.p)
        return np.concatenate([held * GRID, held[:, i] * held[:, j]], axis=1)

    def sums(self, steps: Float32Array) -> IntArray:
        """(width,) exact sums over rows: every partial sum of the products is a whole number below 2**53."""
        held = np.clip(steps, -_REACH, _REACH).astype(np.float64)
        first = held.sum(axis=0) * GRID
        if not self.paired:
            return np.asarray(first, dtype=np.int64)
        return np.asarray(np.concatenate([first, (held.T @ held)[np.triu_indices(self.p)]]), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Means (width,) of moments in the reference and since the change began, and how many independent events each."""

    moments: Moments
    names: Sequence[str]
    reference: FloatArray
    current: FloatArray
    n_reference: float
    n_current: float

    def columns(self) -> list[dict[str, Any]]:
        """The columns whose mean or spread moved beyond chance, most certain first, at most five."""
        p = self.moments.p
        error = np.sqrt(1 / self.n_current + 1 / self.n_reference)
        shift = self.current[:p] - self.reference[:p]
        return [
            {"name": self.names[i], "effect": round(float(shift[i]), 3), "effect_unit": "sd"}
            for i in np.argsort(-np.abs(shift), kind="stable")[:_TOP]
            if abs(shift[i]) > max(_CERTAIN * error, _LEAST_SHIFT)
        ]

    def spreads(self) -> list[dict[str, Any]]:
        """The columns whose standard deviation changed beyond chance, as a ratio to the reference's."""
        if not self.moments.paired:
            return []
        before, after = (np.sqrt(np.diag(_covariance(self.moments.p, m))) for m in (self.reference, self.current))
        ratio = after / np.where(before > 0, before, np.inf)
        error = np.sqrt((1 / self.n_current + 1 / self.n_reference) / 2)
        told = np.abs(np.log(np.maximum(ratio, 1e-3)))
        order = np.argsort(-told, kind="stable")[:_TOP]
        return [
            {"name": self.names[i], "ratio": round(float(ratio[i]), 3)}
            for i in order
            if before[i] > 0 and told[i] > max(_CERTAIN * error, _LEAST_SHIFT)
        ]

    def pairs(self) -> list[dict[str, Any]]:
        """The pairs whose correlation changed beyond chance, largest change first, at most five."""
        if not self.moments.paired or self.n_current <= 4:
            return []
        before, after = (_correlation(_covariance(self.moments.p, m)) for m in (self.reference, self.current))
        i, j = np.triu_indices(self.moments.p, 1)
        change = np.abs(np.arctanh(after[i, j]) - np.arctanh(before[i, j]))
        error = np.sqrt(1 / (self.n_current - 3) + 1 / max(self.n_reference - 3, 1.0))
        return [
            {
                "a": self.names[i[k]],
                "b": self.names[j[k]],
                "reference": round(float(before[i[k], j[k]]), 3),
                "current": round(float(after[i[k], j[k]]), 3),
            }
            for k in np.argsort(-change, kind="stable")[:_TOP]
            if change[k] > _CERTAIN * error and abs(after[i[k], j[k]] - before[i[k], j[k]]) >= _LEAST_CORRELATION
        ]


def _covariance(p: int, moments: FloatArray) -> FloatArray:
    mean = moments[:p]
    second = np.zeros((p, p))
    i, j = np.triu_indices(p)
    second[i, j] = second[j, i] = moments[p:]
    covariance = second - np.outer(mean, mean)
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), 0.0))
    return covariance


def _correlation(covariance: FloatArray) -> FloatArray:
    deviation = np.sqrt(np.diag(covariance))
    scale = np.where(deviation > 1e-6, deviation, np.inf)
    return np.asarray(np.clip(covariance / np.outer(scale, scale), -0.999, 0.999))
