"""Crossed: how made up a query looks, by networks that each half of the reference's clients learned for the other half.

A network is only as good as its draw: two that learned the same differ in how far out they put what nobody should send.
So the network that a query is ranked by has to be the one that ranked honest clients, and no client may be ranked by a
network that knows it. Each half of the clients is ranked by what the other half taught; a later query is ranked by
both, and the mean of its two -ln p counts: bets grow with exp(r / 2), a convex function, so a bet on the mean wins on
average no more than the mean of both bets does. (Cross-conformal prediction: Vovk, Annals of Mathematics and Artificial
Intelligence 74, 2015.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.clients.likeness import Likeness
from detectors.clients.space import Space
from detectors.clients.vectors import VectorMap
from detectors.extraction.ranks import Ranking

HALVES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Crossed:
    """Two likenesses, each with the ranking of the half of the clients that it does not know."""

    likenesses: tuple[Likeness, ...]
    rankings: tuple[Ranking, ...]

    @classmethod
    def fit(
        cls,
        source: VectorMap,
        space: Space,
        both: FloatArray,
        label: IntArray,
        n_labels: int,
        seen: NDArray[np.bool_],
        half: IntArray,
        seed: int,
    ) -> tuple[Self, FloatArray]:
        """Learn, and the (2, n) -ln p of the reference, each row by what its client did not teach; NaN where not seen.

        ``both`` (2, n, p) holds the reference as it is, and behind made-up devices; so do the -ln p.
        """
        nats = np.full(both.shape[:2], np.nan)
        likenesses, rankings = [], []
        for h in range(HALVES):
            inside, others = seen & (half == h), seen & (half != h)
            likeness = Likeness.fit(source, space, both[0, others], label[others], seed + h)
            plain, behind = (likeness.scores(*space.whitened(rows[inside])) for rows in both)
            ranking = Ranking.fit(plain, label[inside], n_labels)
            nats[0, inside], nats[1, inside] = (ranking.nats(raw, label[inside]) for raw in (plain, behind))
            likenesses.append(likeness)
            rankings.append(ranking)
        return cls(tuple(likenesses), tuple(rankings)), nats

    def nats(self, white: FloatArray, left: FloatArray, label: IntArray) -> FloatArray:
        """(n,) mean -ln p of queries, by their whitened components and what those leave out."""
        said = [
            ranking.nats(likeness.scores(white, left), label)
            for likeness, ranking in zip(self.likenesses, self.rankings, strict=True)
        ]
        return np.asarray(np.mean(said, axis=0))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        arrays: dict[str, NDArray[np.generic]] = {}
        for h, (likeness, ranking) in enumerate(zip(self.likenesses, self.rankings, strict=True)):
            arrays |= {f"network{h}.{name}": array for name, array in likeness.to_arrays().items()}
            arrays |= {f"ranking{h}.{name}": array for name, array in ranking.to_arrays().items()}
        return arrays

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        def under(part: str) -> dict[str, NDArray[Any]]:
            return {name[len(part) :]: array for name, array in arrays.items() if name.startswith(part)}

        return cls(
            tuple(Likeness.load(under(f"network{h}.")) for h in range(HALVES)),
            tuple(Ranking.load(under(f"ranking{h}.")) for h in range(HALVES)),
        )
