"""Excuse: how many strange queries a client may send because all of its queries are a little strange.

A new device moves every query: where its oddest are strange, hardly one of the rest is as ordinary as half of the
ordinary ones are. A thief who mixes made-up queries into ordinary ones leaves the rest as they were. So the bulk of a
client's queries says how far its strange ones are explained by who it is; made-up honest clients show by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray

EDGE = 0.5
"""A query belongs to the unusual half where it looks more made up than this share of ordinary ones of its class."""
_BULK = np.linspace(0.5, 1.0, 6)
_REACH = 0.07
_FEWEST_CLIENTS = 5
_FEWEST_QUERIES = 25
_QUANTILE = 0.9
LEAST_EXCESS = 0.05
"""Smaller excesses are none."""


@dataclass(frozen=True, slots=True, eq=False)
class Excuse:
    """Strange rates that the bulk explains.

    Attributes:
        column: where a channel row holds whether the query is of the unusual half.
        table: (2, 6) at 1 in 100 and at 1 in 20: rates explained where .5, .6 … all queries are of the unusual half.
    """

    column: int
    table: FloatArray

    @classmethod
    def fit(cls, column: int, made_up: Sequence[tuple[FloatArray, NDArray[np.bool_]]]) -> Self:
        """From the (m, d) channel rows and (m, 2) strange queries of honest clients of sorts that nobody has seen."""
        able = [(phi, rare) for phi, rare in made_up if len(phi) >= _FEWEST_QUERIES]
        bulk = np.array([phi[:, column].mean() + EDGE for phi, _ in able])
        rates = np.array([rare.mean(axis=0) for _, rare in able]).reshape(-1, 2)
        table = np.zeros((2, len(_BULK)))
        for i, at in enumerate(_BULK):
            near = np.abs(bulk - at) <= _REACH
            if near.sum() >= _FEWEST_CLIENTS:
                table[:, i] = np.quantile(rates[near], _QUANTILE, axis=0)
        table[:, 0] = 0.0
        return cls(column, np.maximum.accumulate(table, axis=1))

    def rates(self, mean: FloatArray) -> tuple[float, float]:
        """The rates explained for a client with that mean channel row."""
        bulk = float(mean[self.column]) + EDGE
        narrow, wide = (float(np.interp(bulk, _BULK, row)) for row in self.table)
        return narrow, wide

    def excess(self, hits: Sequence[float], n: float, mean: FloatArray, usual: Sequence[float]) -> float:
        """Least share of n queries that is strange beyond what is ``usual`` at both levels and what the bulk explains.

        Two standard errors are taken off: so the figure of few queries is small, and that of many does not grow.
        Nothing below ``LEAST_EXCESS``.
        """
        worst = 0.0
        for k, explained, known in zip(hits, self.rates(mean), usual, strict=True):
            base = min(max(explained, known), 0.95)
            least = (k - 2.0 * np.sqrt(k + 1.0)) / max(n, 1.0)
            worst = max(worst, float((least - base) / (1.0 - base)))
        return worst if worst > LEAST_EXCESS else 0.0

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"excuse_column": np.array([self.column]), "excuse": self.table}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(int(arrays["excuse_column"][0]), arrays["excuse"])
