"""Calibration: the chance that an answer is right, by predicted class and confidence, learned from labelled events.

All of it works on counts: events and right answers by cell (class x confidence bin). A logistic curve through all bins
is the prior; the bins' own counts move it (isotonic, more confident is never worse); a class with enough labels moves
the common curve by its own counts. The whole is fitted again without each tenth of the reference (blocks of time): the
spread of those fits is the calibration's standard error, what they say of the tenth they have not seen is its error.

Source: confidence-based performance estimation as in NannyML; isotonic recalibration after Zadrozny, Elkan (2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

from detectors.batch import FloatArray, IntArray

N_BINS = 20
_RANKS = (
    0.005,
    0.01,
    0.02,
    0.035,
    0.05,
    0.075,
    0.1,
    0.14,
    0.18,
    0.23,
    0.29,
    0.35,
    0.42,
    0.5,
    0.58,
    0.66,
    0.75,
    0.84,
    0.92,
)
"""Ranks of the bin edges in the reference: fine where confidence is low, since traffic that goes wrong goes there."""
N_FOLDS = 10
_PRIOR_EVENTS = 10.0
_CLASS_EVENTS = 100
_CLASS_PRIOR_EVENTS = 20.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Chance of being right by cell.

    Attributes:
        chance: (classes, N_BINS).
        without: (N_FOLDS, classes, N_BINS), fitted without one fold each.
        error: root mean square difference, over held-out bins, of promised and true accuracy beyond chance.
    """

    chance: FloatArray
    without: FloatArray
    error: float

    @classmethod
    def fit(cls, events: IntArray, right: IntArray, confidence: FloatArray) -> Calibration:
        """Fit on counts by fold.

        Args:
            events, right: (N_FOLDS, classes, N_BINS) labelled events, and those of them answered right.
            confidence: (N_BINS,) mean confidence of each bin.
        """
        whole_events, whole_right = events.sum(axis=0), right.sum(axis=0)
        without = np.stack(
            [_chances(whole_events - e, whole_right - r, confidence) for e, r in zip(events, right, strict=True)]
        )
        return cls(_chances(whole_events, whole_right, confidence), without, _held_out_error(events, right, without))

    def expected_right(self, counts: IntArray) -> tuple[float, float]:
        """Expected share of right answers among ``counts`` (classes, N_BINS) events, and its standard error."""
        n = max(float(counts.sum()), 1.0)
        mean = float((counts * self.chance).sum()) / n
        chance_alone = float((counts * self.chance * (1 - self.chance)).sum()) / n**2
        return mean, float(np.sqrt(chance_alone + self.jackknife((counts * self.without).sum(axis=(1, 2)) / n)))

    def jackknife(self, estimates: FloatArray) -> float:
        """Variance that calibration adds to an estimate, from the (N_FOLDS,) estimates without a fold each."""
        spread = float(np.sum((estimates - estimates.mean()) ** 2)) * (N_FOLDS - 1) / N_FOLDS
        return spread + self.error**2


def confidence_edges(confidence: FloatArray) -> FloatArray:
    """(N_BINS − 1,) increasing edges of confidence bins."""
    return np.quantile(confidence, _RANKS)


def _chances(events: IntArray, right: IntArray, confidence: FloatArray) -> FloatArray:
    common = _common_curve(events.sum(axis=0), right.sum(axis=0), confidence)
    return np.stack([_class_curve(e, r, common) for e, r in zip(events, right, strict=True)])


def _common_curve(events: IntArray, right: IntArray, confidence: FloatArray) -> FloatArray:
    prior = _logistic(events, right, confidence)
    return _rising((right + _PRIOR_EVENTS * prior) / (events + _PRIOR_EVENTS), events + _PRIOR_EVENTS)


def _class_curve(events: IntArray, right: IntArray, common: FloatArray) -> FloatArray:
    if events.sum() < _CLASS_EVENTS:
        return common
    moved = _sigmoid(_logit(common) + _shift(events, float(right.sum()), common))
    return _rising((right + _CLASS_PRIOR_EVENTS * moved) / (events + _CLASS_PRIOR_EVENTS), events + _CLASS_PRIOR_EVENTS)


def _shift(events: IntArray, right: float, curve: FloatArray) -> float:
    """How far the curve moves, in log odds, so that it promises ``right`` right answers; shrunk by the prior."""
    weight = events + _CLASS_PRIOR_EVENTS * events / max(float(events.sum()), 1.0)
    aim = right + _CLASS_PRIOR_EVENTS * float((events * curve).sum()) / max(float(events.sum()), 1.0)
    shift = 0.0
    for _ in range(20):
        p = _sigmoid(_logit(curve) + shift)
        slope = float((weight * p * (1 - p)).sum())
        shift = float(np.clip(shift + (aim - float((weight * p).sum())) / max(slope, 1e-9), -4.0, 4.0))
    return shift


def _logistic(events: IntArray, right: IntArray, confidence: FloatArray) -> FloatArray:
    """Logistic regression of being right on the log odds of confidence, over bins; a weak prior holds it at y = x."""
    x = np.stack([np.ones(len(confidence)), _logit(confidence)], axis=1)
    beta, at = np.array([0.0, 1.0]), np.array([0.0, 1.0])
    ridge = np.diag([0.5, 2.0])
    for _ in range(30):
        p = _sigmoid(x @ beta)
        gradient = x.T @ (right - events * p) - ridge @ (beta - at)
        hessian = x.T @ ((events * p * (1 - p))[:, None] * x) + ridge
        beta = beta + np.clip(np.linalg.solve(hessian, gradient), -2.0, 2.0)
    return _sigmoid(x @ beta)


def _held_out_error(events: IntArray, right: IntArray, without: FloatArray) -> float:
    n = events.sum(axis=(0, 1)).astype(np.float64)
    residual = (right - events * without).sum(axis=(0, 1))
    noise = (events * without * (1 - without)).sum(axis=(0, 1))
    seen = n > 0
    excess = float(((residual[seen] ** 2 - noise[seen]) / n[seen]).sum()) / max(float(n.sum()), 1.0)
    return float(np.sqrt(max(excess, 0.0)))


def _rising(values: FloatArray, weights: NDArray[np.floating]) -> FloatArray:
    return np.asarray(isotonic_regression(values, sample_weight=weights, y_min=0.001, y_max=0.999), dtype=np.float64)


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0))))


def _logit(p: FloatArray) -> FloatArray:
    clipped = np.clip(p, 0.001, 0.999)
    return np.asarray(np.log(clipped / (1 - clipped)))
