"""Textbook control charts told the change in advance, and their exact run lengths by Markov chain.

Run lengths: Brook & Evans, "An approach to the probability distribution of cusum run length" (1972) for the CUSUM,
Lucas & Saccucci, "Exponentially weighted moving average control schemes" (1990) for the EWMA: the chart's statistic
is put on a grid of ``cells``, and the mean number of steps to absorption solves a linear system.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm


def cusum_path(values: np.ndarray, k: float) -> np.ndarray:
    """(n,) larger of the upper and lower CUSUM of ``values``, standard normal in control, with allowance ``k``."""
    return np.maximum(one_sided(values - k), one_sided(-values - k))


def one_sided(gains: np.ndarray) -> np.ndarray:
    """``S <- max(0, S + gain)``, from 0: the cumulative sum over its own running minimum."""
    sums = np.cumsum(gains)
    return sums - np.minimum(np.minimum.accumulate(sums), 0.0)


def ewma_path(values: np.ndarray, weight: float) -> np.ndarray:
    """(n,) absolute exponentially weighted mean over its asymptotic standard deviation, started at 0."""
    mean, out = 0.0, np.empty(len(values))
    for i, value in enumerate(values):
        mean += weight * (value - mean)
        out[i] = abs(mean)
    return out / np.sqrt(weight / (2 - weight))


def cusum_arl(h: float, k: float, shift: float, cells: int = 400) -> float:
    """Mean run length of the two-sided CUSUM under a mean of ``shift`` sd: ``1/ARL = 1/ARL+ + 1/ARL-``."""
    return 1.0 / (1.0 / _one_sided_arl(h, k, shift, cells) + 1.0 / _one_sided_arl(h, k, -shift, cells))


def _one_sided_arl(h: float, k: float, shift: float, cells: int) -> float:
    """State 0 is the sum at zero; state i > 0 the sum within half a cell of ``i * width``."""
    width = 2.0 * h / (2.0 * cells - 1.0)
    state = np.arange(cells) * width
    step = state[None, :] - state[:, None] + k - shift
    moves = norm.cdf(step + width / 2) - norm.cdf(step - width / 2)
    moves[:, 0] = norm.cdf(step[:, 0] + width / 2)
    return float(np.linalg.solve(np.eye(cells) - moves, np.ones(cells))[0])


def ewma_arl(limit: float, weight: float, shift: float, cells: int = 401) -> float:
    """Mean run length of the two-sided EWMA chart with limits of ``limit`` asymptotic sd; ``cells`` is odd."""
    edge = limit * np.sqrt(weight / (2 - weight))
    width = 2.0 * edge / cells
    state = -edge + (np.arange(cells) + 0.5) * width
    low = (state[None, :] - width / 2 - (1 - weight) * state[:, None]) / weight - shift
    moves = norm.cdf(low + width / weight) - norm.cdf(low)
    return float(np.linalg.solve(np.eye(cells) - moves, np.ones(cells))[cells // 2])
