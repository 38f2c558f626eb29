"""From an event batch to the values of the watched columns: features, outputs, and joint directions.

Joint directions are the leading principal components of the standardised numeric features and of the embedding. A
shift that is spread thinly over many columns (a darker camera, a new embedding model) is one large shift along a few
of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, ObjectArray
from detectors.schema import Role, Schema, categorical_column, category, numeric_matrix

PREDICTION = "prediction"
MAX_PROBABILITY = "max probability"
ENTROPY = "entropy"
_MAX_DIRECTIONS = 6
_MIN_WIDTH = 4
_CLIP = 10.0

Values = dict[str, FloatArray | ObjectArray]


@dataclass(frozen=True, slots=True)
class Projection:
    """Fixed directions: ``clip((x - mean) / scale) @ directions``, missing values at the mean.

    ``mean``, ``scale``: (p,); ``directions``: (p, k).
    """

    mean: FloatArray
    scale: FloatArray
    directions: FloatArray

    def apply(self, rows: FloatArray) -> FloatArray:
        """(n, k) coordinates; a row without a single finite value, or of another width, is NaN."""
        if rows.shape[1] != len(self.mean):
            return np.full((len(rows), self.directions.shape[1]), np.nan)
        finite = np.isfinite(rows)
        standard = np.where(finite, (rows - self.mean) / self.scale, 0.0)
        coordinates = np.clip(standard, -_CLIP, _CLIP) @ self.directions
        coordinates[~finite.any(axis=1)] = np.nan
        return np.asarray(coordinates)

    @classmethod
    def fit(cls, rows: FloatArray) -> Self | None:
        """The leading directions of ``rows`` (n, p); None when there are too few rows or columns to say."""
        clean = np.where(np.isfinite(rows), rows, np.nan)
        clean = clean[np.isfinite(clean).any(axis=1)]
        if len(clean) < 50 or clean.shape[1] < _MIN_WIDTH:
            return None
        seen = np.isfinite(clean).sum(axis=0)
        filled = np.nan_to_num(clean)
        mean = filled.sum(axis=0) / np.maximum(seen, 1)
        centred = np.where(np.isfinite(clean), clean - mean, 0.0)
        scale = np.sqrt((centred**2).sum(axis=0) / np.maximum(seen, 1))
        typical = np.median(scale[scale > 0]) if np.any(scale > 0) else 1.0
        scale = np.maximum(scale, 0.05 * typical)
        standard = np.clip(centred / scale, -_CLIP, _CLIP)
        _, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
        leading = vectors[:, ::-1][:, :_MAX_DIRECTIONS]
        sign = np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])])
        return cls(mean, scale, leading * sign)

    def to_arrays(self, name: str) -> dict[str, NDArray[np.generic]]:
        return {
            f"{name}.mean": self.mean,
            f"{name}.scale": self.scale,
            f"{name}.directions": self.directions,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], name: str) -> Self | None:
        if f"{name}.mean" not in arrays:
            return None
        mean, scale, directions = (
            np.asarray(arrays[f"{name}.{item}"], dtype=np.float64) for item in ("mean", "scale", "directions")
        )
        return cls(mean, scale, directions)


def answered(batch: EventBatch) -> NDArray[np.bool_]:
    """(n,) whether an event logs an input or an output at all; a label that comes alone, later, does not."""
    seen = np.zeros(len(batch), dtype=np.bool_)
    for rows in (batch.numeric, batch.embedding, batch.logits, batch.probabilities):
        if rows is not None and rows.size:
            seen |= ~np.isnan(rows).all(axis=1)
    for values in (*batch.mixed.values(), *([] if batch.prediction is None else [batch.prediction])):
        seen |= np.array([value is not None for value in values], dtype=np.bool_)
    return seen


def feature_values(batch: EventBatch, schema: Schema) -> Values:
    """Name → values of every feature that is not an identifier."""
    names = schema.names(Role.NUMERIC)
    matrix = numeric_matrix(batch, names)
    values: Values = {name: matrix[:, i] for i, name in enumerate(names)}
    values.update({name: categorical_column(batch, name) for name in schema.names(Role.CATEGORICAL)})
    return values


def output_values(batch: EventBatch) -> Values:
    """Prediction (as numbers when all of them are), largest class probability and entropy in nats."""
    values: Values = {}
    if batch.prediction is not None:
        values[PREDICTION] = batch.prediction
    probabilities = class_probabilities(batch)
    if probabilities is not None:
        clipped = np.clip(probabilities, 1e-12, 1.0)
        values[MAX_PROBABILITY] = probabilities.max(axis=1)
        values[ENTROPY] = -np.sum(clipped * np.log(clipped), axis=1)
    return values


def class_probabilities(batch: EventBatch) -> FloatArray | None:
    """(n, k) logged probabilities, else the softmax of logged logits; NaN rows where absent or not finite."""
    if batch.probabilities is not None and batch.probabilities.shape[1] > 1:
        return np.where(np.isfinite(batch.probabilities), batch.probabilities, np.nan)
    if batch.logits is not None and batch.logits.shape[1] > 1:
        logits = np.where(np.isfinite(batch.logits), batch.logits, np.nan)
        with np.errstate(invalid="ignore"):
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
    return None


def prediction_numbers(prediction: ObjectArray) -> FloatArray:
    """(n,) predictions as numbers: NaN where missing, +inf where not a number."""
    return np.array([np.nan if v is None else float(v) if isinstance(v, int | float) else np.inf for v in prediction])


def prediction_categories(prediction: ObjectArray) -> ObjectArray:
    """(n,) predictions as text, None where missing."""
    out = np.empty(len(prediction), dtype=object)
    out[:] = [category(value) for value in prediction]
    return out


def joint_values(batch: EventBatch, schema: Schema, projections: Mapping[str, Projection]) -> Values:
    """Coordinates along the joint directions: ``features direction 1``, ``embedding direction 1``, …"""
    values: Values = {}
    for source, projection in projections.items():
        coordinates = projection.apply(joint_rows(batch, schema, source))
        for k in range(coordinates.shape[1]):
            values[direction_name(source, k)] = coordinates[:, k]
    return values


def joint_rows(batch: EventBatch, schema: Schema, source: str) -> FloatArray:
    """(n, p) rows that a projection of ``source`` (``features`` or ``embedding``) is taken of."""
    if source == "features":
        return numeric_matrix(batch, schema.names(Role.NUMERIC))
    return batch.embedding if batch.embedding is not None else np.full((len(batch), 0), np.nan)


def direction_name(source: str, index: int) -> str:
    return f"{source} direction {index + 1}"


def joint_sources() -> Sequence[str]:
    return ("features", "embedding")
