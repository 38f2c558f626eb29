"""The watch: which columns of a model are counted, and how its events become bins. The map side of drift detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Arrays
from detectors.batch import EventBatch, FloatArray, IntArray, ObjectArray
from detectors.drift.columns import (
    HEAVY,
    CategoryBins,
    Group,
    NumericBins,
    Role,
    WatchedColumn,
    code_matrix,
)
from detectors.drift.values import (
    PREDICTION,
    Projection,
    Values,
    feature_values,
    joint_rows,
    joint_sources,
    joint_values,
    output_values,
    prediction_categories,
    prediction_numbers,
)
from detectors.schema import Schema


@dataclass(frozen=True)
class Watch:
    """The watched columns of one model: features, outputs and joint directions, each with its bins."""

    schema: Schema
    columns: tuple[WatchedColumn, ...]
    projections: Mapping[str, Projection]

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema) -> Self:
        """Columns and bins of ordinary events; without columns where nothing is logged that could drift."""
        projections = {}
        for source in joint_sources():
            projection = Projection.fit(joint_rows(reference, schema, source))
            if projection is not None:
                projections[source] = projection
        features, outputs = feature_values(reference, schema), output_values(reference)
        joint = joint_values(reference, schema, projections)
        groups = dict.fromkeys(features, Group.FEATURE)
        groups.update(dict.fromkeys(outputs, Group.OUTPUT))
        groups.update(dict.fromkeys(joint, Group.JOINT))
        values = {**outputs, **features, **joint}
        return cls(schema, tuple(_fit_column(name, group, values) for name, group in groups.items()), projections)

    def codes(self, batch: EventBatch) -> IntArray:
        """(n, columns) bin of every value."""
        values = {**output_values(batch), **feature_values(batch, self.schema)}
        values.update(joint_values(batch, self.schema, self.projections))
        for column in self.columns:
            if column.name not in values:
                values[column.name] = _absent(len(batch), column)
        return code_matrix(self.columns, _ready(self.columns, values))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        arrays: dict[str, NDArray[np.generic]] = {}
        for source, projection in self.projections.items():
            arrays.update(projection.to_arrays(source))
        return arrays

    def to_facts(self) -> list[dict[str, Any]]:
        return [column.to_json() for column in self.columns]

    @classmethod
    def load(cls, arrays: Arrays, facts: Sequence[Mapping[str, Any]], schema: Schema) -> Self:
        found = {source: Projection.from_arrays(arrays, source) for source in joint_sources()}
        projections = {source: projection for source, projection in found.items() if projection is not None}
        return cls(schema, tuple(WatchedColumn.from_json(item) for item in facts), projections)


def _fit_column(name: str, group: Group, values: Values) -> WatchedColumn:
    column = values[name]
    if name == PREDICTION and group is Group.OUTPUT:
        numbers = prediction_numbers(np.asarray(column, dtype=object))
        if np.isinf(numbers).any() or np.unique(numbers[np.isfinite(numbers)]).size <= HEAVY:
            return WatchedColumn(name, group, CategoryBins.fit(prediction_categories(np.asarray(column, dtype=object))))
        return WatchedColumn(name, group, NumericBins.fit(numbers))
    if column.dtype == object:
        return WatchedColumn(name, group, CategoryBins.fit(np.asarray(column, dtype=object)))
    return WatchedColumn(name, group, NumericBins.fit(np.asarray(column, dtype=np.float64)))


def _ready(columns: Sequence[WatchedColumn], values: Values) -> Values:
    """The values with the prediction in the form that its column's bins read."""
    ready = dict(values)
    for column in columns:
        if column.name == PREDICTION and column.group is Group.OUTPUT:
            raw: ObjectArray = np.asarray(values[PREDICTION], dtype=object)
            numeric = column.role is Role.NUMERIC
            ready[PREDICTION] = prediction_numbers(raw) if numeric else prediction_categories(raw)
    return ready


def _absent(n: int, column: WatchedColumn) -> FloatArray | ObjectArray:
    if column.role is Role.NUMERIC and column.name != PREDICTION:
        return np.full(n, np.nan)
    return np.full(n, None, dtype=object)
