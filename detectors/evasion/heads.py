"""Heads: six questions about a client's walks, each a p-value under "a client that does not act on the answers".

A walk as such accuses nobody: cameras, sensors, what-if tools and test-time augmentation all send queries that nearly
repeat their own. W1 asks whether the predicted class flips at short steps more often than with honest clients: a camera
may hover where the model cannot decide, but to stay within a hair's breadth of that place takes looking for it. The
others ask whether the client's next move depends on the answer to its last try (W2 to W4: whether it goes on from there
or back; W5: whether it goes straight on along a line or turns), by the exact test of a two-by-two table. Geometry
alone couples the two a little, and more for one honest client than for another: a large jump both changes the answer
more often and is followed by a return more often. So the odds ratio of an honest client is itself drawn at random, as
widely as the reference's clients show and never less than ``LEAST_SPREAD``. W6 asks of a client that tries both sides
of a point whether it then moves the way the answers point; nobody who does not estimate slopes tries so and moves so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import special

from detectors.batch import FloatArray
from detectors.evasion.tally import Tally

Table = tuple[int, int, int, int]
"""Tries with the answer in question: went on, went back; other tries: went on, went back."""
LEAST_SPREAD, MOST_SPREAD = 0.25, 1.2
PURSUITS = 4
"""Heads that test a table: W2 to W5."""
MOST_COUNTED = 1_000
LEAST_MOVES = 3
DOUBT = 0.8
"""What multiplies the log p-value of W6: moves of one client are not quite independent of each other."""
ENOUGH_TABLES = 8
_PRIOR_TABLES = 8
_NODES = np.linspace(-5.0, 5.0, 41)
_LOG_WEIGHTS = -0.5 * _NODES**2 - special.logsumexp(-0.5 * _NODES**2)


@dataclass(frozen=True, slots=True)
class Coupling:
    """ln odds ratios of honest clients' tables: normal with this centre (>= 0) and standard deviation."""

    centre: float = 0.0
    spread: float = 0.3

    @classmethod
    def fit(cls, tables: Sequence[Table]) -> Self:
        """Random-effects estimate (DerSimonian and Laird 1986) without the highest twentieth, shrunk to the default."""
        cells = np.array(tables, dtype=np.float64).reshape(len(tables), 4) + 0.5
        variance = (1.0 / cells).sum(axis=1)
        cells, variance = cells[variance < 1.5], variance[variance < 1.5]
        if len(cells) < ENOUGH_TABLES:
            return cls()
        odds = np.log(cells[:, 0] * cells[:, 3] / (cells[:, 1] * cells[:, 2]))
        kept = np.argsort(odds)[: len(odds) - max(1, len(odds) // 20)]
        odds, weight = odds[kept], 1.0 / variance[kept]
        mean = float(np.average(odds, weights=weight))
        excess = float(np.sum(weight * (odds - mean) ** 2)) - (len(odds) - 1)
        found = max(0.0, excess / float(weight.sum() - np.sum(weight**2) / weight.sum()))
        n = len(odds)
        spread = np.sqrt((n * found + _PRIOR_TABLES * cls().spread ** 2) / (n + _PRIOR_TABLES))
        return cls(float(np.clip(mean, 0.0, 1.0)), float(np.clip(spread, LEAST_SPREAD, MOST_SPREAD)))


def table_log_p(table: Table, coupling: Coupling) -> float:
    """Ln P(at least that many went on from the answer in question), given the margins of the table.

    Fisher's noncentral hypergeometric distribution, averaged over honest odds ratios. Larger tables are scaled down to
    ``MOST_COUNTED`` moves. Cost: 41 sums over the possible tables.

    >>> round(float(np.exp(table_log_p((3, 0, 0, 3), Coupling(0.0, 1e-9)))), 3)
    0.05
    """
    counts = np.array(table, dtype=np.float64)
    if counts.sum() > MOST_COUNTED:
        counts = np.rint(counts * (MOST_COUNTED / counts.sum()))
    a, b, c, d = counts.tolist()
    liked, other, on = a + b, c + d, a + c
    low, high = max(0.0, on - other), min(liked, on)
    if low == high:
        return 0.0
    k = np.arange(low, high + 1.0)
    ways = -sum(special.gammaln(x + 1.0) for x in (k, liked - k, on - k, other - on + k))
    logs = ways + (coupling.centre + coupling.spread * _NODES)[:, None] * k
    tails = special.logsumexp(logs[:, k >= a], axis=1) - special.logsumexp(logs, axis=1)
    return float(min(0.0, special.logsumexp(tails + _LOG_WEIGHTS)))


def tables(tally: Tally) -> tuple[Table, Table, Table, Table]:
    """Tables of W2 to W5: goes on where confidence fell, where it rose, where the class held; straight on where so."""
    fell, rose, kept, flipped = ((tally[f"{x}_on"], tally[f"{x}_back"]) for x in ("fell", "rose", "kept", "flipped"))
    held, crossed = ((tally[f"{x}_ahead"], tally[f"{x}_turned"]) for x in ("kept", "flipped"))
    return (*fell, *rose), (*rose, *fell), (*kept, *flipped), (*held, *crossed)


def pursuit_log_p(tally: Tally, couplings: Sequence[Coupling]) -> FloatArray:
    """(4,) ln p-values of W2 to W5."""
    return np.array([table_log_p(t, c) for t, c in zip(tables(tally), couplings, strict=True)])


def descent_log_p(tally: Tally) -> float:
    """Ln p-value of W6: moves after mirrored tries go with the answers, down or up, more than chance makes them.

    The nats of k moves add up to a gamma distribution of shape k (Fisher 1932); the better of two directions counts, at
    twice the p-value.
    """
    moves = tally["moves"]
    if moves < LEAST_MOVES:
        return 0.0
    most = max(tally["down"], tally["up"]) / 1000.0
    return min(0.0, DOUBT * (_log_gamma_tail(moves, most) + float(np.log(2.0))))


def _log_gamma_tail(shape: int, value: float) -> float:
    """Ln of the chance that a gamma variable of whole ``shape`` is at least ``value``: that of fewer Poisson events."""
    k = np.arange(shape)
    return float(special.logsumexp(k * np.log(max(value, 1e-300)) - special.gammaln(k + 1.0)) - value)
