"""Effect sizes: how large a change is, whatever the number of events; computed from the same bin counts."""

from __future__ import annotations

import numpy as np

from detectors.batch import FloatArray


def share_moved(reference: FloatArray, current: FloatArray, n: int) -> float:
    """Share of traffic that would have to change bins: total variation, less what ``n`` events show by chance.

    ``reference`` and ``current`` are (k,) masses; in [0, 1].
    """
    chance = float(np.sum(np.sqrt(reference * (1 - reference) / (2 * np.pi * max(n, 1)))))
    return max(0.0, float(np.abs(reference - current).sum()) / 2 - chance)


def population_stability_index(reference: FloatArray, current: FloatArray) -> float:
    """PSI of two smoothed mass vectors; ≥ 0."""
    return float(np.sum((current - reference) * np.log(current / reference)))


def mean_shift(reference: FloatArray, current: FloatArray, scores: FloatArray) -> float:
    """Change of the mean location score, in standard deviations of the reference; signed."""
    return float(np.sum((current - reference) * scores))
