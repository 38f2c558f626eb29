"""Heads: three questions about a client's sums, each answered by a p-value under "an honest client like the others".

H1 asks whether the client's mean channel row lies farther out than honest clients do (random-effects T²): directions in
which honest clients differ are discounted, directions in which they never differ stay sharp. H2 asks whether too
many queries are strange for their class. H3 asks whether too many queries are near repeats of the client's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from detectors.batch import FloatArray
from detectors.extraction.history import History

PAST_WEIGHT = 10.0
"""Queries of a client's past that weigh as much as all that is known of its peers."""
UNEVEN_DRIFT = 0.3
"""Variance of how far honest clients follow a common drift, in units of its length squared."""


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How honest clients' mean rows scatter: T² = sum of y² / (between + 1/n) with y = (m - centre) @ axes.

    Attributes:
        centre: (d,) mean of honest clients. axes: (d, d) whitens the scatter of one query. between: (d,) variance of
            client means along the axes, in units of one query's variance.
        sizes, medians: median T² of honest clients by number of queries, for interpolation in ln n.
    """

    centre: FloatArray
    axes: FloatArray
    between: FloatArray
    sizes: FloatArray
    medians: FloatArray

    def ratio(self, mean: FloatArray, n: float, drift: FloatArray | None = None, own: History | None = None) -> float:
        """T² of a mean row of n fresh queries over the median T² of honest clients of that size.

        ``own`` is the client's past: where it lies nearer to that than to its peers, the nearer distance counts.

        ``drift`` (d,) is how far all clients have moved together: the client is compared with the nearest point of the
        way they went, and honest clients may differ in how far they went along it.
        """
        residues, between = self._residues(mean, n, drift, own)
        return min(t_squared(y, between, n) for y in residues) / self.median(n)

    def resemblance(
        self,
        made_up: FloatArray,
        mean: FloatArray,
        n: float,
        drift: FloatArray | None = None,
        own: History | None = None,
    ) -> float:
        """How far the mean row lies towards some sort of made-up query, in standard deviations of honest clients.

        A matched filter for each row of ``made_up`` (sorts, d), along the axes; the largest counts.
        """
        residues, between = self._residues(mean, n, drift, own)
        return min(towards(made_up, y, between + 1.0 / max(n, 1.0)) for y in residues)

    def _residues(
        self, mean: FloatArray, n: float, drift: FloatArray | None, own: History | None
    ) -> tuple[list[FloatArray], FloatArray]:
        """The mean row beside its peers, and beside its own past if it has one; and the variances between clients."""
        y = (mean - self.centre) @ self.axes
        between = self.between
        if drift is not None:
            way = drift @ self.axes
            between = between + UNEVEN_DRIFT * (way * way + float(np.mean(way * way)))
            y = y - way * along(y, way, between + 1.0 / max(n, 1.0))
        return [y] if own is None else [y, y - self._past(own)], between

    def _past(self, own: History) -> FloatArray:
        """Where the client's past puts it, shrunk towards its peers."""
        trust = np.maximum(self.between / (self.between + 1.0 / own.fresh), own.fresh / (own.fresh + PAST_WEIGHT))
        return np.asarray(trust * ((own.mean - self.centre) @ self.axes))

    def median(self, n: float) -> float:
        return float(np.interp(np.log(max(n, 1.0)), np.log(self.sizes), self.medians))


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


def along(y: FloatArray, way: FloatArray, variance: FloatArray) -> float:
    """How far along ``way`` (0 = not at all, 1 = all of it, at most 1.5) the point nearest to ``y`` lies."""
    length = float(np.sum(way * way / variance))
    return float(np.clip(np.sum(y * way / variance) / max(length, 1e-12), 0.0, 1.5))


def towards(made_up: FloatArray, y: FloatArray, variance: FloatArray) -> float:
    """The largest z of ``y`` along the rows of ``made_up``, by the filter that is best for independent coordinates."""
    size = np.sqrt(np.sum(made_up * made_up / variance, axis=1))
    return float(np.max((made_up @ (y / variance)) / np.maximum(size, 1e-12), initial=0.0))


def t_squared(y: FloatArray, between: FloatArray, n: float) -> float:
    """Sum of y² / (between + 1/n)."""
    return float(np.sum(y * y / (between + 1.0 / max(n, 1.0))))


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
