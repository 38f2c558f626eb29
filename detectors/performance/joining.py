"""Joining in memory: labels that come alone, later, moved to the events they are about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch


def label_alone(batch: EventBatch) -> NDArray[np.bool_]:
    """(n,) whether an event is nothing but a label for an event told elsewhere."""
    if batch.label is None:
        return np.zeros(len(batch), dtype=np.bool_)
    alone = np.array([label is not None for label in batch.label], dtype=np.bool_)
    for rows in (batch.numeric, batch.embedding, batch.logits, batch.probabilities):
        if rows is not None and rows.size:
            alone &= np.isnan(rows).all(axis=1)
    for values in (*batch.mixed.values(), *([] if batch.prediction is None else [batch.prediction])):
        alone &= np.array([value is None for value in values], dtype=np.bool_)
    return alone


def late_labels(batches: Iterable[EventBatch]) -> dict[str, object]:
    """Event id → label, of all labels that came alone; the first one counts."""
    found: dict[str, object] = {}
    for batch in batches:
        if batch.label is not None:
            for i in np.flatnonzero(label_alone(batch)):
                found.setdefault(batch.event_id[i], batch.label[i])
    return found


def with_late_labels(batches: Sequence[EventBatch]) -> Sequence[EventBatch]:
    """The same events, with each late label also on the first event of its id that has none of its own."""
    late = late_labels(batches)
    if not late:
        return batches
    joined = []
    for batch in batches:
        label = np.full(len(batch), None, dtype=object) if batch.label is None else batch.label.copy()
        for i, identity in enumerate(batch.event_id):
            if label[i] is None and identity in late:
                label[i] = late.pop(identity)
        joined.append(replace(batch, label=label))
    return joined
