"""Imagined: what a reference does not show, honest clients behind a new device and made-up queries, as channel rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray
from detectors.clients.decoys import Stock, decoys, disguised
from detectors.clients.rings import clients_of
from detectors.extraction.baseline import MIN_QUERIES, Honest
from detectors.extraction.channels import Channels, Rows, Sight, margin
from detectors.extraction.layout import fresh

CHANGED_CLIENTS = 150
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


def rare_of(strangeness: FloatArray) -> NDArray[np.bool_]:
    """(n, 2) whether each query is rarer than 1 in 100, and than 1 in 20."""
    nats = np.nan_to_num(strangeness)[:, None]
    return np.asarray(nats >= -np.log([0.01, 0.05]))
