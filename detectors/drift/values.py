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

from detectors.batch import EventBatch, FloatArray, ObjectArray, class_names
from detectors.dates import AGE, WEEKDAY, read_dates
from detectors.drift.columns import Group, Key, Values
from detectors.drift.texts import CHARACTERS, NON_LETTERS, UNKNOWN, WORDS, Texts
from detectors.schema import Role, Schema, categorical_column, numeric_matrix, raw_column

PREDICTION = "prediction"
MAX_PROBABILITY = "max probability"
ENTROPY = "entropy"
MARGIN = "margin"
PROBABILITY_OF = "probability of "
MAX_CLASSES = 20
_NOTHING = np.array(None, dtype=object)
_MAX_DIRECTIONS = 6
_MIN_WIDTH = 4
_CLIP = 10.0
_GRID = 65_536.0
"""Coordinates are rounded to a grid, so that the last bits, which depend on the number of rows, decide no bin."""
_MOST_INFLATION = 0.02


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
        coordinates = np.rint(np.clip(standard, -_CLIP, _CLIP) @ self.directions * _GRID) / _GRID
        coordinates[~finite.any(axis=1)] = np.nan
        return np.asarray(coordinates)

    @classmethod
    def fit(cls, rows: FloatArray) -> Self | None:
        """The directions in which ``rows`` (n, p) clearly vary together; None when there is none, or too little to say.

        Only eigenvalues of the correlation matrix above the edge of what independent columns would show
        (Marchenko and Pastur, 1967) count, and by so much that they look no larger in the rows that they were learned
        from than in later ones: the inflation is ``(p / n) / (eigenvalue - 1)``.
        """
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
        eigenvalues, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
        ratio = standard.shape[1] / len(standard)
        clear = eigenvalues[::-1] >= max((1.0 + np.sqrt(ratio)) ** 2, 1.0 + ratio / _MOST_INFLATION)
        leading = vectors[:, ::-1][:, clear][:, :_MAX_DIRECTIONS]
        if leading.shape[1] == 0:
            return None
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
            seen |= ~np.isnan(rows[:, 0])
            if not seen.all():
                seen[~seen] = ~np.isnan(rows[~seen]).all(axis=1)
    for values in (*batch.mixed.values(), *([] if batch.prediction is None else [batch.prediction])):
        if not seen.all():
            seen |= np.not_equal(values, _NOTHING).astype(np.bool_)
    return seen


def feature_values(batch: EventBatch, schema: Schema) -> Values:
    """Every number, boolean and category, and the age and weekday of every date; free text is read apart."""
    names = schema.names(Role.NUMERIC)
    matrix = numeric_matrix(batch, names)
    values: Values = {(Group.FEATURE, name): matrix[:, i] for i, name in enumerate(names)}
    values.update({(Group.FEATURE, name): categorical_column(batch, name) for name in schema.categories})
    for name in schema.names(Role.DATE):
        raw = raw_column(batch, name)
        dates = read_dates(np.full(len(batch), np.nan) if raw is None else raw)
        values[Group.FEATURE, name + AGE] = dates.age_days(batch.timestamp)
        values[Group.FEATURE, name + WEEKDAY] = dates.weekdays()
    return values


def raw_texts(batch: EventBatch, key: Key) -> ObjectArray:
    """(n,) values of a text feature, or of the prediction; None where missing."""
    group, name = key
    raw = batch.prediction if group is Group.OUTPUT else raw_column(batch, name)
    if raw is None:
        return np.full(len(batch), None, dtype=object)
    if raw.dtype == object:
        return np.asarray(raw, dtype=object)
    objects = raw.astype(object)
    objects[np.isnan(raw)] = None
    return objects


def text_values(key: Key, texts: Texts, unknown_share: FloatArray) -> Values:
    """What is watched of a text: characters, words, share of non-letters, share of words out of the vocabulary."""
    group, name = key
    return {
        (group, name + CHARACTERS): texts.characters,
        (group, name + WORDS): texts.words,
        (group, name + NON_LETTERS): texts.non_letters,
        (group, name + UNKNOWN): unknown_share,
    }


def output_values(batch: EventBatch, classes: Sequence[str]) -> Values:
    """Largest probability, margin over the next, entropy in nats, and the probability of each of ``classes``.

    The first three are of the classes that the event itself logs: of the top few where no more are logged.
    """
    probabilities = class_probabilities(batch)
    if probabilities is None:
        return {}
    logged = np.isfinite(probabilities)
    ranked = np.partition(np.where(logged, probabilities, -np.inf), -2, axis=1)[:, -2:]
    clipped = np.where(logged, np.clip(probabilities, 1e-12, 1.0), 1.0)
    entropy = -np.cumsum(clipped * np.log(clipped), axis=1)[:, -1]
    n_logged = logged.sum(axis=1)
    values: Values = {
        (Group.OUTPUT, MAX_PROBABILITY): np.where(n_logged >= 1, ranked[:, 1], np.nan),
        (Group.OUTPUT, ENTROPY): np.where(n_logged >= 1, entropy, np.nan),
    }
    if probabilities.shape[1] > 2:
        with np.errstate(invalid="ignore"):
            values[Group.OUTPUT, MARGIN] = np.where(n_logged >= 2, ranked[:, 1] - ranked[:, 0], np.nan)
    position = {name: i for i, name in enumerate(class_names(batch, probabilities.shape[1]))}
    for name in classes:
        if name in position:
            values[Group.OUTPUT, PROBABILITY_OF + name] = probabilities[:, position[name]]
    return values


def watched_classes(batch: EventBatch) -> tuple[str, ...]:
    """The at most 20 classes of most probability, in the order of the log; of two classes the second says it all."""
    probabilities = class_probabilities(batch)
    if probabilities is None or np.isnan(probabilities).all():
        return ()
    names = class_names(batch, probabilities.shape[1])
    if len(names) == 2:
        return (names[1],)
    heaviest = np.argsort(-np.nansum(probabilities, axis=0), kind="stable")[:MAX_CLASSES]
    return tuple(names[i] for i in sorted(heaviest))


def class_probabilities(batch: EventBatch) -> FloatArray | None:
    """(n, k) logged probabilities, else the softmax of logged logits; NaN rows where absent or not finite."""
    if batch.probabilities is not None and batch.probabilities.shape[1] > 1:
        return np.where(np.isinf(batch.probabilities).any(axis=1, keepdims=True), np.nan, batch.probabilities)
    if batch.logits is not None and batch.logits.shape[1] > 1:
        logits = np.where(np.isfinite(batch.logits), batch.logits, np.nan)
        with np.errstate(invalid="ignore"):
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
    return None


def joint_values(batch: EventBatch, schema: Schema, projections: Mapping[str, Projection]) -> Values:
    """Coordinates along the joint directions: ``features direction 1``, ``embedding direction 1``, …"""
    values: Values = {}
    for source, projection in projections.items():
        coordinates = projection.apply(joint_rows(batch, schema, source))
        for k in range(coordinates.shape[1]):
            values[Group.JOINT, direction_name(source, k)] = coordinates[:, k]
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
