"""Labels: the class that the model predicted for a query, as a position among the common classes."""

from __future__ import annotations

import numpy as np

from detectors.batch import EventBatch, IntArray, ObjectArray, class_names
from detectors.schema import category

MAX_CLASSES = 40


def predicted(batch: EventBatch) -> ObjectArray:
    """(n,) predicted class as text, from the prediction or the largest score; None where neither was logged."""
    out = np.empty(len(batch), dtype=object)
    scores = batch.probabilities if batch.probabilities is not None else batch.logits
    if scores is not None and scores.shape[1] > 1:
        names = np.array(class_names(batch, scores.shape[1]), dtype=object)
        seen = ~np.isnan(scores).all(axis=1)
        out[seen] = names[np.nanargmax(scores[seen], axis=1)] if seen.any() else None
    if batch.prediction is not None:
        told = [category(value) for value in batch.prediction]
        out[:] = [b if a is None else a for a, b in zip(told, out, strict=True)]
    return out


def positions(names: ObjectArray, labels: tuple[str, ...]) -> IntArray:
    """(n,) position of each name in ``labels``, ``len(labels)`` for any other."""
    known = {name: i for i, name in enumerate(labels)}
    return np.array([known.get(name, len(labels)) for name in names], dtype=np.int64)


def common_labels(batch: EventBatch, min_rows: int) -> tuple[str, ...]:
    """Predicted classes with at least ``min_rows`` events, commonest first; () for a regression."""
    names, counts = np.unique([n if n is not None else "" for n in predicted(batch)], return_counts=True)
    if len(names) > 0.2 * len(batch):
        return ()
    order = np.argsort(-counts, kind="stable")[:MAX_CLASSES]
    return tuple(str(names[i]) for i in order if counts[i] >= min_rows and names[i] != "")
