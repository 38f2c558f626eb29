"""Delays between answers and labels, counted by geometric bins: medians and maturity come from sums."""

from __future__ import annotations

import numpy as np

from detectors.batch import FloatArray, IntArray

_FIRST_S = 1.0
_FACTOR = 1.5
N_DELAYS = 40
"""Bin 0 is "in the same event, or within a second"; the last one starts at about 80 days."""
UPPER_S = _FIRST_S * _FACTOR ** np.arange(N_DELAYS, dtype=np.float64)
"""(N_DELAYS,) upper edge of each bin in seconds."""


def delay_bin(delay_s: FloatArray) -> IntArray:
    """(n,) bin of each delay; NaN (label and answer in one event) is bin 0."""
    return np.minimum(np.searchsorted(UPPER_S, np.nan_to_num(delay_s, nan=0.0)), N_DELAYS - 1)


def median_delay_s(counts: IntArray) -> float | None:
    """Median of the delays counted, right to a fifth; None without any, 0 where most came with the answer."""
    if not counts.sum():
        return None
    at = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return 0.0 if at == 0 else float(UPPER_S[at] / _FACTOR**0.5)


def within(counts: IntArray, seconds: float) -> int:
    """How many of the delays counted were certainly no longer than ``seconds``."""
    return int(counts[seconds >= UPPER_S].sum())
