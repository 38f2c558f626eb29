"""Ranks: how rare a score is among those of ordinary queries, class by class, as -ln p.

Up to one in a thousand the p-value is a rank in a table of quantiles; beyond that a straight line goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.clients.space import MIN_CLASS_ROWS

_GRID = np.concatenate([np.linspace(0.98, 0.1, 45), np.geomspace(0.09, 0.001, 40)])
DEPTH = -np.log(_GRID)
"""(grid,) -ln p of the entries of a table; as a table of its own it leaves -ln p as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """One score of ordinary queries: (C + 1,) median and spread by predicted class, (grid,) quantiles in such units."""

    loc: FloatArray
    scale: FloatArray
    table: FloatArray

    @classmethod
    def fit(cls, raw: FloatArray, label: IntArray, n_labels: int) -> Self:
        """From (n,) scores, NaN where unknown."""
        loc, scale = (by_class[:, 0] for by_class in class_scale(raw[:, None], label, n_labels))
        return cls(loc, scale, quantile_table((raw - loc[label]) / scale[label]))

    def nats(self, raw: FloatArray, label: IntArray) -> FloatArray:
        """(n,) -ln p of scores; NaN stays."""
        return surprisal((raw - self.loc[label]) / self.scale[label], self.table)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"loc": self.loc, "scale": self.scale, "table": self.table}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(arrays["loc"], arrays["scale"], arrays["table"])


def surprisal(scores: FloatArray, quantiles: FloatArray) -> FloatArray:
    """-ln p of scores against a table of quantiles; beyond the table, a straight line."""
    out = np.interp(scores, quantiles, DEPTH)
    step = max(float(quantiles[-1] - quantiles[-30]), 1e-9)
    slope = (DEPTH[-1] - DEPTH[-30]) / step
    beyond = DEPTH[-1] + np.minimum(slope, 1e6) * np.maximum(scores - quantiles[-1], 0.0)
    return np.asarray(np.where(scores > quantiles[-1], np.minimum(beyond, 700.0), out))


def quantile_table(scores: FloatArray) -> FloatArray:
    """(grid,) upper quantiles of scores, strictly increasing."""
    kept = scores[~np.isnan(scores)]
    table = np.quantile(kept, 1.0 - _GRID, method="higher") if kept.size else np.zeros(len(_GRID))
    return table + 1e-12 * (1.0 + np.abs(table)) * np.arange(len(table))


def class_scale(raw: FloatArray, label: IntArray, n_labels: int) -> tuple[FloatArray, FloatArray]:
    """(C + 1, channels) median and interquartile scale by class; pooled where a class has few rows."""
    low, mid, high = np.nan_to_num(np.nanquantile(raw, [0.25, 0.5, 0.75], axis=0))
    loc = np.repeat(mid[None, :], n_labels + 1, axis=0)
    scale = np.repeat(np.maximum(high - low, 1e-6)[None, :], n_labels + 1, axis=0)
    for c in range(n_labels):
        own = raw[label == c]
        if len(own) >= MIN_CLASS_ROWS and not np.isnan(own).all(axis=0).any():
            low, mid, high = np.nanquantile(own, [0.25, 0.5, 0.75], axis=0)
            loc[c], scale[c] = mid, np.maximum(high - low, 0.2 * scale[-1])
    return loc, scale
