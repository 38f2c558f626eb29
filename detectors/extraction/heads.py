"""Heads: three questions about a client's sums, each answered by a p-value under "an honest client like the others".

H1 asks whether the client's mean channel row lies farther out than honest clients do (random-effects T²): directions in
which honest clients differ are discounted, directions in which they never differ stay sharp. H2 asks whether too
many queries are strange for their class. H3 asks whether too many queries are near repeats of the client's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.batch import FloatArray
from detectors.clients.betabinomial import PAST_WEIGHT
from detectors.extraction.history import History

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


def along(y: FloatArray, way: FloatArray, variance: FloatArray) -> float:
    """How far along ``way`` (0 = not at all, 1 = all of it, at most 1.5) the point nearest to ``y`` lies."""
    length = float(np.sum(way * way / variance))
    return float(np.clip(np.sum(y * way / variance) / max(length, 1e-12), 0.0, 1.5))


def t_squared(y: FloatArray, between: FloatArray, n: float) -> float:
    """Sum of y² / (between + 1/n)."""
    return float(np.sum(y * y / (between + 1.0 / max(n, 1.0))))
