"""Calibration: turns a score without a scale into a conformal p-value against held-out reference scores.

A new score exceeds the r-th largest of m held-out ones with probability r / (m + 1) exactly. So that is the p-value at
the r-th largest, and between two ranks it follows a line through the logarithms: uniform, where counting alone would
be half a rank too cautious. Beyond the largest held-out score ranks can say no more; a generalised Pareto tail goes on
from 1 / (m + 1), so that the far stays ordered. That stretch is a model, and is marked as one (``OodScores.least``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray

MIN_SHAPE = 0.2
MAX_SHAPE = 1.0
TAIL_SHARE = 0.1
MIN_TAIL = 8
MAX_KNOTS = 2_000
DENSE_TOP = 500


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Fitted map from a score to −log p.

    Attributes:
        knots, surprise: (k,) increasing scores and their −log p, rank by rank.
        tail_scale, tail_shape: of the Pareto tail beyond the last knot.
        n: held-out scores behind it.
    """

    knots: FloatArray
    surprise: FloatArray
    tail_scale: float
    tail_shape: float
    n: int

    @classmethod
    def learn(cls, scores: FloatArray, lag: float = 0.0) -> Calibration:
        """Calibrate on held-out ``scores`` (m,), m ≥ 2, all finite.

        Args:
            lag: in [0, 1); a new score exceeds the r-th largest with probability (r − lag) / (m + 1) instead.
        """
        ordered = np.sort(scores)
        m = len(ordered)
        knots, first = np.unique(ordered, return_index=True)
        surprise = np.log(m + 1.0) - np.log(m - first - lag)
        scale, shape = _pareto_tail(ordered)
        keep = _thinned(len(knots))
        return cls(knots[keep], surprise[keep], scale, shape, m)

    def surprises(self, scores: FloatArray) -> FloatArray:
        """(n,) −log p of scores, ≥ 0, increasing beyond the first knot; NaN stays NaN."""
        inside = np.interp(scores, self.knots, self.surprise)
        beyond = np.maximum(scores - self.knots[-1], 0.0) / self.tail_scale
        top = np.where(scores > self.knots[-1], max(np.log(self.n + 1.0), self.surprise[-1]), inside)
        return np.asarray(top + np.log1p(self.tail_shape * beyond) / self.tail_shape)

    def to_array(self) -> NDArray[np.float64]:
        """(k + 2, 2): tail and size, then the knots."""
        head = np.array([[self.tail_scale, self.tail_shape], [float(self.n), 0.0]])
        return np.concatenate([head, np.stack([self.knots, self.surprise], axis=1)])

    @classmethod
    def from_array(cls, data: NDArray[np.generic]) -> Calibration:
        rows = np.asarray(data, dtype=np.float64)
        return cls(rows[2:, 0], rows[2:, 1], float(rows[0, 0]), float(rows[0, 1]), int(rows[1, 0]))


def two_sided(up: FloatArray, down: FloatArray) -> FloatArray:
    """−log p of being strange on either side: twice the smaller p-value, at most 1."""
    return np.asarray(np.maximum(np.maximum(up, down) - np.log(2.0), 0.0))


def _pareto_tail(ordered: FloatArray) -> tuple[float, float]:
    """Scale and shape at the largest score, by probability-weighted moments over the top tenth."""
    m = len(ordered)
    k = min(m - 1, max(MIN_TAIL, int(m * TAIL_SHARE)))
    excess = ordered[m - k :] - ordered[m - k - 1]
    mean = float(excess.mean())
    if mean <= 0:
        spread = float(np.ptp(ordered))
        return max(spread, abs(float(ordered[-1])) * 0.1, 1e-9), MIN_SHAPE
    weighted = float(np.mean(excess * (1.0 - (np.arange(k) + 0.65) / k)))
    shape = 2.0 - mean / (mean - 2.0 * weighted) if mean > 2.0 * weighted else MAX_SHAPE
    shape = float(np.clip(shape, MIN_SHAPE, MAX_SHAPE))
    scale = max(mean * (1.0 - min(shape, 0.5)), 1e-12)
    return scale, shape


def _thinned(k: int) -> NDArray[np.int64]:
    if k <= MAX_KNOTS:
        return np.arange(k)
    low = np.linspace(0, k - DENSE_TOP - 1, MAX_KNOTS - DENSE_TOP).astype(np.int64)
    return np.concatenate([low, np.arange(k - DENSE_TOP, k)])
