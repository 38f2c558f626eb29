"""Names: the category of its own that a client sends, such as a new airline, region or version of an app.

A value that the reference never showed is strange, but a client that always sends the same one is new, not strange: its
name says who it is. So the first such value of each client and column is taken for its own name and read as no
surprise; any other one stays as strange as it was, and a thief that sends made-up values sends many. Soft state, as the
rings are: after a restart the next unheard-of value is the name.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from detectors.batch import EventBatch
from detectors.clients.vectors import OWN_NAMES, VectorMap
from detectors.schema import categorical_column

MOST_COLUMNS = 50
"""Columns in which a client may have a name; a float64 holds as many marks."""


class OwnNames:
    """The own names of the ``max_clients`` clients that sent an unheard-of value last: a number a client and column."""

    def __init__(self, source: VectorMap, max_clients: int) -> None:
        self._columns = source.categorical[:MOST_COLUMNS]
        self._max_clients = max_clients
        self._names: OrderedDict[str, dict[int, int]] = OrderedDict()

    def annotate(self, batch: EventBatch) -> EventBatch:
        """The batch with ``own_names`` where there are categories and clients; one look-up a value."""
        if batch.client_id is None or not self._columns:
            return batch
        clients, marks = batch.client_id.tolist(), np.zeros(len(batch))
        for k, levels in enumerate(self._columns):
            values = categorical_column(batch, levels.name).tolist()
            for i, value in enumerate(values):
                if value is not None and value not in levels.surprise and clients[i] and self._is(clients[i], k, value):
                    marks[i] += 2.0**k
        return batch.annotate(**{OWN_NAMES: marks})

    def _is(self, client: str, column: int, value: str) -> bool:
        """Whether it is the client's name in that column, as its first unheard-of value becomes."""
        names = self._names.setdefault(client, {})
        self._names.move_to_end(client)
        while len(self._names) > self._max_clients:
            self._names.popitem(last=False)
        return names.setdefault(column, hash(value)) == hash(value)
