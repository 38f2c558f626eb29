"""Space: the geometry of ordinary queries in one view, and how strange a row is in it.

Three raw scores a row, each the logarithm of a distance, higher = stranger: Mahalanobis distance to the mean of the
predicted class (shared shrunk covariance), the part of the vector that the principal components cannot rebuild, and the
distance to the nearest of a few hundred centroids. No row of a client is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from detectors.batch import FloatArray, IntArray
from detectors.clients.vectors import VectorMap

COMPONENTS = 50
CENTROIDS = 128
LLOYD_ROUNDS = 8
MIN_CLASS_ROWS = 40
SCORES = ("distance", "residual", "centroid")


Frame = tuple[FloatArray, FloatArray]
"""Mean (p,) and principal axes (p, q) of a view."""


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Principal axes (p, q), whitening (q, q), whitened class means (C + 1, q; last = pooled), centroids (k, q)."""

    mean: FloatArray
    basis: FloatArray
    whiten: FloatArray
    class_means: FloatArray
    centroids: FloatArray

    @classmethod
    def fit(cls, vectors: FloatArray, label: IntArray, n_classes: int, seed: int, frame: Frame | None = None) -> Self:
        """Learn from (n, p) vectors with class positions ``label`` (``n_classes`` = pooled).

        ``frame`` is a mean and basis learned elsewhere; without it they are learned from these vectors.
        """
        mean, basis = frame_of(vectors) if frame is None else frame
        centred = vectors - mean
        z = centred @ basis
        means = class_means(z, label, n_classes)
        covariance, _ = ledoit_wolf(z - means[label], assume_centered=True)
        values, axes = np.linalg.eigh(covariance)
        values = np.maximum(values, 1e-3 * max(float(values.max()), 1e-9))
        whiten = axes / np.sqrt(values)
        white = z @ whiten
        return cls(mean, basis, whiten, means @ whiten, _centroids(white, np.random.default_rng(seed)))

    def whitened(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, q) whitened components and (n,) squared length of what the components leave out."""
        centred = vectors - self.mean
        z = centred @ self.basis
        left = np.einsum("ij,ij->i", centred, centred) - np.einsum("ij,ij->i", z, z)
        return z @ self.whiten, np.maximum(left, 0.0)

    def scores(self, white: FloatArray, left: FloatArray, label: IntArray) -> FloatArray:
        """(n, 3) logarithms of the three distances; see ``SCORES``."""
        offset = white - self.class_means[label]
        own = np.einsum("ij,ij->i", offset, offset)
        cross = np.einsum("ij,ij->i", white, white)[:, None] - 2.0 * (white @ self.centroids.T)
        nearest = (cross + np.einsum("ij,ij->i", self.centroids, self.centroids)).min(axis=1)
        unused = self.basis.shape[0] - self.basis.shape[1]
        residual = np.log(left + 1e-3 * max(1, unused)) if unused > 0 else np.zeros(len(white))
        return 0.5 * np.column_stack([np.log(own + 1e-6), residual, np.log(np.maximum(nearest, 0.0) + 1e-6)])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {name: getattr(self, name) for name in ("mean", "basis", "whiten", "class_means", "centroids")}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(**{name: arrays[name] for name in ("mean", "basis", "whiten", "class_means", "centroids")})


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One view of a query: how to read it and where ordinary queries lie in it."""

    map: VectorMap
    space: Space


def class_means(rows: FloatArray, label: IntArray, n_classes: int) -> FloatArray:
    """(C + 1, q) means by class; a class with few rows, and the last position, get the pooled mean."""
    means = np.repeat(rows.mean(axis=0)[None, :], n_classes + 1, axis=0)
    for c in range(n_classes):
        own = label == c
        if own.sum() >= MIN_CLASS_ROWS:
            means[c] = rows[own].mean(axis=0)
    return means


def _centroids(white: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(k, q) means of about fifteen rows or more each, by a few rounds of Lloyd's algorithm."""
    k = int(np.clip(len(white) // 15, 1, CENTROIDS))
    rows = white[rng.choice(len(white), min(len(white), 40 * k), replace=False)]
    centroids = rows[:k].copy()
    for _ in range(LLOYD_ROUNDS):
        nearest = (np.einsum("ij,ij->i", centroids, centroids) - 2.0 * (rows @ centroids.T)).argmin(axis=1)
        size = np.bincount(nearest, minlength=k)
        order = np.argsort(nearest, kind="stable")
        used = np.flatnonzero(size)
        first = np.concatenate([[0], np.cumsum(size[used])[:-1]])
        centroids[used] = np.add.reduceat(rows[order], first, axis=0) / size[used][:, None]
    return centroids


def frame_of(vectors: FloatArray) -> Frame:
    """The frame of (n, p) vectors."""
    mean = vectors.mean(axis=0)
    return mean, _components(vectors - mean)


def _components(centred: FloatArray) -> FloatArray:
    """Leading principal axes: at most ``COMPONENTS``, 98 % of the variance, at least one left out of a wide vector."""
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    share = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-12)
    q = int(np.searchsorted(share, 0.98)) + 1
    return np.ascontiguousarray(axes[:, ::-1][:, : max(1, min(q, COMPONENTS, len(values)))])
