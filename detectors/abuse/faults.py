"""Faults: what an ordinary query of this model never holds, and somebody who feels for its edges tries.

Six sorts: a value missing where there always is one, one that is no number, a category never seen, a number far outside
the reference, a number that programmers like and this column does not (0, -1, 255, 2**31 - 1 and their like), and a
feature that the model does not have. Inputs that are merely strange are not faulty: they belong to ``ood``.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.schema import Schema, categorical_column, numeric_matrix, raw_column

SORTS: Final = ("missing", "invalid", "unseen", "extreme", "boundary", "unknown column")
CELLS_PER_SORT: Final = 4
N_CELLS: Final = len(SORTS) * CELLS_PER_SORT
MAX_COLUMNS: Final = 500
MAX_LEVELS: Final = 400
_RARELY: Final = 0.02
_NEVER: Final = 1e-3
_FAR: Final = 3.0
"""An extreme value lies this many ranges of its column (or of the usual column) beyond what the reference held."""
_ROUND: Final = (0, 1, 10, 99, 100, 127, 128, 255, 256, 999, 1e3, 9999, 32767, 32768, 65535, 65536, 99999, 999999)
_LIKED: Final = np.unique([*_ROUND, *(-float(v) for v in _ROUND), 2.0**31 - 1, -(2.0**31), 2.0**32 - 1, 2.0**53, 1e9])


@dataclass(frozen=True, slots=True, eq=False)
class Faults:
    """What each column may hold.

    Attributes:
        numeric: names of columns; always (p,) whether they are rarely missing; low, high (p,) limits beyond which a
            value is extreme; marked (p, len(_LIKED)) liked numbers that the column does not use.
        levels: categorical column → its known values; an empty set where they are too many to know.
        filled: categorical columns that are rarely missing.
        names: every feature of the reference.
    """

    numeric: tuple[str, ...]
    always: NDArray[np.bool_]
    low: FloatArray
    high: FloatArray
    marked: NDArray[np.bool_]
    levels: Mapping[str, frozenset[str]]
    filled: frozenset[str]
    names: frozenset[str]

    @classmethod
    def fit(cls, batch: EventBatch, schema: Schema) -> Self:
        numeric = schema.numbers[:MAX_COLUMNS]
        values = numeric_matrix(batch, numeric).reshape(len(batch), len(numeric))
        finite = np.where(np.isfinite(values), values, np.nan)
        empty = np.asarray(np.isnan(finite).all(axis=0)).reshape(len(numeric))
        known = np.where(empty, 0.0, finite)
        low, high = np.nanquantile(known, [0.001, 0.999], axis=0) if len(numeric) else (np.zeros(0), np.zeros(0))
        edges = np.stack([np.nanmin(known, axis=0), np.nanmax(known, axis=0)], axis=1) if len(numeric) else _no_edges()
        span = np.maximum(high - low, 1e-9 * (1.0 + np.abs(high)))
        span = _FAR * (np.maximum(span, np.median(span)) if len(numeric) else span)
        whole = (np.abs(known - np.rint(known)) < 1e-9).mean(axis=0) > 0.5
        used = whole[:, None] & (edges[:, :1] <= _LIKED) & (edges[:, 1:] >= _LIKED)
        unused = np.stack([np.asarray((finite == liked).mean(axis=0) < _NEVER) for liked in _LIKED], axis=1)
        columns = {name: categorical_column(batch, name) for name in schema.categories[:MAX_COLUMNS]}
        levels = {name: frozenset(v for v in column.tolist() if v is not None) for name, column in columns.items()}
        filled = {n for n, column in columns.items() if np.mean([v is None for v in column.tolist()]) < _RARELY}
        return cls(
            numeric,
            np.isnan(values).mean(axis=0) < _RARELY,
            edges[:, 0] - span,
            edges[:, 1] + span,
            np.asarray(unused & ~used & ~empty.reshape(-1, 1)),
            {n: found if len(found) <= MAX_LEVELS else frozenset() for n, found in levels.items()},
            frozenset(filled),
            frozenset(column.name for column in schema.columns),
        )

    def cells(self, batch: EventBatch) -> IntArray:
        """(n, N_CELLS) 1 where an event has a fault of that sort in a column of that quarter (by hash of the name)."""
        out = np.zeros((len(batch), N_CELLS), dtype=np.int64)
        if self.numeric:
            values = numeric_matrix(batch, self.numeric).reshape(len(batch), len(self.numeric))
            missing, finite = np.isnan(values), np.isfinite(values)
            beyond = finite & ((values < self.low) | (values > self.high))
            at = np.minimum(np.searchsorted(_LIKED, values), len(_LIKED) - 1)
            liked = finite & (_LIKED[at] == values) & self.marked[np.arange(len(self.numeric)), at]
            for sort, found in enumerate((missing & self.always, ~finite & ~missing, None, beyond, liked)):
                if found is not None:
                    self._add(out, sort, self.numeric, found)
        for name, known in self.levels.items():
            column = categorical_column(batch, name).tolist()
            if name in self.filled:
                self._add(out, 0, (name,), np.array([v is None for v in column])[:, None])
            if known:
                self._add(out, 2, (name,), np.array([v is not None and v not in known for v in column])[:, None])
        for name in [name for name in batch.feature_names if name not in self.names][:MAX_COLUMNS]:
            extra = raw_column(batch, name)
            there = np.array([v is not None and v == v for v in extra.tolist()]) if extra is not None else None
            if there is not None:
                self._add(out, 5, (name,), there[:, None])
        return out

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {name: getattr(self, name) for name in ("always", "low", "high", "marked")}

    def to_facts(self) -> dict[str, Any]:
        return {
            "numeric": list(self.numeric),
            "levels": {name: sorted(known) for name, known in self.levels.items()},
            "filled": sorted(self.filled),
            "names": sorted(self.names),
        }

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        levels = {name: frozenset(known) for name, known in facts["levels"].items()}
        flags: dict[str, Any] = {name: arrays[name].astype(bool) for name in ("always", "marked")}
        limits: dict[str, Any] = {name: arrays[name].astype(np.float64) for name in ("low", "high")}
        return cls(
            numeric=tuple(facts["numeric"]),
            levels=levels,
            filled=frozenset(facts["filled"]),
            names=frozenset(facts["names"]),
            **flags,
            **limits,
        )

    def _add(self, out: IntArray, sort: int, names: tuple[str, ...], found: NDArray[np.bool_]) -> None:
        quarter = np.array([cell_of(name, CELLS_PER_SORT) for name in names])
        for q in range(CELLS_PER_SORT):
            mine = quarter == q
            if mine.any():
                out[:, sort * CELLS_PER_SORT + q] |= found[:, mine].any(axis=1)


def cell_of(name: str, n: int) -> int:
    """The cell in [0, n) that a name falls into, the same everywhere."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass")) % n


def _no_edges() -> FloatArray:
    return np.zeros((0, 2))
