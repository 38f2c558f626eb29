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


def share_moved_along(reference: FloatArray, current: FloatArray, scores: FloatArray) -> float:
    """Share of traffic that a change along ``scores`` (k,) alone must have moved; steadier than total variation.

    A small exponential tilt that shifts the mean score by ``m`` moves ``|m| E|score| / 2`` of the traffic.
    """
    return abs(mean_shift(reference, current, scores)) * float(np.sum(reference * np.abs(scores))) / 2


def population_stability_index(reference: FloatArray, current: FloatArray) -> float:
    """PSI of two smoothed mass vectors; ≥ 0."""
    return float(np.sum((current - reference) * np.log(current / reference)))


def jensen_shannon_distance(reference: FloatArray, current: FloatArray) -> float:
    """Square root of the Jensen-Shannon divergence in bits of two smoothed mass vectors; in [0, 1]."""
    middle = (reference + current) / 2
    divergence = (reference * np.log2(reference / middle) + current * np.log2(current / middle)).sum() / 2
    return float(np.sqrt(max(divergence, 0.0)))


def wasserstein_sd(reference: FloatArray, current: FloatArray, edges: FloatArray) -> float:
    """First Wasserstein distance over the reference's standard deviation, both taken at the bins' middles; ≥ 0.

    ``reference``, ``current``: (k,) masses of ordered bins; ``edges``: (k - 1,) between them. What lies outside the
    reference's range counts as lying at its edge, so the distance is a lower bound there.
    """
    middles = np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])
    mean = float(np.sum(reference * middles))
    deviation = float(np.sqrt(np.sum(reference * (middles - mean) ** 2)))
    if deviation <= 0 or not np.isfinite(deviation):
        return 0.0
    gap = np.abs(np.cumsum(reference - current))[:-1]
    return float(np.sum(gap * np.diff(middles)) / deviation)


def mean_shift(reference: FloatArray, current: FloatArray, scores: FloatArray) -> float:
    """Change of the mean location score, in standard deviations of the reference; signed."""
    return float(np.sum((current - reference) * scores))


def listed_by_e_bh(log_e_values: FloatArray, rate: float) -> list[int]:
    """Positions of the hypotheses that e-BH rejects at false-discovery ``rate``, under any dependence.

    Source: Wang and Ramdas, "False discovery rate control with e-values" (2022), §3.
    """
    order = np.argsort(-log_e_values, kind="stable")
    m = len(order)
    needed = np.log(m) - np.log(rate) - np.log(np.arange(1, m + 1))
    holds = np.flatnonzero(log_e_values[order] >= needed)
    return [int(i) for i in order[: holds[-1] + 1]] if holds.size else []
