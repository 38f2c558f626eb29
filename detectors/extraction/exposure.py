"""Exposure: how good a copy of the model could one client have trained from the answers it was given?

The copy is a ridge regression on a small secret feature map, so the sums X'X and X'Y over a client's queries are all it
needs: whole numbers, exact, additive over partitions, days and accounts, and no query is kept. Its agreement with the
model is read off a few hundred reference rows that are held in the map's coordinates alone.

This is a measure and not a test: it needs no chance of error, and nobody is accused of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.extraction.answers import ANSWER_UNIT, Answers
from detectors.extraction.channels import Channels, Rows

FEATURES = (8, 20)
"""Fewest and most features of the map; as many as ``MAX_SUMS`` leaves room for beside the answers."""
MAX_SUMS = 460
"""Numbers of a client's sums: below 4 kB."""
UNIT = 16
"""A feature is carried in sixteenths of its deviation, at most ``REACH`` of them."""
REACH = 4 * UNIT
RIDGE = 30.0
"""Queries' worth of shrinkage in every feature's direction."""
PROBES = 500
MIN_PROBES = 50
MIN_QUERIES = 10


@dataclass(frozen=True, slots=True)
class Copy:
    """What a copy trained on ``n`` answers would do on ordinary inputs.

    Attributes:
        agreement: share of ordinary inputs on which it answers as the model does, in [0, 1].
        usual: the same for a copy that always gives the commonest answer; ceiling: for one trained on the reference.
    """

    n: int
    agreement: float
    usual: float
    ceiling: float

    @property
    def share(self) -> float:
        """Part of what can be copied that was copied: 0 is the commonest answer, 1 the ceiling, never above 1."""
        room = self.ceiling - self.usual
        return float(np.clip((self.agreement - self.usual) / room, 0.0, 1.0)) if room > 0.01 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Meter:
    """The feature map and the rows by which copies are measured.

    Attributes:
        weights (q + w, p), offset (p,): features from whitened vectors (q) and Fourier features (w).
        answers: how the model's answers become c numbers.
        probes: (m, p) int8 features of ordinary inputs; truth: (m, c) int16 what the model answered.
        usual, ceiling: agreements of the commonest answer, and of the copy trained on the whole reference.
    """

    weights: FloatArray
    offset: FloatArray
    answers: Answers
    probes: NDArray[np.int8]
    truth: NDArray[np.int16]
    usual: float
    ceiling: float

    @property
    def width(self) -> int:
        """Length of a client's sums; the first is the number of queries."""
        p1, c = len(self.offset) + 1, self.answers.width
        return p1 * (p1 + 1) // 2 + p1 * c

    @classmethod
    def fit(cls, batch: EventBatch, rows: Rows, channels: Channels, rng: np.random.Generator) -> Self | None:
        """Learn the map from ordinary events; None where the log holds no answers, or too few rows."""
        answers = Answers.fit(batch, channels.labels)
        if answers is None:
            return None
        told = answers.read(batch, rows.label)
        usable = np.flatnonzero(rows.present & ~np.isnan(told).any(axis=1))
        if len(usable) < 4 * MIN_PROBES:
            return None
        basis = _basis(rows, channels)
        weights, offset = _feature_map(basis[usable], rows.white.shape[1], _room(answers.width))
        if weights.shape[1] == 0:
            return None
        features = _features(basis @ weights + offset)
        probe = np.sort(rng.permutation(usable)[: min(PROBES, len(usable) // 4)])
        rest = np.setdiff1d(usable, probe)
        truth = told[probe].astype(np.int16)
        open_meter = cls(weights, offset, answers, features[probe].astype(np.int8), truth, 0.0, 0.0)
        everything = open_meter.sums(_design(features[rest], told[rest]), np.array([0]), np.array([len(rest)]))
        ceiling = open_meter._agreement(everything[0])
        return replace(open_meter, usual=answers.usual(told[rest], truth), ceiling=ceiling)

    @property
    def _p1(self) -> int:
        return len(self.offset) + 1

    def design(self, rows: Rows, batch: EventBatch, channels: Channels) -> FloatArray:
        """(n, 1 + p + c) whole numbers of every event: a one, its features, its answer; zero where one is missing."""
        features = _features(_basis(rows, channels) @ self.weights + self.offset)
        design = _design(features, self.answers.read(batch, rows.label))
        design[~rows.present] = 0.0
        return design

    def sums(self, design: FloatArray, first: IntArray, sizes: IntArray) -> IntArray:
        """(groups, width) sums over runs of rows of a design: run g is ``sizes[g]`` rows from ``first[g]``."""
        return gram(design, first, sizes, self._p1)

    def copy(self, sums: IntArray) -> Copy | None:
        """The copy that these sums (of one client, or of several added up) could train; None for a few queries."""
        n = int(sums[0])
        return None if n < MIN_QUERIES else Copy(n, self._agreement(sums), self.usual, self.ceiling)

    def _agreement(self, sums: IntArray) -> float:
        p1, c = self._p1, self.answers.width
        square = np.zeros((p1, p1 + c))
        square[np.triu_indices(p1, 0, p1 + c)] = sums
        scale = np.concatenate([[1.0], np.full(p1 - 1, 1.0 / UNIT), np.full(c, 1.0 / ANSWER_UNIT)])
        square *= scale[:p1, None] * scale
        ridge = np.concatenate([[1e-3], np.full(p1 - 1, RIDGE)])
        coefficients = linalg.solve(square[:, :p1] + np.diag(ridge), square[:, p1:], lower=False, assume_a="pos")
        said = coefficients[0] + self.probes.astype(np.float64) / UNIT @ coefficients[1:]
        return self.answers.agreement(said * ANSWER_UNIT, self.truth)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "weights": self.weights,
            "offset": self.offset,
            "probes": self.probes,
            "truth": self.truth,
            "levels": np.array([self.usual, self.ceiling]),
        }

    def to_facts(self) -> dict[str, Any]:
        return self.answers.to_facts()

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        usual, ceiling = arrays["levels"].tolist()
        answers = Answers.load(facts)
        return cls(arrays["weights"], arrays["offset"], answers, arrays["probes"], arrays["truth"], usual, ceiling)


def gram(design: FloatArray, first: IntArray, sizes: IntArray, p1: int) -> IntArray:
    """(groups, ·) upper part of X'[X Y] over runs of rows of a design of whole numbers (n, p1 + c).

    Products of whole numbers are exact in float64 below 2^53, so the order of additions does not matter. Runs are
    padded to powers of two, so that many small ones take few calls.
    """
    upper = np.triu_indices(p1, 0, design.shape[1])
    out = np.empty((len(first), len(upper[0])), dtype=np.int64)
    padded = 1 << np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int64)
    for length in np.unique(padded).tolist():
        which = np.flatnonzero(padded == length)
        step = np.arange(length)
        at = np.minimum(first[which, None] + step, len(design) - 1)
        block = design[at] * (step < sizes[which, None])[:, :, None]
        if length == 1:
            out[which] = block[:, 0].take(upper[0], axis=1) * block[:, 0].take(upper[1], axis=1)
        else:
            out[which] = np.matmul(block[:, :, :p1].transpose(0, 2, 1), block)[:, upper[0], upper[1]]
    return out


def _room(c: int) -> int:
    """Most features, an even number, with which the sums stay below ``MAX_SUMS``."""
    low, high = FEATURES
    fits = [p for p in range(low, high + 1, 2) if (p + 1) * (p + 2) // 2 + (p + 1) * c <= MAX_SUMS]
    return fits[-1] if fits else low


def _basis(rows: Rows, channels: Channels) -> FloatArray:
    """(n, q + w) whitened vectors, and the channels' Fourier features without their class means."""
    w = channels.fourier_means.shape[1]
    return np.concatenate([rows.white, rows.phi[:, -w:] + channels.fourier_means[rows.label]], axis=1)


def _feature_map(basis: FloatArray, q: int, p: int) -> tuple[FloatArray, FloatArray]:
    """Weights and offset of p features: half the largest linear components, half of what waves add to them."""
    mean = basis.mean(axis=0)
    centred = basis - mean
    white, waves = centred[:, :q], centred[:, q:]
    linear = _components(white, p // 2)
    known = white @ linear
    explained = np.linalg.lstsq(known, waves, rcond=None)[0] if known.shape[1] else np.zeros((0, waves.shape[1]))
    bent = _components(waves - known @ explained, p - linear.shape[1])
    weights = np.zeros((basis.shape[1], linear.shape[1] + bent.shape[1]))
    weights[:q, : linear.shape[1]] = linear
    weights[:q, linear.shape[1] :] = -linear @ explained @ bent
    weights[q:, linear.shape[1] :] = bent
    return weights, -mean @ weights


def _components(centred: FloatArray, k: int) -> FloatArray:
    """(d, <= k) axes of the largest variance, scaled so that each component has variance one."""
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred)) if centred.shape[1] else (np.empty(0), centred.T)
    kept = [i for i in np.argsort(-values)[:k] if values[i] > 1e-6 * max(float(values.max()), 1e-12)]
    return np.asarray(axes[:, kept] / np.sqrt(values[kept]))


def _features(values: FloatArray) -> FloatArray:
    return np.asarray(np.clip(np.rint(UNIT * values), -REACH, REACH))


def _design(features: FloatArray, told: FloatArray) -> FloatArray:
    """(n, 1 + p + c) whole numbers: a one, the features, the answers; rows without an answer are zero."""
    known = ~np.isnan(told).any(axis=1)
    design = np.concatenate([np.ones((len(features), 1)), features, np.nan_to_num(told)], axis=1)
    design[~known] = 0.0
    return design
