"""The columns that drift detection watches, and how each value finds its bin.

A numeric column is cut at reference order statistics: at most 20 inner bins, one bin each below and above everything
the reference saw, one for missing and one for invalid (non-finite, wrong type). A categorical column has its heaviest
values, *other* (seen but rare), *unseen*, missing and invalid. Every column has ``N_BINS`` slots, so that one count
matrix holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self

import numpy as np

from detectors.batch import FloatArray, IntArray, ObjectArray

INNER = 22
MISSING = INNER
INVALID = INNER + 1
N_BINS = INNER + 2
HEAVY = INNER - 2
OTHER = INNER - 2
UNSEEN = INNER - 1
_RARE_KEPT = 2_000


class Role(StrEnum):
    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class Group(StrEnum):
    """What a column is to the user; groups share the evidence by fixed weights."""

    FEATURE = "feature"
    OUTPUT = "output"
    JOINT = "joint"
    VARIATION = "variation"
    """How much whole panes differ from the reference: one value a pane."""


@dataclass(frozen=True, slots=True)
class NumericBins:
    """Cut points of one numeric column: value v is in bin ``searchsorted(edges, v, side="right")``.

    ``values`` (bins - 2,) are the distinct values themselves where a column has few; empty otherwise.
    """

    edges: FloatArray
    values: FloatArray = field(default_factory=lambda: np.empty(0))

    @property
    def n_inner(self) -> int:
        return len(self.edges) + 1

    def code(self, values: FloatArray) -> IntArray:
        """(n,) bin of each value; NaN is missing, ±inf invalid."""
        codes = np.searchsorted(self.edges, values, side="right").astype(np.int64)
        codes[np.isinf(values)] = INVALID
        codes[np.isnan(values)] = MISSING
        return codes

    def labels(self) -> list[str]:
        if self.values.size:
            exact = [f"{value:.4g}" for value in self.values]
            return [f"< {exact[0]}", *exact, f"> {exact[-1]}"]
        texts = [f"{edge:.4g}" for edge in self.edges]
        if not texts:
            return ["any"]
        middle = [f"{low} … {high}" for low, high in pairwise(texts)]
        return [f"< {texts[0]}", *middle, f"≥ {texts[-1]}"]

    @classmethod
    def fit(cls, values: FloatArray) -> Self:
        """Bins of the finite ``values``; the first and the last one lie outside the reference's range."""
        present = np.sort(values[np.isfinite(values)])
        if present.size == 0:
            return cls(np.empty(0))
        distinct = np.unique(present)
        if distinct.size <= INNER - 2:
            gaps = np.diff(distinct)
            step = float(gaps.min()) if gaps.size else max(abs(float(distinct[0])), 1.0) * 1e-9
            inner = distinct[:-1] + gaps / 2
            return cls(np.concatenate([[distinct[0] - step / 2], inner, [distinct[-1] + step / 2]]), distinct)
        cuts = np.quantile(present, np.arange(1, INNER - 2) / (INNER - 2), method="inverted_cdf")
        above = np.nextafter(present[-1], np.inf)
        return cls(np.unique(np.concatenate([[present[0]], cuts, [above]])))


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Heavy hitters of one categorical column, and the rare values that the reference saw."""

    heavy: tuple[str, ...]
    rare: frozenset[str]

    @property
    def n_inner(self) -> int:
        return INNER

    def code(self, values: ObjectArray) -> IntArray:
        """(n,) bin of each value (str or None)."""
        table: dict[Any, int] = {value: i for i, value in enumerate(self.heavy)}
        table[None] = MISSING
        table.update(dict.fromkeys(self.rare, OTHER))
        return np.fromiter((table.get(value, UNSEEN) for value in values), dtype=np.int64, count=len(values))

    def labels(self) -> list[str]:
        padded = [value[:60] for value in self.heavy] + [""] * (HEAVY - len(self.heavy))
        return [*padded, "other", "unseen"]

    @classmethod
    def fit(cls, values: ObjectArray) -> Self:
        names, counts = np.unique([value for value in values if value is not None], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        ranked = [str(names[i]) for i in order]
        return cls(tuple(ranked[:HEAVY]), frozenset(ranked[HEAVY : HEAVY + _RARE_KEPT]))


@dataclass(frozen=True, slots=True)
class WatchedColumn:
    """One column: its name, what it is to the user, and its bins."""

    name: str
    group: Group
    bins: NumericBins | CategoryBins

    @property
    def role(self) -> Role:
        return Role.NUMERIC if isinstance(self.bins, NumericBins) else Role.CATEGORICAL

    def labels(self) -> list[str]:
        """Text for each of the ``N_BINS`` slots; "" for a slot that this column does not use."""
        inner = self.bins.labels()
        return inner + [""] * (INNER - len(inner)) + ["missing", "invalid"]

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"name": self.name, "group": self.group.value}
        if isinstance(self.bins, NumericBins):
            data["edges"] = [float(edge) for edge in self.bins.edges]
            data["values"] = [float(value) for value in self.bins.values]
        else:
            data["heavy"] = list(self.bins.heavy)
            data["rare"] = sorted(self.bins.rare)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        bins: NumericBins | CategoryBins
        if "edges" in data:
            edges, distinct = (np.asarray(data[key], dtype=np.float64) for key in ("edges", "values"))
            bins = NumericBins(edges, distinct)
        else:
            bins = CategoryBins(tuple(data["heavy"]), frozenset(data["rare"]))
        return cls(str(data["name"]), Group(data["group"]), bins)


def code_matrix(columns: Sequence[WatchedColumn], values: Mapping[str, FloatArray | ObjectArray]) -> IntArray:
    """(n, columns) bins of all values; ``values`` holds one array per column name, of the column's role."""
    codes = [column.bins.code(values[column.name]) for column in columns]  # type: ignore[arg-type]
    return np.stack(codes, axis=1) if codes else np.empty((0, 0), dtype=np.int64)
