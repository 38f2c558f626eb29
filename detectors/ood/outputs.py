"""What the model answered as a source: logits, or probabilities where no logits are logged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.ood.base import LIMIT, MIN_ROWS, ArrayMap, Component, Learning, Side, fields_of, take
from detectors.ood.inputs import Inputs, of_width, usual_width
from detectors.ood.neighbours import Float32, Neighbours, neighbours_of

GEN_POWER = 0.1
GEN_CLASSES = 100


@dataclass(frozen=True, slots=True, eq=False)
class LogitSource:
    """Logits: free energy, margin of the largest, and neighbours, which see what is confidently wrong."""

    name: ClassVar[str] = "logits"
    limit: FloatArray
    neighbours: Neighbours

    @classmethod
    def learn(cls, inputs: Inputs, learning: Learning) -> Self | None:
        width = 0 if inputs.logits is None else usual_width(inputs.logits)
        vectors, good = of_width(inputs.logits, width, len(inputs))
        vectors = vectors[good & np.isfinite(vectors).all(axis=1)]
        if width < 2 or len(vectors) < MIN_ROWS:
            return None
        limit = np.array([LIMIT * (float(np.abs(vectors).max()) + 1e-9), float(width)])
        return cls(limit, Neighbours.learn(_levelled(vectors), learning.rng))

    def components(self) -> tuple[Component, ...]:
        return (
            Component("near", Side.HIGH, True, "its logits are unlike those of any reference row"),
            Component("local", Side.HIGH, True, "its logits lie beside, not among, those around them"),
            Component("energy", Side.BOTH, True, "the model's logits are weak, or strong, altogether"),
            Component("margin", Side.HIGH, True, "the model hesitates between two classes"),
            Component("gen", Side.HIGH, False, "the model spreads its bets over its classes"),
            Component("doubt", Side.BOTH, False, "the model is unusually unsure, or sure, of its answer"),
        )

    def scores(self, inputs: Inputs) -> FloatArray:
        vectors, good = of_width(inputs.logits, int(self.limit[1]), len(inputs))
        vectors = np.clip(vectors, -self.limit[0], self.limit[0])
        top = np.partition(vectors, -2, axis=1)[:, -2:]
        odds = np.exp(vectors - top[:, 1:])
        total = odds.sum(axis=1)
        energy = -(top[:, 1] + np.log(total))
        doubt = np.log((total - 1.0) / total + 1e-12)
        said = np.stack([energy, top[:, 0] - top[:, 1], _gen(odds / total[:, None]), doubt], axis=1)
        out = np.concatenate([self.neighbours.scores(_levelled(vectors)), said], axis=1)
        out[~good] = np.nan
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"limit": self.limit, **fields_of("neighbours", self.neighbours)}

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(take(arrays, "limit"), neighbours_of(arrays, "neighbours"))


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilitySource:
    """Probabilities: generalised entropy, uncertainty of the largest, and neighbours among log-probabilities."""

    name: ClassVar[str] = "probabilities"
    width: int
    neighbours: Neighbours

    @classmethod
    def learn(cls, inputs: Inputs, learning: Learning) -> Self | None:
        width = 0 if inputs.probabilities is None else usual_width(inputs.probabilities)
        vectors, good = of_width(inputs.probabilities, width, len(inputs))
        if width == 0 or good.sum() < MIN_ROWS:
            return None
        return cls(width, Neighbours.learn(_log_shares(_shares(vectors[good])), learning.rng))

    def components(self) -> tuple[Component, ...]:
        return (
            Component("near", Side.HIGH, False, "its probabilities are unlike those of any reference row"),
            Component("local", Side.HIGH, False, "its probabilities lie beside, not among, those around them"),
            Component("gen", Side.HIGH, True, "the model spreads its bets over its classes"),
            Component("doubt", Side.BOTH, False, "the model is unusually unsure, or sure, of its answer"),
            Component("margin", Side.HIGH, True, "the model hesitates between two classes"),
        )

    def scores(self, inputs: Inputs) -> FloatArray:
        vectors, good = of_width(inputs.probabilities, self.width, len(inputs))
        shares = _shares(vectors)
        top = np.partition(shares, -2, axis=1)[:, -2:]
        doubt = np.log(np.maximum(1.0 - top[:, 1], 0.0) + 1e-12)
        margin = np.log((top[:, 0] + 1e-6) / (top[:, 1] + 1e-6))
        said = np.stack([_gen(shares), doubt, margin], axis=1)
        out = np.concatenate([self.neighbours.scores(_log_shares(shares)), said], axis=1)
        out[~good] = np.nan
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"width": np.array([self.width]), **fields_of("neighbours", self.neighbours)}

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(int(take(arrays, "width")[0]), neighbours_of(arrays, "neighbours"))


def _gen(shares: FloatArray) -> FloatArray:
    """(n,) generalised entropy of the 100 largest shares (Liu, Lochman, Zach: *GEN*, CVPR 2023)."""
    if shares.shape[1] > GEN_CLASSES:
        shares = np.partition(shares, -GEN_CLASSES, axis=1)[:, -GEN_CLASSES:]
    return np.asarray(((shares * (1.0 - shares) + 1e-12) ** GEN_POWER).sum(axis=1))


def _levelled(logits: FloatArray) -> Float32:
    return np.asarray((logits - logits.mean(axis=1, keepdims=True)).astype(np.float32))


def _shares(vectors: FloatArray) -> FloatArray:
    """Non-negative rows summing to one; a single probability becomes itself and its complement."""
    known = np.clip(np.nan_to_num(vectors, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1e6)
    if known.shape[1] == 1:
        known = np.concatenate([np.minimum(known, 1.0), 1.0 - np.minimum(known, 1.0)], axis=1)
    total = known.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, known / np.maximum(total, 1e-12), 1.0 / known.shape[1]))


def _log_shares(shares: FloatArray) -> Float32:
    return _levelled(np.log(np.maximum(shares, 1e-6)))
