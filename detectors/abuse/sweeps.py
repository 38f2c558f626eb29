"""Sweeps: consecutive queries of one client that differ in exactly one feature, as somebody sends who feels for what
each feature does.

This needs the order of a client's queries, so it is soft state: the last query of each of the most recently active
clients, four bytes a column. After a restart the first query of each client is not compared. Nothing but counts of
what is found enters a sketch.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.abuse.faults import cell_of
from detectors.batch import EventBatch, FloatArray
from detectors.clients.rings import clients_of
from detectors.schema import Schema, raw_column

CHANGED = "changed_features"
"""Annotation: how many features differ from the client's query before; NaN where nothing can be said."""
CHANGED_CELL = "changed_cell"
"""Annotation: which sixteenth of the features (by hash of the name) the only one that differs is in, else NaN."""
N_CELLS: Final = 16
MAX_COLUMNS: Final = 256
FEWEST_COLUMNS: Final = 3
Codes = NDArray[np.uint32]


def swept_columns(schema: Schema) -> tuple[str, ...]:
    """The features that are compared."""
    return tuple(column.name for column in schema.columns if column.name not in schema.left_out)[:MAX_COLUMNS]


class LastQueries:
    """The last query of the ``max_clients`` most recently active clients."""

    def __init__(self, columns: tuple[str, ...], max_clients: int = 10_000) -> None:
        self._columns = columns
        self._cells = np.array([cell_of(name, N_CELLS) for name in columns], dtype=np.float64)
        self._max_clients = max_clients
        self._last: OrderedDict[str, Codes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def annotate(self, batch: EventBatch) -> EventBatch:
        """The batch with ``changed_features`` and ``changed_cell``; cost linear in rows and columns."""
        changed, cell = np.full(len(batch), np.nan), np.full(len(batch), np.nan)
        if batch.client_id is not None and len(batch) and len(self._columns) >= FEWEST_COLUMNS:
            codes = value_codes(batch, self._columns)
            for client, index in clients_of(batch.client_id):
                self._visit(client, codes[index], index, changed, cell)
        return batch.annotate(**{CHANGED: changed, CHANGED_CELL: cell})

    def _visit(self, client: str, own: Codes, index: NDArray[np.int64], changed: FloatArray, cell: FloatArray) -> None:
        before = self._last.get(client)
        rows = own if before is None else np.concatenate([before[None], own])
        differs = rows[1:] != rows[:-1]
        later = index[len(own) - len(differs) :]
        n = differs.sum(axis=1)
        changed[later] = n
        single = n == 1
        cell[later[single]] = self._cells[differs[single].argmax(axis=1)]
        self._last[client] = own[-1].copy()
        self._last.move_to_end(client)
        while len(self._last) > self._max_clients:
            self._last.popitem(last=False)


def value_codes(batch: EventBatch, columns: tuple[str, ...]) -> Codes:
    """(n, p) 32-bit codes of values: equal values have equal codes, others nearly never; 0 where a column lacks."""
    out = np.zeros((len(batch), len(columns)), dtype=np.uint32)
    for j, name in enumerate(columns):
        values = raw_column(batch, name)
        if values is None:
            continue
        if values.dtype != object:
            bits = np.ascontiguousarray(values + 0.0, dtype=np.float64).view(np.uint64)
            out[:, j] = np.where(np.isnan(values), np.uint64(0), bits ^ (bits >> np.uint64(32))).astype(np.uint32)
        else:
            known = {value: _code(value) for value in set(values.tolist())}
            out[:, j] = [known[value] for value in values.tolist()]
    return out


def _code(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return zlib.crc32(value.encode("utf-8", "surrogatepass"))
    bits = int(np.array([float(value)], dtype=np.float64).view(np.uint64)[0])  # type: ignore[arg-type]
    return (bits ^ (bits >> 32)) & 0xFFFFFFFF
