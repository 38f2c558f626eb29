"""Events into columns. Rows are turned round in C (``zip``), and a column is typed by the set of its values' types.

A batch is dense, so a few events with thousands of names of their own could ask for far more memory than they took to
send. Such a group is halved until its columns are reasonably full; every other model version is one batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from detectors.batch import EventBatch, FloatArray, ObjectArray
from monitor.formats.event import Event, Numbers, text_of

MAX_SPARSE_CELLS = 1 << 19
_MIN_FILL = 0.25
_NUMERIC = frozenset({float, type(None)})

Column = tuple[Any, ...]


@dataclass(slots=True)
class Group:
    """Events of one (model, version) in arrival order, with the identity and time that were found for each."""

    model: str
    version: str
    event_ids: list[str] = field(default_factory=list)
    timestamps: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def batches(group: Group) -> list[EventBatch]:
    """The group as one batch, or as several in order where one would be mostly empty."""
    if len(group.events) < 2 or not _mostly_empty(group.events):
        return [_batch(group)]
    middle = len(group.events) // 2
    return [*batches(_part(group, slice(0, middle))), *batches(_part(group, slice(middle, None)))]


def _part(group: Group, part: slice) -> Group:
    return Group(group.model, group.version, group.event_ids[part], group.timestamps[part], group.events[part])


def _mostly_empty(events: Sequence[Event]) -> bool:
    cells = values = 0
    for attribute in ("features", "embedding", "logits", "probabilities", "segments"):
        found = [item for item in map(attrgetter(attribute), events) if item]
        values += sum(map(len, found))
        cells += len(events) * _width(found)
    return cells > MAX_SPARSE_CELLS and values < _MIN_FILL * cells


def _width(found: Sequence[Any]) -> int:
    objects = [item for item in found if isinstance(item, dict)]
    longest = max((len(item) for item in found if isinstance(item, list)), default=0)
    return max(longest, len(set().union(*objects)))


def _batch(group: Group) -> EventBatch:
    events = group.events
    names, numeric, mixed = _features([e.features for e in events])
    logits = _vectors([e.logits for e in events])
    classes, probabilities = _probabilities([e.probabilities for e in events])
    if not classes and logits is not None:
        classes = tuple(map(str, range(logits.shape[1])))
    return EventBatch(
        model=group.model,
        version=group.version,
        event_id=_objects(group.event_ids),
        timestamp=np.array(group.timestamps, dtype=np.float64),
        client_id=_clients([e.client_id for e in events]),
        numeric_names=names,
        numeric=numeric,
        mixed=mixed,
        embedding=_vectors([e.embedding for e in events]),
        logits=logits,
        probabilities=probabilities,
        classes=classes,
        prediction=_categories([e.prediction for e in events]),
        label=_categories([e.label for e in events]),
        latency_ms=_reals([e.latency_ms for e in events], absent=None),
        segments=_segments([e.segments for e in events]),
        sampling_rate=_reals([e.sampling_rate for e in events], absent=1.0),
    )


def _features(
    rows: Sequence[dict[str, Any] | Numbers | None],
) -> tuple[tuple[str, ...], FloatArray, dict[str, ObjectArray]]:
    names, columns = _turned([_named(row, prefix="f") for row in rows])
    is_numeric = [set(map(type, column)) <= _NUMERIC for column in columns]
    numeric = [column for column, yes in zip(columns, is_numeric, strict=True) if yes]
    return (
        tuple(name for name, yes in zip(names, is_numeric, strict=True) if yes),
        np.ascontiguousarray(np.array(numeric, dtype=np.float64).reshape(len(numeric), len(rows)).T),
        {n: _objects(c) for n, c, yes in zip(names, columns, is_numeric, strict=True) if not yes},
    )


def _named(row: dict[str, Any] | Numbers | None, prefix: str) -> Mapping[str, Any]:
    if isinstance(row, list):
        return dict(zip(_positions(prefix, len(row)), row, strict=True))
    return row or {}


def _positions(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


def _turned(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Column]]:
    """Names in the order first seen, and one column each; None where a row lacks the name."""
    names = list(rows[0])
    if len(names) > 1 and all(len(row) == len(names) for row in rows):
        try:
            return names, list(zip(*map(itemgetter(*names), rows), strict=True))
        except KeyError:
            pass
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    return names, [tuple(row.get(name) for row in rows) for name in names]


def _probabilities(
    rows: Sequence[dict[str, float | None] | Numbers | None],
) -> tuple[tuple[str, ...], FloatArray | None]:
    if not any(rows):
        return (), None
    if not any(isinstance(row, dict) for row in rows):
        matrix = _vectors(rows)  # type: ignore[arg-type]
        assert matrix is not None
        return tuple(_positions("", matrix.shape[1])), matrix
    names, columns = _turned([_named(row, prefix="") for row in rows])
    return tuple(names), np.ascontiguousarray(np.array(columns, dtype=np.float64).T)


def _vectors(rows: Sequence[Numbers | None]) -> FloatArray | None:
    widths = {len(row) for row in rows if row}
    if not widths:
        return None
    if len(widths) == 1 and all(rows):
        return np.array(rows, dtype=np.float64)
    out = np.full((len(rows), max(widths)), np.nan)
    for i, row in enumerate(rows):
        if row:
            out[i, : len(row)] = np.array(row, dtype=np.float64)
    return out


def _clients(values: Sequence[str | int | None]) -> ObjectArray | None:
    if not any(value not in (None, "") for value in values):
        return None
    return _objects(["" if value is None else text_of(value) for value in values])


def _categories(values: Sequence[float | str | bool | None]) -> ObjectArray | None:
    if not any(value is not None for value in values):
        return None
    return _objects([text_of(value) if isinstance(value, bool) else value for value in values])


def _reals(values: Sequence[float | None], absent: float | None) -> FloatArray | None:
    if not any(value is not None for value in values):
        return None
    return np.array([absent if value is None else value for value in values], dtype=np.float64)


def _segments(rows: Sequence[Mapping[str, str | int | bool | None] | None]) -> dict[str, ObjectArray]:
    if not any(rows):
        return {}
    names, columns = _turned([row or {} for row in rows])
    return {
        name: _objects([None if value is None else text_of(value) for value in column])
        for name, column in zip(names, columns, strict=True)
    }


def _objects(values: Sequence[Any]) -> ObjectArray:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out
