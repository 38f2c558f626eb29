"""Head: the last, linear layer of a model, which turns an embedding into logits.

Where the user gives it, embeddings get the score ViM (Wang, Li, Feng, Zhang, *ViM: Out-Of-Distribution with
Virtual-logit Matching*, CVPR 2022): how much of an embedding lies outside the main directions of the reference,
measured from the point at which the head says nothing, against how sure the head is of its classes::

    alpha * |residual of (x - o)|  -  log sum exp (W x + b),     o = -pinv(W) b

with alpha the ratio of the mean largest logit to the mean residual over the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from detectors.batch import FloatArray

AGREEMENT = 0.05
"""Logged logits differ from the head's by less than this share of their spread, or the head is another model's."""
MOST_DIRECTIONS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """``logits = weights @ embedding + bias``.

    Attributes:
        weights: (classes, d) float64, finite, at least two classes.
        bias: (classes,) float64.
    """

    weights: FloatArray
    bias: FloatArray

    @classmethod
    def of(cls, weights: FloatArray, bias: FloatArray | None = None) -> Head:
        """From weights as (classes, d), or (d, classes) where only that agrees with the bias.

        Raises:
            ValueError: not a finite matrix of at least two classes with a bias of that length.
        """
        matrix = np.asarray(weights, dtype=np.float64)
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise ValueError("the head's weights must be a matrix of finite numbers, one row a class")
        offset = np.zeros(len(matrix)) if bias is None else np.asarray(bias, dtype=np.float64).ravel()
        if len(offset) != len(matrix) and len(offset) == matrix.shape[1]:
            matrix = matrix.T
        if len(matrix) < 2 or len(offset) != len(matrix) or not np.isfinite(offset).all():
            raise ValueError(
                f"the head's weights are {matrix.shape[0]} × {matrix.shape[1]} and its bias has {len(offset)} numbers: "
                "there must be one row of weights and one number of bias for each of at least two classes"
            )
        return cls(np.ascontiguousarray(matrix), offset)

    def logits(self, embedding: FloatArray) -> FloatArray:
        """(n, classes) of embeddings (n, d)."""
        return np.asarray(embedding @ self.weights.T + self.bias)

    def check(self, embedding: FloatArray, logits: FloatArray | None) -> None:
        """Return where the head can be that of the model which logged these rows.

        Args:
            embedding: (n, d); logits: (n, classes) that were logged beside them, or None.

        Raises:
            ValueError: the widths differ, or the logged logits are not what the head gives.
        """
        if embedding.shape[1] != self.weights.shape[1]:
            raise ValueError(
                f"the head takes embeddings of {self.weights.shape[1]} numbers, the reference logs {embedding.shape[1]}"
            )
        if logits is None or not len(embedding):
            return
        if logits.shape[1] != len(self.weights):
            raise ValueError(f"the head gives {len(self.weights)} logits, the reference logs {logits.shape[1]}")
        off = np.abs(_centred(self.logits(embedding)) - _centred(logits)).mean()
        if off > AGREEMENT * max(float(_centred(logits).std()), 1e-12):
            raise ValueError(
                "the head does not give the logits that the reference logs: it belongs to another model, or the "
                "embedding is not what goes into the last layer"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Vim:
    """The fitted score: head, its origin (d,), main directions (d, k) of the reference, and alpha."""

    weights: FloatArray
    bias: FloatArray
    origin: FloatArray
    directions: FloatArray
    alpha: float

    @classmethod
    def learn(cls, head: Head, embedding: FloatArray) -> Vim:
        """Fit on reference embeddings (n, d)."""
        origin = -np.linalg.pinv(head.weights) @ head.bias
        centred = embedding - origin
        n, d = centred.shape
        k = max(min(d // 2, n // 4, MOST_DIRECTIONS), 1)
        square = centred.T @ centred / n
        directions = scipy.linalg.eigh(square, subset_by_index=(d - k, d - 1))[1]
        residual = _residual(centred, directions).mean()
        alpha = float(head.logits(embedding).max(axis=1).mean() / max(float(residual), 1e-12))
        return cls(head.weights, head.bias, origin, directions, max(alpha, 1e-12))

    def scores(self, embedding: FloatArray) -> FloatArray:
        """(n,) score of embeddings (n, d), larger = stranger."""
        logits = embedding @ self.weights.T + self.bias
        top = logits.max(axis=1)
        energy = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        return np.asarray(self.alpha * _residual(embedding - self.origin, self.directions) - energy)


def _residual(centred: FloatArray, directions: FloatArray) -> FloatArray:
    inside = centred @ directions
    return np.asarray(np.sqrt(np.maximum((centred**2).sum(axis=1) - (inside**2).sum(axis=1), 0.0)))


def _centred(logits: FloatArray) -> FloatArray:
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))
