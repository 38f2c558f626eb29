"""Wagers: how a bet that a client's queries are rarer than they should be has grown.

Each query multiplies the stake by ``1 + SHARE (1 / (2 sqrt p) - 1)``, a mixture of not betting and of the power bet of
Vovk, Nouretdinov and Gammerman (Testing exchangeability on-line, 2003) with exponent one half: its mean is 1 where
p-values are uniform, and it grows fastest where a small share of the queries is very rare. The logarithm of the stake
is a sum over queries, so it can be added up over panes, partitions and clients.

Five such bets run beside each other: that queries are made up, that they are strange, that answers are hard, that they
are surer than they should be, and that queries are foreign: made up even beside what made-up devices send. A sixth bets
that queries keep apart from the client's own recent ones, as those of a thief do who chooses each to lie far from the
rest (k-centre sampling: Sener and Savarese, Active learning for convolutional neural networks, 2018): honest clients
come back to what they asked before, so the bet that they hardly ever do is lost by them and won by such a thief.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.clients.rings import APART_SHARE

WAGERS = ("made_up", "strange", "hard", "sure", "foreign", "apart")
_ASKED, _ANSWERED, _ASKED_ELSEWHERE, _APART = [0, 1], [2, 3], [4, 1], 5
"""Bets on what is asked, on answers, on what is asked by a client of a sort that the reference does not show, and on
how far apart its queries lie."""
SHARE = 0.1
EVER_NEAR = 0.035
"""Share of queries that come near a recent one, as the bet has it that they keep apart; honest ones: a quarter."""
STAMPED_SHARE = 0.002
"""Least share of honest queries that is taken to be stamped."""
_STAMPED_MORE = 15.0
_MOST_STAMPED = 0.5
MOST_NATS = 12.0
"""Rarer queries count as such."""
SPAN = 500.0
"""Queries after which more of the same are no more evidence: honest clients differ from one another for good."""
LEAST_GROWTH = 3.0
"""Smaller growth, in nats, is none: one honest client in twenty would see it if all were alike."""
HARD_TO_SEE = 0.5
"""Part of what the bet on made-up queries wins that a client of another sort is granted for its answers as well."""
FARTHER = 1.25
"""How many times as much as made-up newcomers' may be explained of a real one's: nobody makes up all that there is."""
EDGE = 0.5
"""A query belongs to the unusual half where it looks more made up than this share of ordinary ones of its class."""
_BULK = np.linspace(0.5, 1.0, 6)
_REACH = 0.07
_FEWEST_CLIENTS = 5
_FEWEST_QUERIES = 25
_QUANTILE = 0.9


Seen = tuple[FloatArray, FloatArray]
"""Channel rows (m, d) and growth (m, 6) of one client's queries."""


def growth(nats: FloatArray) -> FloatArray:
    """Growth of the logarithm of a stake by queries with these -ln p, elementwise; 0 where nothing was logged."""
    rare = np.clip(nats, 0.0, MOST_NATS)
    return np.nan_to_num(np.log1p(SHARE * (0.5 * np.exp(0.5 * rare) - 1.0)))


def growth_apart(apart: FloatArray) -> FloatArray:
    """(n,) growth of the logarithm of the bet that queries keep apart, rounded to 1/1024; 0 where it is not known."""
    kept, came = np.log((1.0 - EVER_NEAR) / APART_SHARE), np.log(EVER_NEAR / (1.0 - APART_SHARE))
    won = np.where(np.isnan(apart), 0.0, np.where(apart == 1.0, kept, came))
    return np.asarray(np.rint(1024.0 * won) / 1024.0)


def won_by_stamps(stamped: float, compared: float, usual: float = 0.0) -> float:
    """Nats that the bet won of which so many times as many queries are stamped as are among peers.

    ``stamped`` of ``compared`` queries are (``detectors/clients/stamps.py``), and ``usual`` is that share among peers,
    or in the own past.
    """
    honest = min(max(usual, STAMPED_SHARE), _MOST_STAMPED)
    bet = min(_STAMPED_MORE * honest, max(_MOST_STAMPED, honest))
    span = min(1.0, SPAN / max(compared, 1.0))
    won = stamped * np.log(bet / honest) + (compared - stamped) * np.log((1.0 - bet) / (1.0 - honest))
    return max(LEAST_GROWTH, float(span * won))


@dataclass(frozen=True, slots=True, eq=False)
class Excuse:
    """Growth that is explained by who the client is.

    A new device moves every query: where its oddest are strange, hardly one of the rest is as ordinary as half of the
    ordinary ones are. A thief who mixes made-up queries into ordinary ones leaves the rest as they were. So the bulk of
    a client's queries says how far its rare ones are explained; made-up honest clients show by how much.

    Attributes:
        column: where a channel row holds whether the query is of the unusual half.
        table: (6, 6) nats a query explained where .5, .6 … of all queries are of the unusual half.
        usual: (6,) nats a query that honest clients of the reference win on average, at least 0.
        most: the most unusual bulk among them.
    """

    column: int
    table: FloatArray
    usual: FloatArray
    most: float

    @classmethod
    def fit(cls, column: int, honest: Sequence[Seen], changed: Sequence[Seen], narrow: Sequence[Seen]) -> Self:
        """From what clients of the reference sent, and made-up ones behind devices, and narrow ones.

        Narrow clients teach what is asked alone: some ask where answers are hard, and are no measure for others.
        """
        usual = np.mean([won.mean(axis=0) for _, won in honest], axis=0) if honest else np.zeros(len(WAGERS))
        bulks = [float(phi[:, column].mean()) + EDGE for phi, _ in honest if len(phi) >= _FEWEST_QUERIES]
        table, answered = (_explained(column, made_up) for made_up in ([*changed, *narrow], changed))
        table[_ANSWERED] = answered[_ANSWERED]
        return cls(column, table, np.maximum(usual, 0.0), max(bulks, default=1.0))

    def explained(self, mean: FloatArray, most: float = 1.0) -> FloatArray:
        """(6,) nats a query explained for a client with that mean row, its bulk counted up to ``most``."""
        bulk = min(float(mean[self.column]) + EDGE, most)
        return np.array([np.interp(bulk, _BULK, row) for row in self.table])

    def excess(self, won: FloatArray, n: float, mean: FloatArray, known: FloatArray | None = None) -> Won:
        """What n queries won beyond what is usual, or ``known`` (6,) nats a query of peers or of the past."""
        usual = self.usual if known is None else np.maximum(self.usual, known)
        shown, unshown = usual.copy(), np.maximum(usual, FARTHER * self.explained(mean))
        shown[_ASKED] = np.maximum(usual, self.explained(mean, self.most))[_ASKED]
        unshown[_ANSWERED] = np.maximum(unshown[_ANSWERED], HARD_TO_SEE * won[0] / max(n, 1.0))
        span = min(1.0, SPAN / max(n, 1.0))
        plain, left = (np.maximum((won - n * base) * span, LEAST_GROWTH) for base in (shown, unshown))
        (hard, sure, apart), (hard_left, sure_left, apart_left) = (
            v[[*_ANSWERED, _APART]].tolist() for v in (plain, left)
        )
        asked, asked_left = float(plain[_ASKED].max()), float(left[_ASKED_ELSEWHERE].max())
        return Won(asked, hard, sure, apart, asked_left, hard_left, sure_left, apart_left)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        shape = np.array([self.column, self.most])
        return {"excuse_shape": shape, "excuse": self.table, "usual": self.usual}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        column, most = arrays["excuse_shape"].tolist()
        return cls(int(column), arrays["excuse"], arrays["usual"], most)


def _explained(column: int, made_up: Sequence[Seen]) -> FloatArray:
    """(6, 6) nats a query that most clients with such a bulk win, rising; 0 where there are too few of them."""
    able = [(phi, won) for phi, won in made_up if len(phi) >= _FEWEST_QUERIES]
    bulk = np.array([phi[:, column].mean() + EDGE for phi, _ in able])
    rates = np.array([won.mean(axis=0) for _, won in able]).reshape(-1, len(WAGERS))
    table = np.zeros((len(WAGERS), len(_BULK)))
    for i, at in enumerate(_BULK):
        near = np.abs(bulk - at) <= _REACH
        if i and near.sum() >= _FEWEST_CLIENTS:
            table[:, i] = np.maximum(np.quantile(rates[near], _QUANTILE, axis=0), 0.0)
    return np.asarray(np.maximum.accumulate(table, axis=1))


class Won(NamedTuple):
    """Nats won beyond what is usual: by the better of the bets on what is asked, by those on answers and on distance.

    The first four as for a client of a sort that the reference shows: what is asked counts beyond what the bulk of its
    queries explains, as far as any client of the reference goes, and answers count in full. The others as for a client
    of another sort: the bet on foreign queries stands in for that on made-up ones, and ``FARTHER`` times what the bulk
    explains is taken off.
    """

    asked: float
    hard: float
    sure: float
    apart: float
    asked_left: float
    hard_left: float
    sure_left: float
    apart_left: float

    @classmethod
    def nothing(cls) -> Won:
        return cls(*[LEAST_GROWTH] * len(cls._fields))

    def larger(self, other: Won) -> Won:
        """The larger of each."""
        return Won(*map(max, self, other))
