"""Names: the category of its own that a client sends, such as a new airline, region or version of an app.

A value that the reference never showed is strange, but a client that sends it again and again is new, not strange: its
name says who it is, and is read as no surprise. Who mixes made-up queries into ordinary ones, or makes values up, sends
others in between, and those stay as strange as they are.
Soft state, as the rings are: after a restart clients show anew who they are.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from detectors.batch import EventBatch
from detectors.clients.vectors import OWN_NAMES, Levels, VectorMap
from detectors.schema import categorical_column

MOST_COLUMNS = 50
"""Columns in which a client may have a name; a float64 holds as many marks."""
IN_A_ROW = 3
"""An unheard-of value is a name from this time on that the client sends it without another value in between."""


@dataclass(slots=True)
class _Run:
    """The hash of an unheard-of value that a client sent last, and how often in a row."""

    value: int
    length: int


class OwnNames:
    """What the ``max_clients`` clients with unheard-of values in their last query sent: two numbers a column."""

    def __init__(self, source: VectorMap, max_clients: int) -> None:
        self._columns: tuple[Levels, ...] = source.categorical[:MOST_COLUMNS]
        self._max_clients = max_clients
        self._runs: OrderedDict[str, dict[int, _Run]] = OrderedDict()

    def annotate(self, batch: EventBatch) -> EventBatch:
        """The batch with ``own_names`` where there are categories and clients; a missing value says nothing.

        Cost: a look-up a category.
        """
        if batch.client_id is None or not self._columns:
            return batch
        clients, marks = batch.client_id.tolist(), np.zeros(len(batch))
        for k, levels in enumerate(self._columns):
            known = levels.surprise
            for i, value in enumerate(categorical_column(batch, levels.name).tolist()):
                if value is None or not clients[i]:
                    continue
                if value in known:
                    if self._runs:
                        self._end(clients[i], k)
                elif self._again(clients[i], k, hash(value)) >= IN_A_ROW:
                    marks[i] += 2.0**k
        return batch.annotate(**{OWN_NAMES: marks})

    def _again(self, client: str, column: int, value: int) -> int:
        """How often in a row, this time included, the client has sent an unheard-of value."""
        runs = self._runs.setdefault(client, {})
        self._runs.move_to_end(client)
        while len(self._runs) > self._max_clients:
            self._runs.popitem(last=False)
        run = runs.get(column)
        if run is None or run.value != value:
            run = runs[column] = _Run(value, 0)
        run.length += 1
        return run.length

    def _end(self, client: str, column: int) -> None:
        runs = self._runs.get(client)
        if runs is not None and runs.pop(column, None) is not None and not runs:
            del self._runs[client]
