"""Imagined: what a reference does not show, as channel rows: honest clients behind a new device, honest clients of a
narrower kind, and made-up queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.decoys import Stock, decoys, disguised
from detectors.clients.rings import NEAREST_RECENT, ClientRings, Code, RingCode, clients_of
from detectors.extraction.baseline import MIN_QUERIES, Honest
from detectors.extraction.channels import Channels, Rows, Sight, margin
from detectors.extraction.layout import fresh

CHANGED_CLIENTS = 150
NARROW_CLIENTS = 75
MOST_CHANGED = 200
DECOYS = 4_000
GEOMETRY_ROWS = 8_000
"""Ordinary rows that are enough to know the shape of a view by."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a reference shows: its events, what the views read of them, their channel rows and their ring codes."""

    batch: EventBatch
    read: Sequence[Sight]
    rows: Rows
    codes: FloatArray
    channels: Channels

    def stocks(self, rng: np.random.Generator) -> list[Stock]:
        """What to make rows of each view from."""
        some = np.arange(0, len(self.batch), max(1, len(self.batch) // GEOMETRY_ROWS))
        return [
            Stock.of(view.map, vectors[some], self.rows.label[some], rng)
            for view, (vectors, _, _) in zip(self.channels.views, self.read, strict=True)
        ]

    def behind_device(self, index: IntArray, stocks: Sequence[Stock], rng: np.random.Generator) -> Rows:
        """The channel rows of these events as one device that nobody has yet would send them; the answers stay."""
        moved = [
            (_through(stock, vectors[index], rng), seen[index], nats[index])
            for stock, (vectors, seen, nats) in zip(stocks, self.read, strict=True)
        ]
        return self.channels.rows_of(moved, margin(self.batch.take(index)), self.rows.label[index])


def changed(shown: Shown, seed: int) -> list[Honest]:
    """The reference's clients behind new devices."""
    assert shown.batch.client_id is not None
    rng = np.random.default_rng(seed)
    new, stocks = fresh(shown.rows, shown.codes), shown.stocks(rng)
    able = [(client, index[new[index]][:MOST_CHANGED]) for client, index in clients_of(shown.batch.client_id)]
    able = [(client, index) for client, index in able if len(index) >= MIN_QUERIES][:CHANGED_CLIENTS]
    out = []
    for client, index in able:
        found = shown.behind_device(index, stocks, rng)
        out.append(Honest(client, found.phi, rare_of(found.strangeness), np.empty((0, 2), dtype=bool)))
    return out


def narrow(shown: Shown, code: RingCode, seed: int) -> list[Honest]:
    """Clients that ask about little: of everybody's queries those nearest to one of them in some columns or all.

    Every other one is behind a new device, too.
    """
    rng = np.random.default_rng(seed)
    vectors, seen, _ = shown.read[-1]
    able = np.flatnonzero(seen)[:: max(1, int(seen.sum()) // GEOMETRY_ROWS)]
    rings, stocks = ClientRings(code), shown.stocks(rng)
    out = []
    for i in range(NARROW_CLIENTS):
        client = f"narrow {i}"
        some = np.flatnonzero(rng.random(vectors.shape[1]) < rng.uniform(0.3, 1.0))
        gap = np.sum((vectors[np.ix_(able, some)] - vectors[rng.choice(able), some]) ** 2, axis=1)
        n = min(int(rng.integers(MIN_QUERIES, MOST_CHANGED + 1)), len(able))
        index = rng.permutation(able[np.argsort(gap, kind="stable")[:n]])
        asked = replace(shown.batch.take(index), client_id=np.full(n, client, dtype=object))
        codes = rings.annotate(asked).annotations[NEAREST_RECENT]
        new = fresh(shown.rows.take(index), codes)
        found = shown.behind_device(index, stocks, rng) if i % 2 else shown.rows.take(index)
        out.append(Honest(client, found.phi[new], rare_of(found.strangeness[new]), near_of(codes)))
    return out


def _through(stock: Stock, vectors: FloatArray, rng: np.random.Generator) -> FloatArray:
    """All these vectors as one made-up device would send them."""
    return stock.squashed(disguised(stock, stock.loosened(vectors), rng, len(vectors)))


def made_up(shown: Shown, seed: int) -> FloatArray:
    """(sorts, d) mean channel row of each sort of made-up query; its class is that of the nearest mean."""
    rng = np.random.default_rng(seed)
    by_view = [decoys(stock, DECOYS, rng) for stock in shown.stocks(rng)]
    usual = shown.read[-1][2][shown.rows.present]
    last = shown.channels.views[-1].space
    means = []
    for vectors in zip(*by_view, strict=True):
        n = len(vectors[0])
        label = last.nearest_class(last.whitened(vectors[-1])[0])
        nats = rng.choice(usual, n)
        found = shown.channels.rows_of([(v, np.ones(n, dtype=bool), nats) for v in vectors], None, label)
        means.append(found.phi.mean(axis=0))
    return np.array(means)


def near_of(codes: FloatArray) -> NDArray[np.bool_]:
    """(c, 2) whether each query that was compared is a near repeat, narrowly and widely."""
    compared = codes[codes > Code.EXACT]
    return np.stack([(compared == Code.NEAREST) | (compared == Code.NEAR), compared <= Code.CLOSE], axis=1)


def rare_of(strangeness: FloatArray) -> NDArray[np.bool_]:
    """(n, 2) whether each query is rarer than 1 in 100, and than 1 in 20."""
    nats = np.nan_to_num(strangeness)[:, None]
    return np.asarray(nats >= -np.log([0.01, 0.05]))
