"""Honest: how often ordinary clients walk, how often the class flips when they do, and what the heads say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.evasion.heads import pursuit_log_p
from detectors.evasion.tally import Tally
from detectors.extraction.baseline import fit_rate
from detectors.extraction.heads import Rate

MIN_QUERIES = 10
MIN_STEPS = 10
ENOUGH_CLIENTS = 8
MAX_SHARES = 2_000
USUAL_FLIPS = 0.05
RAREST = 0.02
"""No walk is called rarer among honest clients than this, however many of them the reference holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Honest clients of the reference.

    Attributes:
        flips: rate of class flips among steps, between clients.
        shares: sorted share of queries that are steps, a value a client.
        stretch: (3,) in (0, 1], what multiplies the log p-values of W2 to W4 so that honest clients' look uniform.
    """

    flips: Rate
    shares: FloatArray
    stretch: FloatArray

    @property
    def calibration(self) -> str:
        n = len(self.shares)
        return f"{n} honest clients in the reference" if n >= ENOUGH_CLIENTS else "few honest clients in the reference"

    @property
    def usual_share(self) -> float:
        """Median share of steps; 0 where the reference shows none."""
        return float(np.median(self.shares)) if len(self.shares) else 0.0

    @classmethod
    def fit(cls, tallies: Sequence[Tally]) -> Self:
        """Learn from the tallies of the reference's clients."""
        able = [t for t in tallies if t["compared"] >= MIN_QUERIES]
        walkers = [t for t in able if t["steps"] >= MIN_STEPS]
        flips = fit_rate([(t["flips"], t["labelled"]) for t in able if t["labelled"]], USUAL_FLIPS, len(walkers), 40.0)
        told = np.array([pursuit_log_p(t) for t in walkers]).reshape(len(walkers), 3)
        stretch = np.array([stretch_of(told[:, j]) for j in range(3)])
        shares = np.sort([t.walking for t in able])[-MAX_SHARES:] if able else np.zeros(0)
        return cls(flips, shares, stretch)

    def log_rarity(self, share: float) -> float:
        """Ln of the share of honest clients who walk at least this much; 0 where few honest clients are known."""
        n = len(self.shares)
        if n < ENOUGH_CLIENTS:
            return 0.0
        above = n - int(np.searchsorted(self.shares, 0.8 * share))
        return float(np.log(max(RAREST, (above + 1.0) / (n + 1.0))))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        flips = (self.flips.mean, self.flips.concentration, self.flips.stretch)
        return {"flips": np.array(flips), "shares": self.shares, "stretch": self.stretch}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        mean, concentration, stretch = arrays["flips"].tolist()
        return cls(Rate(mean, concentration, stretch), arrays["shares"], arrays["stretch"])


def stretch_of(log_p: FloatArray) -> float:
    """What multiplies log p-values so that the lowest tenth of honest clients is as low as chance makes it, at most 1.

    The very lowest are left out, since one odd client must not blind the head to others.
    """
    ordered = np.sort(log_p)
    n = len(ordered)
    ranks = np.arange(max(1, n // 50), max(2, n // 10))
    ranks = ranks[ranks < n]
    if n < ENOUGH_CLIENTS or not len(ranks) or ordered[ranks[0]] >= 0:
        return 1.0
    return float(np.clip(np.min(np.log((ranks + 1.0) / n) / np.minimum(ordered[ranks], -1e-9)), 0.3, 1.0))
