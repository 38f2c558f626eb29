"""Inputs: what of a batch can be scored, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.batch import EventBatch, FloatArray, ObjectArray, class_names
from detectors.ood.encoding import Columns, Vocabulary
from detectors.schema import category

OWN = "own score: "
"""How the annotation of a user's own score is named: this, then the score's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Features, vectors, own scores and predicted classes of n events; a vector that no event logged is None.

    Attributes:
        classes: (n,) str, ``""`` where the model's answer is not known.
        own: name → (n,) score of the user's own, NaN where it could not be computed.
    """

    features: Columns
    embedding: FloatArray | None
    logits: FloatArray | None
    probabilities: FloatArray | None
    classes: ObjectArray
    own: Mapping[str, FloatArray]

    @classmethod
    def read(cls, batch: EventBatch, vocabulary: Vocabulary) -> Inputs:
        return cls(
            vocabulary.read(batch),
            batch.embedding,
            batch.logits,
            batch.probabilities,
            predicted_classes(batch),
            own_scores(batch),
        )

    @classmethod
    def read_reference(cls, batch: EventBatch, vocabulary: Vocabulary) -> Inputs:
        """The same of the batch that the vocabulary was learned from; texts as if theirs had been left out."""
        columns = vocabulary.read_reference(batch)
        vectors = (batch.embedding, batch.logits, batch.probabilities)
        return cls(columns, *vectors, predicted_classes(batch), own_scores(batch))

    def __len__(self) -> int:
        return len(self.features)

    def take(self, index: Any) -> Inputs:
        embedding, logits, probabilities = (
            None if v is None else v[index] for v in (self.embedding, self.logits, self.probabilities)
        )
        own = {name: values[index] for name, values in self.own.items()}
        return Inputs(self.features.take(index), embedding, logits, probabilities, self.classes[index], own)


def own_scores(batch: EventBatch) -> dict[str, FloatArray]:
    """Name → (n,) of the scores that were added to the batch, non-finite ones as NaN."""
    found = {name.removeprefix(OWN): v for name, v in batch.annotations.items() if name.startswith(OWN)}
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in sorted(found.items())}


def predicted_classes(batch: EventBatch) -> ObjectArray:
    """(n,) the class that the model gave each event, row by row; ``""`` where neither answer nor outputs are logged."""
    out = np.full(len(batch), "", dtype=object)
    for scores in (batch.logits, batch.probabilities):
        if scores is not None and scores.shape[1] > 1:
            known = ~np.isnan(scores).all(axis=1)
            top = np.where(np.isnan(scores[known]), -np.inf, scores[known]).argmax(axis=1)
            out[known] = np.array(class_names(batch, scores.shape[1]), dtype=object)[top]
    if batch.prediction is not None:
        told = [category(value) for value in batch.prediction]
        out[:] = [seen if said is None else said for seen, said in zip(out, told, strict=True)]
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
