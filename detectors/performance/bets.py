"""Bets that the mean loss has risen, on losses in [0, 1] counted by level.

A bet pays ``1 + strength x (loss - null)`` an event. Whatever the distribution of the loss, the mean payment is at most
one while its mean is at most ``null``; for right and wrong answers this is the likelihood ratio of two error rates. The
null is the reference's mean loss, plus the tolerance and the reference's own standard error; at least two and a half
standard errors, so that a small reference, which may have been lucky, does not make all that follows look worse.

Source: Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting" (2024), §4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.batch import FloatArray, ObjectArray
from detectors.evidence import overdispersion

_STEPS = (0.02, 0.05, 0.12, 0.3)
_SAMPLING_ERRORS = 2.5
_MOST = 0.9


@dataclass(frozen=True, slots=True)
class LossBets:
    """Bets on one kind of loss.

    Attributes:
        mean: mean loss in the reference.
        null: highest mean loss that is tolerated.
        log_ratios: (bets, levels) what a bet earns from one event at a level, in logarithms, tempered.
    """

    mean: float
    null: float
    log_ratios: FloatArray

    @classmethod
    def design(
        cls, levels: FloatArray, masses: FloatArray, effective_n: float, temper: float, tolerance: float
    ) -> Self:
        """Bets for losses of these levels.

        Args:
            levels: (l,) loss at each level, in [0, 1].
            masses: (l,) events of the reference at each level.
            effective_n: independent events that the reference is worth.
            temper: ≥ 1, overdispersion in time.
        """
        p = masses / max(float(masses.sum()), 1.0)
        mean = float((p * levels).sum())
        variance = max(float((p * (levels - mean) ** 2).sum()), 1.0 / max(effective_n, 1.0))
        error = float(np.sqrt(variance / max(effective_n, 1.0)))
        null = min(mean + max(tolerance + error, _SAMPLING_ERRORS * error), 0.98)
        spread = max(variance, 1e-4)
        strengths = np.array([min(step / (spread + step**2), _MOST / null) for step in _STEPS])
        return cls(mean, null, np.log1p(strengths[:, None] * (levels - null)[None, :]) / temper)

    @property
    def weights(self) -> FloatArray:
        return np.full(len(self.log_ratios), 1.0 / len(self.log_ratios))


def dispersion(losses: FloatArray, timestamp: FloatArray, pane_s: float) -> float:
    """Overdispersion of a loss in time: the largest over blocks of 1, 4, 16, … panes, while eight of them remain."""
    worst, width = 1.0, pane_s
    while True:
        blocks = np.floor(timestamp / width)
        if np.unique(blocks).size < 8:
            return worst
        worst = max(worst, overdispersion(losses, blocks))
        width *= 4


def dispersion_between(losses: FloatArray, groups: ObjectArray | None) -> float:
    """Overdispersion between clients; 1 where they are unknown."""
    if groups is None or len(groups) == 0:
        return 1.0
    _, labels = np.unique(groups.astype(str), return_inverse=True)
    return overdispersion(losses, labels.astype(np.float64))
