"""Imagined: what a reference does not show, as channel rows: honest clients behind a new device, honest clients of a
narrower kind, and made-up queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray
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


def changed(
    batch: EventBatch, read: Sequence[Sight], rows: Rows, codes: FloatArray, channels: Channels, seed: int
) -> list[Honest]:
    """The reference's clients as a device that nobody has yet would show them; what the model answered stays."""
    assert batch.client_id is not None
    rng = np.random.default_rng(seed)
    new, hardness = fresh(rows, codes), margin(batch)
    able = [(client, index[new[index]][:MOST_CHANGED]) for client, index in clients_of(batch.client_id)]
    able = [(client, index) for client, index in able if len(index) >= MIN_QUERIES][:CHANGED_CLIENTS]
    some = np.arange(0, len(batch), max(1, len(batch) // GEOMETRY_ROWS))
    stocks = [
        Stock.of(view.map, vectors[some], rows.label[some], rng)
        for view, (vectors, _, _) in zip(channels.views, read, strict=True)
    ]
    out = []
    for client, index in able:
        moved = [
            (_through(stock, vectors[index], rng), seen[index], nats[index])
            for stock, (vectors, seen, nats) in zip(stocks, read, strict=True)
        ]
        hard = None if hardness is None else hardness[index]
        found = channels.rows_of(moved, hard, rows.label[index])
        out.append(Honest(client, found.phi, rare_of(found.strangeness), np.empty((0, 2), dtype=bool)))
    return out


def narrow(batch: EventBatch, read: Sequence[Sight], rows: Rows, code: RingCode, seed: int) -> list[Honest]:
    """Clients that ask about little: of everybody's queries those nearest to one of them in half of its columns."""
    rng = np.random.default_rng(seed)
    vectors, seen, _ = read[-1]
    able = np.flatnonzero(seen)[:: max(1, int(seen.sum()) // GEOMETRY_ROWS)]
    rings = ClientRings(code)
    out = []
    for i in range(NARROW_CLIENTS):
        client = f"narrow {i}"
        half = rng.random(vectors.shape[1]) < 0.5
        gap = np.sum((vectors[np.ix_(able, half)] - vectors[rng.choice(able), half]) ** 2, axis=1)
        n = min(int(rng.integers(MIN_QUERIES, MOST_CHANGED + 1)), len(able))
        index = rng.permutation(able[np.argsort(gap, kind="stable")[:n]])
        asked = batch.take(index)
        codes = rings.annotate(replace(asked, client_id=np.full(n, client, dtype=object))).annotations[NEAREST_RECENT]
        new = index[fresh(rows.take(index), codes)]
        out.append(Honest(client, rows.phi[new], rare_of(rows.strangeness[new]), near_of(codes)))
    return out


def _through(stock: Stock, vectors: FloatArray, rng: np.random.Generator) -> FloatArray:
    """All these vectors as one made-up device would send them."""
    return stock.squashed(disguised(stock, stock.loosened(vectors), rng, len(vectors)))


def made_up(read: Sequence[Sight], rows: Rows, channels: Channels, seed: int) -> FloatArray:
    """(sorts, d) mean channel row of each sort of made-up query; its class is that of the nearest mean."""
    rng = np.random.default_rng(seed)
    some = np.flatnonzero(rows.present)[:: max(1, int(rows.present.sum()) // GEOMETRY_ROWS)]
    by_view = [
        decoys(Stock.of(view.map, vectors[some], rows.label[some], rng), DECOYS, rng)
        for view, (vectors, _, _) in zip(channels.views, read, strict=True)
    ]
    usual = read[-1][2][some]
    means = []
    for vectors in zip(*by_view, strict=True):
        n = len(vectors[0])
        label = channels.views[-1].space.nearest_class(channels.views[-1].space.whitened(vectors[-1])[0])
        nats = rng.choice(usual, n)
        found = channels.rows_of([(v, np.ones(n, dtype=bool), nats) for v in vectors], None, label)
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
