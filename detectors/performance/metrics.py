"""Metrics from counts, each with its standard error: accuracy, macro F1, ROC AUC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.batch import FloatArray

_Z = 1.96


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def figure(value: float, standard_error: float, ceiling: float = 1.0) -> Figure:
    """A value in [0, ceiling] with the interval of a normal error."""
    low, high = max(0.0, value - _Z * standard_error), min(ceiling, value + _Z * standard_error)
    return Figure(value, min(low, value), max(high, value))


def share(hits: float, n: float) -> Figure:
    """A share with Wilson's interval."""
    if n <= 0:
        return Figure(0.0, 0.0, 1.0)
    p, z2 = hits / n, _Z**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * float(np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Figure(p, max(0.0, middle - half), min(1.0, middle + half))


def macro_f1(confusion: FloatArray) -> tuple[float, float]:
    """Mean F1 over the classes that were predicted or true, and its standard error (delta method).

    Args:
        confusion: (k, k) events, or expected events, by predicted class and true class.
    """
    hits = np.diag(confusion)
    size = confusion.sum(axis=1) + confusion.sum(axis=0)
    there = size > 0
    if not there.any():
        return 0.0, 0.0
    k, safe = int(there.sum()), np.where(there, size, 1.0)
    value = float((2 * hits / safe)[there].sum()) / k
    pull = 2 * hits / safe**2
    gradient = (np.diag(2 / safe) - pull[:, None] - pull[None, :]) / k
    rows = confusion.sum(axis=1)
    first = (confusion * gradient).sum(axis=1)
    second = (confusion * gradient**2).sum(axis=1)
    variance = float((second - np.where(rows > 0, first**2 / np.where(rows > 0, rows, 1.0), 0.0)).sum())
    return value, float(np.sqrt(max(variance, 0.0)))


def roc_auc(positive: FloatArray, negative: FloatArray) -> tuple[float, float]:
    """Area under the ROC curve of binned scores, and its standard error; ties within a bin count half.

    Args:
        positive, negative: (b,) events, or expected events, of either class, in rising order of score.

    Source: Hanley, McNeil, "The meaning and use of the area under a ROC curve" (1982).
    """
    a, b = float(positive.sum()), float(negative.sum())
    if a < 1 or b < 1:
        return 0.5, 0.5
    below = np.cumsum(negative) - negative / 2
    auc = float((positive * below).sum()) / (a * b)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (a - 1) * (q1 - auc**2) + (b - 1) * (q2 - auc**2)) / (a * b)
    return auc, float(np.sqrt(max(variance, 0.0)))
