"""Nearest neighbours: how far a point lies from the reference points around it.

* ``near``: mean distance to the five nearest of at most 2,000 reference rows.
* ``local``: the same with every distance divided by that row's own spacing, so that beside a tight
  cluster is far.

Rows are scored in blocks of one fixed shape, so that a row gets the same bits wherever a stream is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray

Float32 = NDArray[np.float32]
_Real = TypeVar("_Real", np.float32, np.float64)

BLOCK = 512
NEIGHBOURS = 5
MAX_ROWS = 2_000
GROUPS = 100
ROUNDING = 1e-3
"""Distances below this share of a point's length are the rounding of float32 and mean "the same"."""
FAR = np.float32(1e30)


def in_blocks(points: Float32, score: Callable[[Float32], NDArray[_Real]]) -> NDArray[_Real]:
    """``score`` over blocks of ``BLOCK`` rows, the last one padded with zeros; (n, c)."""
    n = len(points)
    padding = -n % BLOCK if n else BLOCK
    padded = np.concatenate([points, np.zeros((padding, points.shape[1]), np.float32)]) if padding else points
    return np.concatenate([score(padded[at : at + BLOCK]) for at in range(0, len(padded), BLOCK)])[:n]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Reference rows (r, d) float32 and their own spacing (r,), the mean distance to their five nearest."""

    rows: Float32
    spacing: Float32

    @classmethod
    def learn(cls, points: Float32, rng: np.random.Generator) -> Neighbours:
        rows = np.ascontiguousarray(points[rng.permutation(len(points))[:MAX_ROWS]])
        table = _table(rows, np.ones(len(rows), np.float32))
        nearest = in_blocks(rows, lambda block: _nearest(_extended(block), table, NEIGHBOURS + 1))
        spacing = nearest[:, 1:].mean(axis=1)
        apart = spacing[spacing > 0]
        floor = 0.1 * float(np.median(apart)) if apart.size else 1.0
        return cls(rows, np.maximum(spacing, floor).astype(np.float32))

    def scores(self, points: Float32) -> FloatArray:
        """(n, 2): near, local; cost 2 n · r · (d + 2) multiply-adds."""
        plain, local = _table(self.rows, np.ones_like(self.spacing)), _table(self.rows, self.spacing)
        return in_blocks(points, lambda block: _near_and_local(_extended(block), plain, local))


def _near_and_local(extended: Float32, plain: Float32, local: Float32) -> FloatArray:
    found = np.stack([_nearest(extended, table, NEIGHBOURS).mean(axis=1) for table in (plain, local)], axis=1)
    rounding = ROUNDING * np.sqrt(1.0 + extended[:, -2])
    return np.where(found[:, :1] > rounding[:, None], found, 0.0).astype(np.float64)


def _extended(points: Float32) -> Float32:
    """(b, d + 2): points, their squared length, one; times a ``_table`` it gives squared distances in one product."""
    length = (points**2).sum(axis=1, keepdims=True)
    return np.concatenate([points, length, np.ones_like(length)], axis=1)


def _table(rows: Float32, spacing: Float32) -> Float32:
    """(d + 2, r): what turns extended points into squared distances in units of each row's spacing."""
    inverse = (1.0 / spacing.astype(np.float64) ** 2)[:, None]
    wide = rows.astype(np.float64)
    columns = [-2.0 * wide * inverse, inverse, (wide**2).sum(axis=1, keepdims=True) * inverse]
    return np.ascontiguousarray(np.concatenate(columns, axis=1).T, dtype=np.float32)


def _nearest(extended: Float32, table: Float32, k: int) -> Float32:
    """Distances (b, k) to the k nearest rows of the table, ascending."""
    found: Float32 = np.sqrt(np.maximum(_smallest(extended @ table, k), 0.0))
    return found


def _smallest(values: Float32, k: int) -> Float32:
    """The k smallest of each row (b, k), ascending.

    They lie in the k groups of columns with the smallest minima, so only those are searched.
    """
    b, r = values.shape
    if r < 4 * GROUPS:
        k = min(k, r)
        return np.sort(np.partition(values, k - 1, axis=1)[:, :k], axis=1)
    depth = -(-r // GROUPS)
    if depth * GROUPS != r:
        values = np.concatenate([values, np.full((b, depth * GROUPS - r), FAR, np.float32)], axis=1)
    cube = values.reshape(b, depth, GROUPS)
    best = np.argpartition(cube.min(axis=1), k - 1, axis=1)[:, :k]
    found = np.take_along_axis(cube, best[:, None, :], axis=2).reshape(b, -1)
    return np.sort(np.partition(found, k - 1, axis=1)[:, :k], axis=1)
