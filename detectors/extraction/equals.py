"""Equals: a figure of one client against that of honest clients of equal volume, as a rank.

The p-value is the share of honest clients, the client itself counted in, whose figure is as high: exact for a new
honest client whatever the figure's distribution, and never smaller than the number of honest clients allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray

SIZES = (25, 50, 100, 200, 400, 800)
ENOUGH = 20


@dataclass(frozen=True, slots=True, eq=False)
class Equals:
    """(sizes, clients) figures of honest clients at each of ``SIZES`` queries, ascending; infinity at the end: none."""

    figures: FloatArray

    @classmethod
    def fit(cls, by_size: Sequence[Sequence[float]]) -> Self:
        figures = np.full((len(SIZES), max([1, *map(len, by_size)])), np.inf)
        for row, values in zip(figures, by_size, strict=True):
            row[: len(values)] = np.sort(values)
        return cls(figures)

    def below(self, n: float) -> int | None:
        """The largest size up to n queries at which enough honest clients are known."""
        known = [i for i, size in enumerate(SIZES) if size <= n and self._count(i) >= ENOUGH]
        return known[-1] if known else None

    def above(self, n: float) -> int | None:
        """The smallest size from n queries on at which enough honest clients are known."""
        known = [i for i, size in enumerate(SIZES) if size >= n and self._count(i) >= ENOUGH]
        return known[0] if known else None

    def log_p(self, value: float, size: int) -> float:
        """Natural log of the p-value of a figure, high meaning odd; ``size`` is a position in ``SIZES``."""
        k = self._count(size)
        as_high = k - int(np.searchsorted(self.figures[size, :k], value, side="left"))
        return float(np.log((1.0 + as_high) / (k + 1.0)))

    def middle(self, size: int) -> float:
        """The median of honest clients."""
        return float(np.median(self.figures[size, : self._count(size)]))

    def _count(self, size: int) -> int:
        return int(np.isfinite(self.figures[size]).sum())

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"figures": self.figures}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(arrays["figures"])
