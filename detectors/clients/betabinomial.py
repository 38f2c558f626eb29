"""Beta-binomial: counts of clients whose rates differ, as a distribution of rates and the p-values it gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

PAST_WEIGHT = 10.0
"""Queries of a client's past that weigh as much as all that is known of its peers."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Ordinary clients' rates of some event as a Beta distribution: its mean and its concentration a + b.

    It makes rates of few and of many queries comparable; what odd ones among honest clients show is for ``Tail``, or
    for ``stretch`` in (0, 1], which multiplies log p-values.
    """

    mean: float
    concentration: float
    stretch: float = 1.0

    def log_p(self, hits: float, n: float, peers_mean: float = 0.0, own: tuple[float, float] = (0.0, 0.0)) -> float:
        """Natural log of P(at least ``hits`` of ``n``) for an honest client among peers with that mean rate.

        ``own`` is how many hits of how many the client had in the past: an honest client may go on as it was.
        """
        if n <= 0 or hits <= 0:
            return 0.0
        mean = min(max(self.mean, peers_mean), 0.95)
        concentration = max(4.0, self.concentration * float(np.sqrt(self.mean / mean)))
        a, b = mean * concentration, (1.0 - mean) * concentration
        found = beta_binomial_log_sf(hits, n, a, b)
        if own[1] > 0:
            weight = min(1.0, PAST_WEIGHT / concentration)
            found = max(found, beta_binomial_log_sf(hits, n, weight * a + own[0], weight * b + own[1] - own[0]))
        return found * self.stretch


def beta_binomial_log_sf(hits: float, n: float, a: float, b: float) -> float:
    """Natural log of P(X >= hits) for a beta-binomial X.

    >>> round(beta_binomial_log_sf(2, 2, 1.0, 1.0), 6) == round(float(np.log(1 / 3)), 6)
    True
    """
    if n > 20_000:
        scale = 20_000 / n
        hits, n = hits * scale, 20_000.0
    n, first = float(round(n)), float(np.ceil(hits - 1e-9))
    if first <= 0:
        return 0.0
    k = np.arange(first, n + 1)
    if not len(k):
        return float(special.betaln(n + a, b) - special.betaln(a, b))
    choose = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    logs = choose + special.betaln(k + a, n - k + b) - special.betaln(a, b)
    return float(min(0.0, special.logsumexp(logs)))


def beta_binomial_log_pmf(hits: float, n: float, a: float, b: float) -> float:
    """Natural log of P(X = hits) for a beta-binomial X."""
    ways = -special.betaln(hits + 1.0, n - hits + 1.0) - np.log(n + 1.0)
    return float(ways + special.betaln(hits + a, n - hits + b) - special.betaln(a, b))
