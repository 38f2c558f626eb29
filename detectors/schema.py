"""Schema: what each logged feature is, as the reference saw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np

from detectors.batch import EventBatch, FloatArray, ObjectArray


class Role(StrEnum):
    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    IDENTIFIER = "identifier"
    """Nearly every value is new: left out of every test."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns of a reference, in the order in which sketches hold them."""

    columns: tuple[Column, ...]
    classes: tuple[str, ...] = ()

    def names(self, role: Role) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.role is role)

    def to_json(self) -> dict[str, Any]:
        return {"columns": [[c.name, c.role.value] for c in self.columns], "classes": list(self.classes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            tuple(Column(str(name), Role(role)) for name, role in data["columns"]),
            tuple(str(name) for name in data["classes"]),
        )


def infer_schema(batch: EventBatch) -> Schema:
    """The schema of a reference batch; cost: one pass over the non-numeric columns."""
    columns = []
    for i, name in enumerate(batch.numeric_names):
        columns.append(Column(name, _numeric_role(batch.numeric[:, i])))
    for name, values in batch.mixed.items():
        columns.append(Column(name, _mixed_role(values)))
    return Schema(tuple(columns), batch.classes)


def numeric_matrix(batch: EventBatch, names: tuple[str, ...]) -> FloatArray:
    """(n, len(names)) float64: NaN where missing, +inf where non-finite or not a number at all."""
    if names == batch.numeric_names:
        return batch.numeric
    position = {name: i for i, name in enumerate(batch.numeric_names)}
    out = np.full((len(batch), len(names)), np.nan)
    for j, name in enumerate(names):
        if name in position:
            out[:, j] = batch.numeric[:, position[name]]
        elif name in batch.mixed:
            out[:, j] = [_to_number(value) for value in batch.mixed[name]]
    return out


def categorical_column(batch: EventBatch, name: str) -> ObjectArray:
    """(n,) object array of str or None (missing); numbers and booleans as text."""
    if name in batch.mixed:
        values: Any = batch.mixed[name]
    elif name in batch.numeric_names:
        values = batch.numeric[:, batch.numeric_names.index(name)]
    else:
        values = [None] * len(batch)
    out = np.empty(len(batch), dtype=object)
    out[:] = [category(value) for value in values]
    return out


def category(value: object) -> str | None:
    """A value as a category: None when missing, ``true``/``false``, whole numbers without a point."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | float | np.number):
        number = float(value)
        if np.isnan(number):
            return None
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return str(value)


def _to_number(value: object) -> float:
    if value is None:
        return np.nan
    if isinstance(value, bool | int | float | np.number):
        return float(value)
    return np.inf


def _numeric_role(values: FloatArray) -> Role:
    present = values[np.isfinite(values)]
    whole = present.size >= 200 and bool(np.all(present == np.floor(present)))
    if whole and np.unique(present).size > 0.98 * present.size and np.ptp(present) >= present.size - 1:
        return Role.IDENTIFIER
    return Role.NUMERIC


def _mixed_role(values: ObjectArray) -> Role:
    present = [value for value in values if value is not None]
    numbers = sum(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
    if present and numbers >= 0.9 * len(present):
        return Role.NUMERIC
    if len(present) >= 100 and len({str(v) for v in present}) > 0.9 * len(present):
        return Role.IDENTIFIER
    return Role.CATEGORICAL
