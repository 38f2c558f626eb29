"""Schema: what each logged feature is, as the reference saw it, and its values in the form that its role asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from detectors.batch import EventBatch, FloatArray, ObjectArray
from detectors.dates import WHOLE_AGE, read_dates
from detectors.roles import Column, Role, mixed_column, numeric_column, parse_number

__all__ = [
    "Column",
    "Role",
    "Schema",
    "as_categories",
    "as_numbers",
    "categorical_column",
    "category",
    "infer_schema",
    "numeric_matrix",
    "raw_column",
]

_NUMBERS = frozenset({float, int, bool, type(None)})
_BOOLS = frozenset({bool, np.bool_})
_TEXTS = frozenset({str, type(None)})


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns of a reference, in the order in which sketches hold them."""

    columns: tuple[Column, ...]
    classes: tuple[str, ...] = ()

    def names(self, *roles: Role) -> tuple[str, ...]:
        """Names of the columns of these roles, in the order of the columns."""
        return tuple(column.name for column in self.columns if column.role in roles)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names that ``numeric_matrix`` reads: the numeric columns, then the age of every date in whole days."""
        return self.names(Role.NUMERIC) + tuple(name + WHOLE_AGE for name in self.names(Role.DATE))

    @property
    def categories(self) -> tuple[str, ...]:
        """Names that ``categorical_column`` reads: categories and booleans."""
        return self.names(Role.CATEGORICAL, Role.BOOLEAN)

    @property
    def left_out(self) -> dict[str, str]:
        """Name → why it is in no test, to finish the sentence "left out because it …"."""
        return {c.name: c.why or "holds identifiers" for c in self.columns if c.role is Role.IDENTIFIER}

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": [[c.name, c.role.value] for c in self.columns],
            "classes": list(self.classes),
            "why": {c.name: c.why for c in self.columns if c.why},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of ``to_json``; reads the schemas of older references, which give no reasons."""
        why = data.get("why", {})
        return cls(
            tuple(Column(str(name), Role(role), str(why.get(name, ""))) for name, role in data["columns"]),
            tuple(str(name) for name in data["classes"]),
        )


def infer_schema(batch: EventBatch) -> Schema:
    """The schema of a reference batch; ``detectors/roles.py`` has the rules.

    Cost: a sort of each numeric column, some passes in Python over the values of the others.
    """
    columns = [numeric_column(name, batch.numeric[:, i], batch.timestamp) for i, name in enumerate(batch.numeric_names)]
    columns += [mixed_column(name, values, batch.timestamp) for name, values in batch.mixed.items()]
    return Schema(tuple(columns), batch.classes)


def numeric_matrix(batch: EventBatch, names: tuple[str, ...]) -> FloatArray:
    """(n, len(names)) float64: NaN where missing, +inf where non-finite or not a number at all.

    A number written as text is that number. A name such as ``signup: age in whole days``, unless it is a feature's own,
    is the age of the date ``signup`` at the time of the event.
    """
    if names == batch.numeric_names:
        return batch.numeric
    position = {name: i for i, name in enumerate(batch.numeric_names)}
    found = [position.get(name, -1) for name in names]
    if batch.numeric_names and all(i >= 0 for i in found):
        return np.asarray(batch.numeric[:, found])
    out = np.full((len(batch), len(names)), np.nan)
    for j, name in enumerate(names):
        if found[j] >= 0:
            out[:, j] = batch.numeric[:, found[j]]
        elif name in batch.mixed:
            out[:, j] = as_numbers(batch.mixed[name])
        elif name.endswith(WHOLE_AGE):
            values = raw_column(batch, name.removesuffix(WHOLE_AGE))
            if values is not None:
                out[:, j] = read_dates(values).whole_days(batch.timestamp)
    return out


def raw_column(batch: EventBatch, name: str) -> FloatArray | ObjectArray | None:
    """(n,) the values of a feature as they are in the batch; None when the batch lacks it."""
    if name in batch.mixed:
        return batch.mixed[name]
    if name in batch.numeric_names:
        return np.asarray(batch.numeric[:, batch.numeric_names.index(name)])
    return None


def as_numbers(values: ObjectArray) -> FloatArray:
    """(n,) float64: NaN where None, +inf where not a number; booleans are 0 and 1, plainly written text its number."""
    listed = values.tolist()
    if set(map(type, listed)) <= _NUMBERS:
        return np.array(listed, dtype=np.float64)
    return np.array([_to_number(value) for value in listed], dtype=np.float64)


def categorical_column(batch: EventBatch, name: str) -> ObjectArray:
    """(n,) object array of str or None (missing); numbers and booleans as text."""
    values = raw_column(batch, name)
    if values is None:
        return np.full(len(batch), None, dtype=object)
    return as_categories(values)


def as_categories(values: FloatArray | ObjectArray) -> ObjectArray:
    """(n,) object array of str or None (missing): ``category`` of each value, worked out once per distinct value."""
    if values.dtype != object:
        distinct, inverse = np.unique(values, return_inverse=True)
        names = np.empty(len(distinct), dtype=object)
        names[:] = [category(value) for value in distinct]
        return np.asarray(names[inverse])
    listed = values.tolist()
    kinds = set(map(type, listed))
    if kinds <= _TEXTS:
        return np.asarray(values, dtype=object)
    out = np.empty(len(listed), dtype=object)
    if kinds & _BOOLS and kinds - _BOOLS - _TEXTS:  # True and 1.0 are one key of a dictionary
        out[:] = [category(value) for value in listed]
    else:
        table = {value: category(value) for value in dict.fromkeys(listed)}
        out[:] = [table[value] for value in listed]
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
    if isinstance(value, str):
        return parse_number(value)
    if isinstance(value, bool | int | float | np.number):
        return float(value)
    return np.inf
