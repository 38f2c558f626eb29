"""Hits: how often a client's distinct queries are training rows, or near them.

A hit is counted by the cell that its own hash falls into; a cell that the client has filled before is a repeat, and
counts neither as a hit nor as a query. When half of the cells are full they are forgotten, so a client can be looked at
for ever in bounded memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.rates import Counts, HonestRate, fit_rate
from detectors.privacy.hashes import N_QUERY_CELLS, N_RECORD_CELLS, QUERY_CELL, RECORD_CELL, TRAINING_HIT

EXACT: Final = slice(1, 1 + N_QUERY_CELLS)
NEAR: Final = slice(EXACT.stop, EXACT.stop + N_QUERY_CELLS)
RECORDS: Final = slice(NEAR.stop, NEAR.stop + N_RECORD_CELLS)
HITS: Final = slice(1, RECORDS.stop)
"""Columns of a row: 0 counts the events that were looked up."""
_MOST_BLOCKS: Final = 400


@dataclass(frozen=True, slots=True)
class Head:
    """One share: its name, what it says of queries, what is expected beforehand, and what an alarm needs beyond."""

    name: str
    title: str
    does: str
    nominal: float
    minimum_effect: float


HEADS: Final = (
    Head("members", "training rows", "are rows that the model was trained on", 0.002, 0.1),
    Head("near members", "near training rows", "lie close to such rows without being one", 0.005, 0.15),
)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Cells (2, N_QUERY_CELLS) that a client has filled, and what the last pane added: hits and trials (2, 2)."""

    cells: NDArray[np.bool_]
    counts: FloatArray

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None) -> Self:
        none = np.zeros((len(HEADS), 2))
        if not arrays:
            return cls(np.zeros((len(HEADS), N_QUERY_CELLS), dtype=bool), none)
        return cls(np.asarray(arrays["cells"]).astype(bool), none)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"cells": self.cells}

    def after(self, n_events: int, hits: IntArray | None) -> Seen:
        """The cells after a pane of ``n_events`` with these hits (columns ``HITS`` of its sums)."""
        if hits is None:
            return Seen(self.cells, np.array([[0.0, n_events]] * len(HEADS)))
        filled = np.stack([hits[s.start - 1 : s.stop - 1] for s in (EXACT, NEAR)])
        new = ((filled > 0) & ~self.cells).sum(axis=1)
        trials = n_events - filled.sum() + new.sum()
        cells = self.cells | (filled > 0)
        cells[cells.sum(axis=1) > N_QUERY_CELLS // 2] = False
        return Seen(cells, np.stack([new, np.full(len(HEADS), trials)], axis=1).astype(np.float64))


def plain_rows(batch: EventBatch) -> IntArray:
    """(n, 1 + hits) what each event adds."""
    out = np.zeros((len(batch), RECORDS.stop), dtype=np.int64)
    hit = batch.annotations.get(TRAINING_HIT)
    if hit is None:
        return out
    out[:, 0] = np.isfinite(hit)
    for code, columns in ((2.0, EXACT), (1.0, NEAR)):
        rows = np.flatnonzero(hit == code)
        out[rows, columns.start + batch.annotations[QUERY_CELL][rows].astype(np.int64)] = 1
        out[rows, RECORDS.start + batch.annotations[RECORD_CELL][rows].astype(np.int64)] = 1
    return out


def fit_heads(
    reference: EventBatch, client: IntArray, n_clients: int, pane_s: float
) -> tuple[Sequence[HonestRate], FloatArray]:
    """Honest rates of the heads, and (c, h, 2) hits and trials of each client, from annotated events by time."""
    span = float(reference.timestamp[-1] - reference.timestamp[0])
    block = np.floor((reference.timestamp - reference.timestamp[0]) / max(pane_s, span / _MOST_BLOCKS)).astype(np.int64)
    order = np.lexsort((client, block))
    code = block[order] * n_clients + client[order]
    first = np.flatnonzero(np.diff(code, prepend=-1))
    seen = [Seen.load(None) for _ in range(n_clients)]
    found = np.zeros((len(first), len(HEADS), 2))
    for i, rows in enumerate(np.split(order, first[1:])):
        row = plain_rows(reference.take(rows)).sum(axis=0)
        who = int(client[rows[0]])
        seen[who] = seen[who].after(int(row[0]), row[HITS] if row[HITS].any() else None)
        found[i] = seen[who].counts
    of_client, of_block = client[order[first]], block[order[first]]
    sums = np.zeros((n_clients, len(HEADS), 2))
    np.add.at(sums, of_client, found)
    rates = []
    for j, head in enumerate(HEADS):
        there = found[:, j, 1] > 0
        counts = Counts(of_block[there], of_client[there], found[there, j, 0], found[there, j, 1])
        rates.append(fit_rate(counts, n_clients, head.nominal))
    return rates, sums
