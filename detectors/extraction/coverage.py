"""Coverage (head H5): how much of the input space, and how many of the classes, one client has asked about.

Every query falls into a cell, the hash of which sides of twelve secret hyperplanes it lies on. Counts by cell add up
exactly, and from them the number of cells that any smaller number of queries would have met is known without drawing
(rarefaction), so that clients are compared at equal volume. A thief who wants all of the model asks evenly; honest
clients ask about what they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.batch import FloatArray, IntArray

PLANES = 12
CELLS = 128
_MULTIPLIER = 2_654_435_761


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Secret hyperplanes of the whitened space: normals (q, PLANES) and offsets (PLANES,)."""

    normals: FloatArray
    offsets: FloatArray

    @classmethod
    def fit(cls, white: FloatArray, rng: np.random.Generator) -> Self:
        """Hyperplanes through the middle of ordinary queries, each in a random direction of their own scatter."""
        scale = np.maximum(white.std(axis=0), 1e-9)
        normals = rng.standard_normal((white.shape[1], PLANES)) / scale[:, None]
        return cls(normals, np.median(white @ normals, axis=0))

    def of(self, white: FloatArray) -> IntArray:
        """(n,) cell of each query, in [0, CELLS)."""
        sides = white @ self.normals > self.offsets
        high, low = np.packbits(sides, axis=1).astype(np.int64).T
        return np.asarray(((256 * high + low) * _MULTIPLIER >> 16) % CELLS)

    def sums(self, white: FloatArray, counted: NDArray[np.bool_], group: IntArray, n_groups: int) -> IntArray:
        """(n_groups, CELLS) counts of the queries that are ``counted``, by group."""
        at = group[counted] * CELLS + self.of(white[counted])
        return np.bincount(at, minlength=n_groups * CELLS).reshape(n_groups, CELLS).astype(np.int64)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"normals": self.normals, "offsets": self.offsets}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(arrays["normals"], arrays["offsets"])


def rarefied(counts: IntArray | FloatArray, m: int) -> float:
    """Cells that ``m`` queries drawn without replacement from these counts are expected to meet; m <= their sum.

    >>> rarefied(np.array([2, 2]), 1)
    1.0
    """
    n = float(counts.sum())
    held = np.asarray(counts, dtype=np.float64)
    left = n - held
    missed = np.zeros(len(held))
    can = left >= m
    missed[can] = np.exp(_log_choose(left[can], m) - _log_choose(np.array([n]), m))
    return round(float(np.sum(1.0 - missed[held > 0])), 9)


def evenness(counts: IntArray | FloatArray) -> float:
    """Chance that two different queries have different classes; unbiased at every volume, 0 below two queries.

    >>> evenness(np.array([1, 1]))
    1.0
    """
    held = np.asarray(counts, dtype=np.float64)
    n = float(held.sum())
    return float(1.0 - np.sum(held * (held - 1.0)) / (n * (n - 1.0))) if n >= 2 else 0.0


def _log_choose(n: FloatArray, k: int) -> FloatArray:
    return np.asarray(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))
