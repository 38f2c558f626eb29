"""Grain: the step that all values of a numeric column are multiples of, such as whole minutes or cents.

Perturbed inputs fall between the steps: a Jacobian step, a halving towards the boundary or a uniform draw has digits
that no honest client sends. A value off the grain is as surprising as a category that hardly anybody has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray

STEPS = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01, 0.001)
MOST_OFF = 0.01
"""Share of a column's values that may lie off its grain: testers and what-if tools send a few."""
_LEAST_VALUES = 100
_ROUNDING = 1e-3
_SINGLE = 2e-7


@dataclass(frozen=True, slots=True, eq=False)
class Grain:
    """(p,) step of each numeric column, 0 where it has none, and (p,) nats of surprise that a value off it is worth."""

    step: FloatArray
    nats: FloatArray

    @classmethod
    def none(cls, p: int) -> Self:
        return cls(np.zeros(p), np.zeros(p))

    @classmethod
    def fit(cls, values: FloatArray) -> Self:
        """The coarsest grain of each column of (n, p) values."""
        found = cls.none(values.shape[1])
        for j in range(values.shape[1]):
            column = values[np.isfinite(values[:, j]), j]
            if len(column) < _LEAST_VALUES:
                continue
            for step in STEPS:
                off = int(_off(column, step).sum())
                if off <= MOST_OFF * len(column):
                    found.step[j], found.nats[j] = step, -np.log((off + 1.0) / (len(column) + 2.0))
                    break
        return found

    @property
    def known(self) -> bool:
        """Whether any column has a grain."""
        return bool(self.step.any())

    def surprise(self, values: FloatArray) -> FloatArray:
        """(n,) summed nats of the values of (n, p) that lie off the grain."""
        some = np.flatnonzero(self.step)
        if not len(some):
            return np.zeros(len(values))
        return np.asarray(_off(values[:, some], self.step[some]) @ self.nats[some])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"grain": np.stack([self.step, self.nats])}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(*arrays["grain"])


def _off(values: FloatArray, step: float | FloatArray) -> NDArray[np.bool_]:
    """Which values are no multiples of the step, by more than single precision would blur them."""
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = values / step
        gap = np.abs(ratio - np.rint(ratio))
        return np.asarray(gap > _ROUNDING + _SINGLE * np.abs(ratio))
