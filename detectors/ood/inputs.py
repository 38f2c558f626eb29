"""Inputs: what of a batch can be scored, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.batch import EventBatch, FloatArray, ObjectArray
from detectors.ood.encoding import Columns, Vocabulary
from detectors.schema import category


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Features, vectors and predicted classes of n events; a vector that no event logged is None."""

    features: Columns
    embedding: FloatArray | None
    logits: FloatArray | None
    probabilities: FloatArray | None
    classes: ObjectArray | None

    @classmethod
    def read(cls, batch: EventBatch, vocabulary: Vocabulary) -> Inputs:
        return cls(vocabulary.read(batch), batch.embedding, batch.logits, batch.probabilities, batch.prediction)

    def __len__(self) -> int:
        return len(self.features)

    def take(self, index: Any) -> Inputs:
        return Inputs(
            self.features.take(index),
            *(None if v is None else v[index] for v in (self.embedding, self.logits, self.probabilities, self.classes)),
        )


def predicted_classes(inputs: Inputs) -> ObjectArray | None:
    """(n,) class that the model gave, or None where predictions were not logged or are numbers of a regression."""
    for scores in (inputs.logits, inputs.probabilities):
        if scores is not None and not np.any(np.isnan(scores)) and scores.shape[1] > 1:
            return np.asarray(scores.argmax(axis=1).astype(str).astype(object))
    if inputs.classes is None:
        return None
    out = np.empty(len(inputs), dtype=object)
    out[:] = [category(value) for value in inputs.classes]
    return out


def usual_width(vectors: FloatArray) -> int:
    """The most frequent number of logged entries of a row; 0 where none was logged."""
    lengths = (~np.isnan(vectors)).sum(axis=1)
    lengths = lengths[lengths > 0]
    return int(np.bincount(lengths).argmax()) if lengths.size else 0


def of_width(vectors: FloatArray | None, width: int, n: int) -> tuple[FloatArray, np.ndarray]:
    """(n, width) vectors and (n,) bool telling which rows logged exactly that many entries; others are zero."""
    if vectors is None or vectors.shape[1] < width:
        return np.zeros((n, width)), np.zeros(n, dtype=bool)
    logged = ~np.isnan(vectors)
    good = np.asarray(logged[:, :width].all(axis=1) & ~logged[:, width:].any(axis=1))
    return np.where(good[:, None], vectors[:, :width], 0.0), good
