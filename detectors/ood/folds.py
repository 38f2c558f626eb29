"""Folds: which reference rows may be held out together.

Scores of held-out rows are honest only if no copy of the row was learned from. Rows that repeat exactly stay in one
fold, unless the columns take so few values that strangers must often coincide, as live events then will too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.batch import IntArray
from detectors.ood.inputs import Inputs

COINCIDENCE = 0.01


def assign_folds(inputs: Inputs, k: int, rng: np.random.Generator) -> IntArray:
    """(n,) fold of each row in 0 … k − 1, balanced and at random."""
    groups = _copies(inputs)
    order = rng.permutation(int(groups.max()) + 1)
    return np.asarray(order[groups] % k)


def _copies(inputs: Inputs) -> IntArray:
    """(n,) label that copies of one row share; every row its own where coincidence explains them."""
    matrix = _as_matrix(inputs)
    n = len(matrix)
    rows = np.ascontiguousarray(matrix).view(np.dtype((np.void, matrix.dtype.itemsize * matrix.shape[1]))).ravel()
    distinct, first, labels = np.unique(rows, return_index=True, return_inverse=True)
    if len(distinct) < n and np.log(n) + _log_coincidence(matrix[first]) > np.log(COINCIDENCE):
        return np.arange(n)
    return np.asarray(labels)


def _as_matrix(inputs: Inputs) -> NDArray[np.float64]:
    parts = [inputs.features.numeric, inputs.features.codes.astype(np.float64)]
    parts += [v for v in (inputs.embedding, inputs.logits, inputs.probabilities) if v is not None]
    return np.concatenate(parts, axis=1) + 0.0


def _log_coincidence(distinct: NDArray[np.float64]) -> float:
    """Log of the chance that two rows agree in every column, were the columns independent."""
    total = 0.0
    for column in distinct.T:
        counts = np.unique(column, return_counts=True)[1] / len(column)
        total += float(np.log(np.sum(counts**2)))
    return total
