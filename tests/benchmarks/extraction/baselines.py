"""Published detectors, as their papers have them where this data allows, each as a running statistic of one client.

Higher is more suspicious. All see the features, whatever the log shows; HODA also has the model's training stages. Each
comes twice: as published, and with a client's exact repeats left out, which is kinder to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import linalg, stats

from tests.benchmarks.extraction.worlds import Rows, World

CHECK = 25
"""Queries between two looks of every detector here."""
WINDOW = 100
LEAST = 50
_NONE = -np.inf


class Baseline(Protocol):
    """One detector; ``path`` (k,) is its statistic once a client has sent ``counts`` (k,) of its rows."""

    name: str

    def path(self, rows: Rows, label: Rows, counts: Rows) -> Rows: ...


def checks(n: int) -> Rows:
    """Numbers of queries after which a client is looked at."""
    return np.arange(CHECK, n + 1, CHECK)


@dataclass(frozen=True)
class Prada:
    """Juuti et al. (2019), algorithm 1: 1 - Shapiro-Wilk's W of least distances to the growing set of a class."""

    world: World
    name: str = "PRADA"

    def path(self, rows: Rows, label: Rows, counts: Rows) -> Rows:
        gaps, at = _growing_set_gaps(self.world.vectors(rows), label)
        out = np.full(len(counts), _NONE)
        for i, k in enumerate(counts.tolist()):
            d = gaps[: int(np.searchsorted(at, k))]
            if len(d) >= WINDOW:
                out[i] = 1.0 - normality(d)
        return out


def normality(d: Rows) -> float:
    """W of the distances within three deviations of their mean; 1 where all are equal."""
    kept = d[np.abs(d - d.mean()) <= 3.0 * d.std()]
    return float(stats.shapiro(kept).statistic) if len(kept) >= 3 and np.ptp(kept) > 1e-9 else 1.0


def _growing_set_gaps(vectors: Rows, label: Rows) -> tuple[Rows, Rows]:
    """Distances that PRADA collects, and the position of the query that gave each."""
    gaps: list[float] = []
    at: list[int] = []
    for c in np.unique(label):
        own = np.flatnonzero(label == c)
        distance = np.sqrt(_squared(vectors[own], vectors[own]))
        members, grown, limit = [0], list[float](), 0.0
        for i in range(1, len(own)):
            gap = float(distance[i, members].min())
            gaps.append(gap)
            at.append(int(own[i]))
            if gap > limit:
                members.append(i)
                grown.append(gap)
                limit = max(limit, float(np.mean(grown) - np.std(grown)))
    order = np.argsort(at, kind="stable")
    return np.array(gaps)[order], np.array(at)[order] if at else np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Seat:
    """After Zhang et al. (2021): how many of the last ``WINDOW`` queries are similar to an earlier one.

    Their encoder is a network trained so that an adversarially perturbed input stays near its original; here it is
    the linear map that does so best: generalised eigenvectors of the scatter of inputs over that of perturbations.
    """

    world: World
    encoder: Rows
    similar: float
    name: str = "SEAT-style"

    @classmethod
    def on(cls, world: World, ordinary: Rows, rng: np.random.Generator) -> Seat:
        moved = ordinary.copy()
        numeric = world.numeric
        moved[:, numeric] += 0.1 * rng.choice([-1.0, 1.0], (len(moved), len(numeric))) * world.spread[numeric]
        x, y = world.vectors(ordinary), world.vectors(world.valid(moved))
        ridge = 1e-3 * np.eye(x.shape[1])
        values, axes = linalg.eigh(np.cov(x.T) + ridge, np.cov((y - x).T) + ridge)
        encoder = axes[:, np.argsort(values)[::-1][:32]]
        code = x @ encoder
        other = code[rng.permutation(len(code))]
        return cls(world, encoder, float(np.quantile(np.sqrt(((code - other) ** 2).sum(axis=1)), 1e-3)))

    def path(self, rows: Rows, label: Rows, counts: Rows) -> Rows:
        code = self.world.vectors(rows) @ self.encoder
        squared = _squared(code, code)
        squared[np.triu_indices(len(rows))] = np.inf
        hits = np.append(0, np.cumsum(squared.min(axis=1, initial=np.inf) < self.similar**2))
        return np.asarray((hits[counts] - hits[np.maximum(counts - WINDOW, 0)]).astype(np.float64))


@dataclass(frozen=True, eq=False)
class Mmd:
    """After VarDetect (Pal et al. 2021): maximum mean discrepancy of the last ``WINDOW`` queries to ordinary ones.

    The latent space is that of principal components (theirs: a variational autoencoder), the kernel Gaussian at the
    median distance, by random Fourier features.
    """

    world: World
    mean: Rows
    axes: Rows
    frequencies: Rows
    centre: Rows
    name: str = "MMD, VarDetect-style"

    @classmethod
    def on(cls, world: World, ordinary: Rows, rng: np.random.Generator) -> Mmd:
        x = world.vectors(ordinary)
        mean = x.mean(axis=0)
        _, scale, axes = np.linalg.svd(x - mean, full_matrices=False)
        q = min(16, len(scale))
        axes = axes[:q].T / np.maximum(scale[:q] / np.sqrt(len(x)), 1e-9)
        z = (x - mean) @ axes
        width = float(np.median(np.sqrt(_squared(z[:300], z[300:600]))))
        frequencies = rng.standard_normal((q, 128)) / width
        return cls(world, mean, axes, frequencies, _fourier(z @ frequencies).mean(axis=0))

    def path(self, rows: Rows, label: Rows, counts: Rows) -> Rows:
        phi = _fourier((self.world.vectors(rows) - self.mean) @ self.axes @ self.frequencies)
        mean, n = _windowed(phi, counts)
        own = (n * np.einsum("ij,ij->i", mean, mean) - 1.0) / np.maximum(n - 1.0, 1.0)
        gap = own - 2.0 * mean @ self.centre + self.centre @ self.centre
        return np.where(n >= LEAST, gap, _NONE)


@dataclass(frozen=True, eq=False)
class Hoda:
    """Sadeghzadeh et al. (2021): Pearson distance between histograms of hardness, of the last ``WINDOW`` queries and of
    ordinary ones; hardness is the training stage at which the model settled on its answer.
    """

    world: World
    ordinary: Rows
    name: str = "HODA"

    @classmethod
    def on(cls, world: World, ordinary: Rows) -> Hoda:
        return cls(world, _levels(world.hardness(ordinary)).mean(axis=0))

    def path(self, rows: Rows, label: Rows, counts: Rows) -> Rows:
        mean, n = _windowed(_levels(self.world.hardness(rows)), counts)
        a, b = mean - mean.mean(axis=1, keepdims=True), self.ordinary - self.ordinary.mean()
        alike = a @ b / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b), 1e-12)
        return np.where(n >= LEAST, 1.0 - alike, _NONE)


@dataclass(frozen=True)
class WithoutRepeats:
    """Another detector that never sees a client's exact repeats."""

    inner: Baseline

    @property
    def name(self) -> str:
        return f"{self.inner.name} without repeats"

    def path(self, rows: Rows, label: Rows, counts: Rows) -> Rows:
        known: dict[bytes, int] = {}
        first = np.array([i for i, row in enumerate(rows) if known.setdefault(row.tobytes(), i) == i])
        return self.inner.path(rows[first], label[first], np.searchsorted(first, counts))


def all_baselines(world: World, ordinary: Rows, seed: int) -> Sequence[Baseline]:
    """Every baseline, fitted to ordinary rows."""
    rng = np.random.default_rng([seed, 21])
    found: list[Baseline] = [
        Prada(world),
        Seat.on(world, ordinary, rng),
        Mmd.on(world, ordinary, rng),
        Hoda.on(world, ordinary),
    ]
    return [*found, *(WithoutRepeats(b) for b in found)]


def _squared(a: Rows, b: Rows) -> Rows:
    out = np.einsum("ij,ij->i", a, a)[:, None] - 2.0 * (a @ b.T) + np.einsum("ij,ij->i", b, b)
    return np.asarray(np.maximum(out, 0.0))


def _fourier(angle: Rows) -> Rows:
    return np.asarray(np.concatenate([np.cos(angle), np.sin(angle)], axis=1) / np.sqrt(angle.shape[1]))


def _levels(hardness: Rows) -> Rows:
    return np.asarray((hardness[:, None] == np.arange(10)).astype(np.float64))


def _windowed(values: Rows, counts: Rows) -> tuple[Rows, Rows]:
    """Mean over the last ``WINDOW`` rows before each count, and how many these were."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
    first = np.maximum(counts - WINDOW, 0)
    n = (counts - first).astype(np.float64)
    return (sums[counts] - sums[first]) / np.maximum(n, 1.0)[:, None], n
