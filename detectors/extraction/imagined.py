"""Imagined: honest clients that a reference does not show, as channel rows: behind a new device, of a narrower kind,
or with digits that nobody else sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.decoys import Stock, disguised
from detectors.clients.grain import Grain
from detectors.clients.rings import Code, Nearness, RingCode, clients_of
from detectors.extraction.channels import Channels, Rows, Sight, margin
from detectors.extraction.honest import MIN_QUERIES, Honest, Newcomers
from detectors.extraction.imitation import Imitation
from detectors.extraction.layout import fresh, winnings

CHANGED_CLIENTS = 150
NARROW_CLIENTS = 150
MOST_CHANGED = 600
UNROUNDED = 10
"""One client in so many is imagined to send digits which nobody else sends."""
GEOMETRY_ROWS = 8_000
"""Ordinary rows that are enough to know the shape of a view by."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a reference shows: its events, what the views read of them, their channel rows and what rings say of them.

    ``hardness`` (n,) is how hard answers were and ``imitation`` what the model would have answered to others; None
    where that is not known.
    """

    batch: EventBatch
    read: Sequence[Sight]
    rows: Rows
    nearness: Nearness
    channels: Channels
    hardness: FloatArray | None
    imitation: Imitation | None

    @classmethod
    def of(cls, batch: EventBatch, rows: Rows, nearness: Nearness, channels: Channels, seed: int) -> Self:
        """Read the reference; imitates the model where its scores are logged."""
        assert batch.client_id is not None
        read, hardness, imitation = channels.read(batch), margin(batch), None
        if hardness is not None:
            half = np.zeros(len(batch), dtype=np.int64)
            for i, (_, index) in enumerate(clients_of(batch.client_id)):
                half[index] = i % 2
            white, _ = channels.views[-1].space.whitened(read[-1][0])
            imitation = Imitation.fit(white, rows.label, hardness, half, seed)
        return cls(batch, read, rows, nearness, channels, hardness, imitation)

    def stocks(self, rng: np.random.Generator) -> list[Stock]:
        """What to make rows of each view from."""
        some = np.arange(0, len(self.batch), max(1, len(self.batch) // GEOMETRY_ROWS))
        return [
            Stock.of(view.map, vectors[some], self.rows.label[some], rng)
            for view, (vectors, _, _) in zip(self.channels.views, self.read, strict=True)
        ]

    def sights(self, index: IntArray) -> list[Sight]:
        """What the views read of these events."""
        return [(vectors[index], seen[index], nats[index]) for vectors, seen, nats in self.read]

    def rows_of(self, index: IntArray, sights: Sequence[Sight]) -> Rows:
        """The channel rows of events ``index`` if the views read this of them.

        Predicted classes stay those of the reference; how hard the answers would be is imitated.
        """
        hardness = None if self.hardness is None else self.hardness[index]
        if hardness is not None and self.imitation is not None:
            hardness = self.imitation.hardness(index, self.channels.views[-1].space.whitened(sights[-1][0])[0])
        return self.channels.rows_of(sights, hardness, self.rows.label[index])


def newcomers(shown: Shown, code: RingCode, seed: int) -> Newcomers:
    """All sorts of them."""
    return Newcomers(changed(shown, code, seed), narrow(shown, code, seed), unrounded(shown, seed))


def changed(shown: Shown, code: RingCode, seed: int) -> list[Honest]:
    """The reference's clients behind new devices; a dull one makes queries alike, so their repeats are told anew."""
    rng = np.random.default_rng(seed)
    stocks, out = shown.stocks(rng), []
    for client, index in _able(shown)[:CHANGED_CLIENTS]:
        sights = _through(stocks, shown.sights(index), rng)
        placed = code.nearness_of(sights[-1][0], shown.rows.label[index])
        nearness = replace(placed, stamped=shown.nearness.stamped[index])
        out.append(_honest(client, shown.rows_of(index, sights), nearness))
    return out


def unrounded(shown: Shown, seed: int) -> list[Honest]:
    """Some of the reference's clients if some of their numbers were never rounded; none where nothing has a grain."""
    rng = np.random.default_rng([seed, 1])
    grains = [view.map.grain for view in shown.channels.views]
    if not any(grain.known for grain in grains):
        return []
    out = []
    for client, index in _able(shown)[:CHANGED_CLIENTS:UNROUNDED]:
        sights = [
            (vectors, seen, nats + np.array([0.0, _off_grain(grain, rng)]))
            for (vectors, seen, nats), grain in zip(shown.sights(index), grains, strict=True)
        ]
        nearness = Nearness(np.empty(0), shown.nearness.apart[index], np.empty(0))
        out.append(_honest(f"unrounded {client}", shown.rows_of(index, sights), nearness))
    return out


def _able(shown: Shown) -> list[tuple[str, IntArray]]:
    """The clients of a reference with queries enough, and where those are."""
    assert shown.batch.client_id is not None
    new = fresh(shown.rows, shown.nearness.codes)
    found = [(client, index[new[index]][:MOST_CHANGED]) for client, index in clients_of(shown.batch.client_id)]
    return [(client, index) for client, index in found if len(index) >= MIN_QUERIES]


def _honest(client: str, rows: Rows, nearness: Nearness) -> Honest:
    return Honest(
        client, rows.phi, winnings(rows, nearness.apart), rows.strange, near_of(nearness.codes, nearness.stamped)
    )


def narrow(shown: Shown, code: RingCode, seed: int) -> list[Honest]:
    """Clients that ask about little, as much as those of the reference do; every other one is behind a new device, too.

    Of everybody's queries they send those nearest to one of them in some columns or all. Where columns are not of one
    kind, half of them send any queries with the values of one in some columns, as an airline of one route does.
    """
    rng = np.random.default_rng(seed)
    vectors, seen, _ = shown.read[-1]
    able = np.flatnonzero(seen)[:: max(1, int(seen.sum()) // GEOMETRY_ROWS)]
    sizes = [len(index) for _, index in _able(shown)] or [MIN_QUERIES]
    stocks = shown.stocks(rng)
    by_column = [view.map.view for view in shown.channels.views] == ["features"] and not stocks[-1].alike
    out = []
    for i in range(NARROW_CLIENTS):
        n = min(int(rng.choice(sizes)), len(able))
        fixed = by_column and i % 4 >= 2
        index = rng.choice(able, n, replace=False) if fixed else _alike(vectors, able, n, rng)
        sights = shown.sights(index)
        if fixed:
            sights = shown.channels.read(_of_one_kind(shown.batch.take(index), rng))
        nearness = code.nearness_of(sights[-1][0], shown.rows.label[index])
        found = shown.rows_of(index, _through(stocks, sights, rng) if i % 2 else sights)
        new, won = fresh(found, nearness.codes), winnings(found, nearness.apart)
        near = near_of(nearness.codes, nearness.stamped)
        out.append(Honest(f"narrow {i}", found.phi[new], won[new], found.strange[new], near))
    return out


def _of_one_kind(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
    """The events with the values of the first in some of the columns, most of them on average."""
    same = rng.uniform(0.3, 1.0)
    numeric = batch.numeric.copy()
    some = rng.random(numeric.shape[1]) < same
    numeric[:, some] = numeric[0, some]
    mixed = {
        name: np.full(len(batch), values[0], dtype=object) if rng.random() < same else values
        for name, values in batch.mixed.items()
    }
    return replace(batch, numeric=numeric, mixed=mixed)


def _alike(vectors: FloatArray, able: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Some n of ``able`` in any order, those nearest to one of them in some columns or all."""
    some = np.flatnonzero(rng.random(vectors.shape[1]) < rng.uniform(0.3, 1.0))
    gap = np.sum((vectors[np.ix_(able, some)] - vectors[rng.choice(able), some]) ** 2, axis=1)
    return np.asarray(rng.permutation(able[np.argsort(gap, kind="stable")[:n]]))


def _off_grain(grain: Grain, rng: np.random.Generator) -> float:
    """Surprise of queries of which some numbers are never rounded."""
    return float(grain.nats @ (rng.random(len(grain.nats)) < rng.uniform(0.2, 1.0)))


def _through(stocks: Sequence[Stock], sights: Sequence[Sight], rng: np.random.Generator) -> list[Sight]:
    """The same queries as one made-up device would send them."""
    return [
        (stock.squashed(disguised(stock, stock.loosened(vectors), rng, len(vectors))), seen, nats)
        for stock, (vectors, seen, nats) in zip(stocks, sights, strict=True)
    ]


def near_of(codes: FloatArray, stamped: FloatArray) -> NDArray[np.bool_]:
    """(c, 3) whether each query that was compared is a near repeat, narrowly and widely, and whether it is stamped."""
    other = codes > Code.EXACT
    compared = codes[other]
    narrowly = (compared == Code.NEAREST) | (compared == Code.NEAR)
    return np.stack([narrowly, compared <= Code.CLOSE, stamped[other] == 1.0], axis=1)
