"""Honest: how often ordinary clients walk, how often the class flips when they do, and what the heads say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.clients.betabinomial import Rate, beta_binomial_log_pmf
from detectors.evasion.heads import PURSUITS, Coupling, pursuit_log_p, tables
from detectors.evasion.tally import TURNS, Tally

MIN_QUERIES = 10
MIN_STEPS = 10
ENOUGH_CLIENTS = 8
MAX_SHARES = 2_000
IMAGINED = ((0, 40), (1, 40), (1, 40), (3, 25))
"""Flips and steps of four honest walkers that are always thought to be there, the last on the edge of two classes."""
_MEANS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
_SIZES = (6.0, 10.0, 15.0, 25.0, 40.0)
RAREST = 0.02
"""No walk is called rarer among honest clients than this, however many of them the reference holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Honest clients of the reference.

    Attributes:
        flips: rate of class flips among short steps, between clients.
        shares: sorted share of queries that are steps, a value a client.
        couplings: of W2 to W5, how far honest moves and answers go together without anybody's intent.
        turns: (``TURNS``,) honest shares of the cosines between consecutive steps.
        stretch: (4,) in (0, 1], what multiplies the log p-values of W2 to W5 so that honest clients' look uniform.
    """

    flips: Rate
    shares: FloatArray
    couplings: tuple[Coupling, ...]
    stretch: FloatArray
    turns: FloatArray

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
        flips = fit_flips([(t["tight_flips"], t["tight_labelled"]) for t in able])
        couplings = tuple(Coupling.fit([tables(t)[j] for t in walkers]) for j in range(PURSUITS))
        told = np.array([pursuit_log_p(t, couplings) for t in walkers]).reshape(len(walkers), PURSUITS)
        stretch = np.array([stretch_of(told[:, j]) for j in range(PURSUITS)])
        shares = np.sort([t.walking for t in able])[-MAX_SHARES:] if able else np.zeros(0)
        return cls(flips, shares, couplings, stretch, _turns(tallies))

    def log_rarity(self, share: float) -> float:
        """Ln of the share of honest clients who walk at least this much; 0 where few honest clients are known."""
        n = len(self.shares)
        if n < ENOUGH_CLIENTS:
            return 0.0
        above = n - int(np.searchsorted(self.shares, 0.8 * share))
        return float(np.log(max(RAREST, (above + 1.0) / (n + 1.0))))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "flips": np.array([self.flips.mean, self.flips.concentration, self.flips.stretch]),
            "shares": self.shares,
            "couplings": np.array([(c.centre, c.spread) for c in self.couplings]),
            "stretch": self.stretch,
            "turns": self.turns,
        }

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        flips = Rate(*arrays["flips"].tolist())
        couplings = tuple(Coupling(*row) for row in arrays["couplings"].tolist())
        return cls(flips, arrays["shares"], couplings, arrays["stretch"], arrays["turns"])


def _turns(tallies: Sequence[Tally]) -> FloatArray:
    shares = [t.turns for t in tallies if t.turns.any()]
    return np.mean(shares, axis=0) if shares else np.zeros(TURNS)


def fit_flips(pairs: Sequence[tuple[int, int]]) -> Rate:
    """Beta distribution of honest flip rates by maximum likelihood over a grid, the ``IMAGINED`` walkers included."""
    some = [*IMAGINED, *((k, n) for k, n in pairs if n >= 5)][:400]
    grid = [Rate(mean, size) for mean in _MEANS for size in _SIZES]
    fitted = grid[int(np.argmax([sum(_log_pmf(k, n, rate) for k, n in some) for rate in grid]))]
    return replace(fitted, stretch=stretch_of(np.array([fitted.log_p(k, n) for k, n in some])))


def _log_pmf(k: int, n: int, rate: Rate) -> float:
    return beta_binomial_log_pmf(k, n, rate.mean * rate.concentration, (1.0 - rate.mean) * rate.concentration)


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
