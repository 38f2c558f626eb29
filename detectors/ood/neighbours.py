"""Nearest neighbours: how far a point lies from the reference points around it.

* ``near``: mean distance to the five nearest of at most 2,000 reference rows.
* ``local``: the same with every distance divided by that row's own spacing, so that beside a tight cluster is far;
  from 400 rows on it is sought among the nearest tenth of them.

Rows are scored in blocks of one fixed shape, so that a row gets the same bits wherever a stream is cut; within a block,
products are taken a few rows at a time, so that it gets the same bits wherever in the block it comes to lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray

Float32 = NDArray[np.float32]
_Real = TypeVar("_Real", np.float32, np.float64)

BLOCK = 256
KERNEL = 8
"""Rows of one matrix product; of more, processors without AVX-512 round the last ones otherwise than the first."""
NEIGHBOURS = 5
MAX_ROWS = 2_000
GROUPS = 100
SEARCH_FROM = 4 * GROUPS
LOCAL_GROUPS = 8
"""Groups of the nearest rows among which ``local`` looks: 160 of 2,000 rows."""
ROUNDING = 1e-3
"""Distances below this share of a point's length are the rounding of float32 and mean "the same"."""
FAR = np.float32(1e30)


def in_blocks(points: Float32, score: Callable[[Float32], NDArray[_Real]]) -> NDArray[_Real]:
    """``score`` over blocks of ``BLOCK`` rows, the last one padded with zeros; (n, c)."""
    n = len(points)
    padding = -n % BLOCK if n else BLOCK
    padded = np.concatenate([points, np.zeros((padding, points.shape[1]), np.float32)]) if padding else points
    return np.concatenate([score(padded[at : at + BLOCK]) for at in range(0, len(padded), BLOCK)])[:n]


def product(rows: Float32, matrix: Float32, out: Float32 | None = None) -> Float32:
    """``rows @ matrix`` (n, c), written to ``out`` if given; the bits of a row do not depend on its place.

    The number of rows is a multiple of ``KERNEL``, as in a block. Costs a third more than one product of all rows.
    """
    parts = rows.reshape(-1, KERNEL, rows.shape[1])
    place = None if out is None else out.reshape(len(parts), KERNEL, matrix.shape[1])
    found: Float32 = np.matmul(parts, matrix, out=place)
    return found.reshape(len(rows), matrix.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Reference rows (r, d) float32 and their own spacing (r,), the mean distance to their five nearest."""

    rows: Float32
    spacing: Float32

    @classmethod
    def learn(cls, points: Float32, rng: np.random.Generator) -> Neighbours:
        rows = np.ascontiguousarray(points[rng.permutation(len(points))[:MAX_ROWS]])
        table = _table(rows)
        scratch = np.empty((BLOCK, table.shape[1]), np.float32)
        nearest = in_blocks(rows, lambda block: _distances(_squared(block, table, scratch), NEIGHBOURS + 1))
        spacing = nearest[:, 1:].mean(axis=1)
        apart = spacing[spacing > 0]
        floor = 0.1 * float(np.median(apart)) if apart.size else 1.0
        return cls(rows, np.maximum(spacing, floor).astype(np.float32))

    def scores(self, points: Float32) -> FloatArray:
        """(n, 2): near, local; cost n · r · (d + 1) multiply-adds."""
        table = _table(self.rows)
        scratch = np.empty((BLOCK, table.shape[1]), np.float32)
        density = np.ones(table.shape[1], np.float32)
        density[: len(self.spacing)] = 1.0 / self.spacing**2
        return in_blocks(points, lambda block: _near_and_local(block, table, density, scratch))

    def mean_nearest(self, points: Float32) -> Float32:
        """(n, d) mean of the five reference rows nearest to each point."""
        table = _table(self.rows)
        scratch = np.empty((BLOCK, table.shape[1]), np.float32)
        k = min(NEIGHBOURS, len(self.rows))

        def of_block(block: Float32) -> Float32:
            squared = _squared(block, table, scratch)[:, : len(self.rows)]
            nearest = np.argpartition(squared, k - 1, axis=1)[:, :k]
            return np.asarray(self.rows[nearest].mean(axis=1))

        return in_blocks(points, of_block)


def neighbours_of(arrays: Mapping[str, NDArray[np.generic]], prefix: str) -> Neighbours:
    """The neighbours stored under ``prefix``."""
    rows, spacing = (np.asarray(arrays[f"{prefix}.{name}"], np.float32) for name in ("rows", "spacing"))
    return Neighbours(rows, spacing)


def _near_and_local(block: Float32, table: Float32, density: Float32, scratch: Float32) -> FloatArray:
    squared = _squared(block, table, scratch)
    if squared.shape[1] >= SEARCH_FROM:
        places = _candidates(squared, LOCAL_GROUPS)
        near = np.take(squared.reshape(-1), places)
        local = near * np.take(density, places % squared.shape[1])
    else:
        near, local = squared, squared * density
    found = np.stack([_mean_distance(near), _mean_distance(local)], axis=1)
    rounding = ROUNDING * np.sqrt(1.0 + (block**2).sum(axis=1))
    return np.where(found[:, :1] > rounding[:, None], found, 0.0).astype(np.float64)


def _mean_distance(squared: Float32) -> Float32:
    """(b,) mean distance to the nearest five."""
    k = min(NEIGHBOURS, squared.shape[1])
    nearest = np.partition(squared, k - 1, axis=1)[:, :k]
    return np.asarray(np.sqrt(np.maximum(nearest, 0.0)).mean(axis=1))


def _table(rows: Float32) -> Float32:
    """(d + 1, r): reference rows with their squared lengths, so that one product holds both.

    From ``SEARCH_FROM`` rows on it is filled up with columns that are far from everything, to a multiple of ``GROUPS``.
    """
    wide = rows.astype(np.float64)
    table = np.concatenate([-2.0 * wide, (wide**2).sum(axis=1, keepdims=True)], axis=1)
    if len(rows) >= SEARCH_FROM:
        filling = np.zeros((-len(rows) % GROUPS, table.shape[1]))
        filling[:, -1] = FAR
        table = np.concatenate([table, filling])
    return np.ascontiguousarray(table.T, dtype=np.float32)


def _squared(block: Float32, table: Float32, scratch: Float32) -> Float32:
    """Squared distances (b, r) to the table's rows, written to ``scratch``."""
    extended = np.concatenate([block, np.ones((len(block), 1), np.float32)], axis=1)
    squared = product(extended, table, scratch)
    squared += (block**2).sum(axis=1)[:, None]
    return squared


def _distances(squared: Float32, k: int) -> Float32:
    """Distances (b, k) to the k nearest rows, ascending."""
    found = _searched(squared, k) if squared.shape[1] >= SEARCH_FROM else _smallest(squared, min(k, squared.shape[1]))
    return np.asarray(np.sqrt(np.maximum(found, 0.0)))


def _smallest(values: Float32, k: int) -> Float32:
    """The k smallest of each row (b, k), ascending."""
    return np.asarray(np.sort(np.partition(values, k - 1, axis=1)[:, :k], axis=1))


def _searched(values: Float32, k: int) -> Float32:
    """As ``_smallest``: they lie in the k groups of columns with the smallest minima, so only those are read."""
    return _smallest(np.take(values.reshape(-1), _candidates(values, k)), k)


def _candidates(values: Float32, groups: int) -> NDArray[np.intp]:
    """(b, groups · members) flat positions of the groups of columns with the smallest minima.

    Group ``g`` holds the columns ``g, g + GROUPS, g + 2 GROUPS, …``.
    """
    b, r = values.shape
    lowest = np.minimum(values[:, :GROUPS], values[:, GROUPS : 2 * GROUPS])
    for at in range(2 * GROUPS, r, GROUPS):
        np.minimum(lowest, values[:, at : at + GROUPS], out=lowest)
    best = np.argpartition(lowest, groups - 1, axis=1)[:, :groups]
    columns = best[:, :, None] + np.arange(0, r, GROUPS)
    return np.asarray(columns.reshape(b, -1) + r * np.arange(b)[:, None])
