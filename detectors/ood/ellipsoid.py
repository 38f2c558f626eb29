"""Ellipsoid: distances under the reference's covariance, for values that are fine one by one and wrong together.

* ``spread``: Mahalanobis distance to the nearest class centre under the pooled, shrunk covariance (Lee et al. 2018);
  one centre where the reference logged no predictions.
* ``single``: the largest deviation of one coordinate from what all others predict.
* ``relative``: spread less the distance from everything's centre under everything's covariance, squared (Ren et al.
  2021): what is typical of no class, rather than untypical altogether.
* ``own``: squared distance to the centre of the class that the model answered, less that to the nearest centre.

Beyond 128 coordinates the covariance is kept on its leading axes, the rest as a sphere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from detectors.batch import FloatArray, ObjectArray
from detectors.ood.neighbours import Float32, in_blocks, product

MAX_AXES = 128
MAX_CLASSES = 200
MIN_CLASS_ROWS = 20
VARIANCE_FLOOR = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Ellipsoid:
    """Whitening of centred points.

    Attributes:
        names: (c,) the classes, ``""`` where there is one centre for all.
        centres: (c, d) class centres.
        whitener: (d, k) leading axes over their deviations.
        axes: (d, k) where k < d, else (d, 0); with ``rest`` the variance of every direction outside them.
        single: (d, d) map to standardised conditional residuals, or (d, 0) beyond 128 coordinates.
    """

    names: NDArray[np.str_]
    centres: Float32
    whitener: Float32
    axes: Float32
    single: Float32
    rest: float

    @classmethod
    def learn(cls, points: Float32, classes: ObjectArray) -> Ellipsoid:
        """Fit on points (n, d) and their predicted classes (n,), ``""`` where not known."""
        names, centres, member = _centres(points, classes)
        centred = points - centres[member]
        n, d = centred.shape
        values, vectors = _shrunk_axes((centred.T @ centred).astype(np.float64) / n, n)
        k = min(d, MAX_AXES)
        whitener = vectors / np.sqrt(values[:k])
        single = np.empty((d, 0))
        if 1 < d <= MAX_AXES:
            precision = whitener @ whitener.T
            single = precision / np.sqrt(np.diag(precision))
        outside = vectors if k < d else np.empty((d, 0))
        return cls(
            names,
            centres,
            np.ascontiguousarray(whitener, np.float32),
            np.ascontiguousarray(outside, np.float32),
            np.ascontiguousarray(single, np.float32),
            float(values[k]),
        )

    def scores(self, points: Float32) -> FloatArray:
        """(n, 2): spread, single (0 where it is not kept)."""
        return in_blocks(points, self._block)

    def by_class(self, points: Float32, classes: ObjectArray) -> FloatArray:
        """(n, 2): squared distance to the nearest centre, and own (NaN for a class that has no centre)."""
        squared = in_blocks(points, self._squared)
        nearest = squared.min(axis=1)
        position = {name: i for i, name in enumerate(self.names.tolist())}
        at = np.array([position.get(name, -1) for name in classes.tolist()], dtype=np.int64)
        own = np.where(at >= 0, squared[np.arange(len(points)), np.maximum(at, 0)] - nearest, np.nan)
        return np.stack([nearest, own], axis=1)

    def _squared(self, block: Float32) -> FloatArray:
        squared = _pairwise(product(block, self.whitener), self.centres @ self.whitener)
        if self.axes.shape[1]:
            left = _pairwise(block, self.centres) - _pairwise(product(block, self.axes), self.centres @ self.axes)
            squared = squared + np.maximum(left, 0.0) / np.float32(self.rest)
        return squared.astype(np.float64)

    def _block(self, block: Float32) -> FloatArray:
        squared = self._squared(block)
        nearest = squared.argmin(axis=1)
        spread = np.sqrt(squared[np.arange(len(block)), nearest])
        if not self.single.shape[1]:
            return np.stack([spread, np.zeros_like(spread)], axis=1).astype(np.float64)
        single = np.abs(product(block - self.centres[nearest], self.single)).max(axis=1)
        return np.stack([spread, single], axis=1).astype(np.float64)


def _pairwise(points: Float32, centres: Float32) -> Float32:
    if len(centres) == 1:
        alone: Float32 = ((points - centres[0]) ** 2).sum(axis=1)[:, None]
        return alone
    squared: Float32 = np.float32(-2.0) * product(points, centres.T)
    squared += (centres**2).sum(axis=1) + (points**2).sum(axis=1)[:, None]
    return np.maximum(squared, np.float32(0.0), out=squared)


def ellipsoid_of(arrays: Mapping[str, NDArray[np.generic]], prefix: str) -> Ellipsoid:
    """The ellipsoid stored under ``prefix``."""
    centres, whitener, axes, single = (
        np.asarray(arrays[f"{prefix}.{k}"], np.float32) for k in ("centres", "whitener", "axes", "single")
    )
    names = np.asarray(arrays[f"{prefix}.names"], np.str_)
    return Ellipsoid(names, centres, whitener, axes, single, float(np.asarray(arrays[f"{prefix}.rest"], np.float64)))


def _centres(points: Float32, classes: ObjectArray) -> tuple[NDArray[np.str_], Float32, np.ndarray]:
    """Names and centres (c, d) of classes with enough rows, and which of them each row is measured from."""
    mean = points.mean(axis=0, dtype=np.float64).astype(np.float32)[None, :]
    alone = np.array([""]), mean, np.zeros(len(points), dtype=np.int64)
    names, member, counts = np.unique(classes.astype(str), return_inverse=True, return_counts=True)
    large = np.flatnonzero((counts >= MIN_CLASS_ROWS) & (names != ""))
    if not 2 <= len(large) <= MAX_CLASSES or counts[large].sum() < 0.9 * len(points):
        return alone
    centres = np.stack([points[member == c].mean(axis=0) for c in large])
    position = np.full(len(names), -1)
    position[large] = np.arange(len(large))
    nearest = in_blocks(points, lambda block: _pairwise(block, centres)).argmin(axis=1)
    return names[large], centres, np.where(position[member] >= 0, position[member], nearest)


def _shrunk_axes(covariance: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Leading k eigenvalues and then the mean of the rest (k + 1,), shrunk towards a sphere; eigenvectors (d, k)."""
    d = len(covariance)
    level = max(float(np.trace(covariance)) / d, 1e-12)
    share = _shrinkage(covariance, n)
    k = min(d, MAX_AXES)
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=(d - k, d - 1))
    left = max(float(np.trace(covariance) - values.sum()), 0.0) / max(d - k, 1)
    values = np.append(np.maximum(values[::-1], 0.0), left)
    return np.maximum((1 - share) * values + share * level, VARIANCE_FLOOR * level), vectors[:, ::-1]


def _shrinkage(covariance: FloatArray, n: int) -> float:
    """Weight of the sphere by the oracle approximating formula (Chen, Wiesel, Eldar, Hero 2010)."""
    trace, square = float(np.trace(covariance)), float(np.sum(covariance**2))
    bottom = (n + 1.0) * (square - trace**2 / len(covariance))
    return min(1.0, (square + trace**2) / bottom) if bottom > 0 else 1.0
