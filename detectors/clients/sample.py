"""Sample: which rows of a reference the detectors of attacks learn from."""

from __future__ import annotations

import numpy as np

from detectors.batch import EventBatch, IntArray
from detectors.clients.rings import clients_of

MAX_ROWS = 40_000
MAX_NUMBERS = 20_000_000
MAX_ROWS_OF_CLIENT = 1_000
MIN_ROWS = 200
"""Rows with a client id that a reference has to hold."""
FEW_CLIENTS = 4
"""Fewer clients than these are taken evenly over time."""


def chosen(reference: EventBatch, wide: int) -> IntArray:
    """Positions of the rows to learn from, in order: the first of every client, so that no client rules."""
    assert reference.client_id is not None
    groups = clients_of(reference.client_id)
    limit = min(MAX_ROWS, max(4_000, MAX_NUMBERS // max(1, wide)))
    sizes = np.sort([len(index) for _, index in groups])
    cap = MAX_ROWS_OF_CLIENT
    while cap > 25 and np.minimum(sizes, cap).sum() > limit:
        cap = int(cap * 0.8)
    kept = np.concatenate([index[:cap] for _, index in groups])
    if len(groups) < FEW_CLIENTS:
        kept = np.concatenate([index[:: max(1, len(index) // limit)] for _, index in groups])
    return np.sort(kept)[:limit]
