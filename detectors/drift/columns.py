"""The columns that drift detection watches, and how each value finds its bin.

A numeric column is cut at reference order statistics: at most 20 inner bins, one bin each below and above everything
the reference saw, one for missing and one for invalid (non-finite, wrong type). A categorical column has its heaviest
values, *other* (seen but rare), *unseen*, missing and invalid. Every column has ``N_BINS`` slots, so that one count
matrix holds them all.

The reference cannot tell by itself how often something new turns up, since it has seen all of its own values. So its
own events are coded as if each had been left out of it (``code_left_out``): a value that occurs once is unseen, which
gives the Good-Turing estimate of the share of unseen values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise, repeat
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, ObjectArray

INNER = 22
MISSING = INNER
INVALID = INNER + 1
N_BINS = INNER + 2
HEAVY = INNER - 2
OTHER = INNER - 2
UNSEEN = INNER - 1
CodeArray = NDArray[np.uint8]
_RARE_KEPT = 2_000
_LARGEST = np.finfo(np.float64).max


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


Key = tuple[Group, str]
"""What tells a column from every other: a feature may have the name of an output."""
Values = dict[Key, FloatArray | ObjectArray]
"""(n,) values of each column: numbers, or objects of str, None (missing) and +inf (invalid)."""


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

    def code(self, values: FloatArray) -> CodeArray:
        """(n,) bin of each value; NaN is missing, ±inf invalid. For many columns at once: ``digitise.py``."""
        codes = np.searchsorted(self.edges, values, side="right").astype(np.uint8)
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
            return cls(_edges_between(distinct), distinct)
        cuts = np.quantile(present, np.arange(1, INNER - 2) / (INNER - 2), method="inverted_cdf")
        above = _just_above(present[-1:])
        return cls(np.unique(np.concatenate([present[:1], cuts, above])))


def _edges_between(distinct: FloatArray) -> FloatArray:
    """(k + 1,) finite edges with one of the k sorted values in each gap, for any floats however close or far."""
    middle = np.maximum(distinct[:-1] / 2 + distinct[1:] / 2, _just_above(distinct[:-1]))
    with np.errstate(over="ignore"):
        gaps = np.minimum(distinct[1:] - middle, middle - distinct[:-1])
        step = gaps.min() if gaps.size else np.maximum(np.abs(distinct[0]), 1.0) * 5e-10
        first, last = distinct[:1] - step, np.maximum(distinct[-1:] + step, _just_above(distinct[-1:]))
    return np.concatenate([np.maximum(first, -_LARGEST), middle, np.minimum(last, _LARGEST)])


def _just_above(values: FloatArray) -> FloatArray:
    """The next larger floats; the largest one stays, so that every edge is finite."""
    with np.errstate(over="ignore"):
        return np.minimum(np.nextafter(values, np.inf), _LARGEST)


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Heavy hitters of one categorical column, and the rare values that the reference saw."""

    heavy: tuple[str, ...]
    rare: frozenset[str]
    _table: dict[Any, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table: dict[Any, int] = dict.fromkeys(self.rare, OTHER)
        table.update({value: i for i, value in enumerate(self.heavy)})
        table.update({None: MISSING, np.inf: INVALID})
        object.__setattr__(self, "_table", table)

    @property
    def n_inner(self) -> int:
        return INNER

    def code(self, values: ObjectArray) -> CodeArray:
        """(n,) bin of each value (str, None for missing, +inf for invalid); about 30 ns a value."""
        codes = bytes(map(self._table.get, values.tolist(), repeat(UNSEEN)))
        return np.frombuffer(codes, dtype=np.uint8).copy()

    def code_left_out(self, values: ObjectArray) -> CodeArray:
        """(n,) bins of the reference's own values, each as if the others alone were the reference.

        Values that would then have fallen from the list are unseen: those that occur once, or, where the list was full,
        those that barely made it. Heavy ones that would have come after the first rare one are other.
        """
        codes = self.code(values)
        counts = Counter(values[codes < MISSING].tolist())
        known = {value: n for value, n in counts.items() if value in self._table}
        least = left_out_floor(known.values(), len(known) < len(counts))
        if self.rare:
            first = min((-known.get(value, 0), value) for value in self.rare)
            lighter = {value for value in self.heavy if (1 - known.get(value, 0), value) > first}
            codes[np.array([value in lighter for value in values.tolist()], dtype=np.bool_)] = OTHER
        fallen = [known.get(value, least + 1) <= least for value in values.tolist()]
        codes[np.array(fallen, dtype=np.bool_)] = UNSEEN
        return codes

    def labels(self) -> list[str]:
        padded = [value[:60] for value in self.heavy] + [""] * (HEAVY - len(self.heavy))
        return [*padded, "other", "unseen"]

    @classmethod
    def fit(cls, values: ObjectArray) -> Self:
        """The 20 heaviest values (str), then all that occur at least so often that 2,000 more remain."""
        counts = Counter(value for value in values.tolist() if isinstance(value, str))
        ranked = sorted(counts, key=lambda value: (-counts[value], value))
        return cls(tuple(ranked[:HEAVY]), frozenset(kept_whole(ranked[HEAVY:], counts, _RARE_KEPT)))


def kept_whole(ranked: list[str], counts: Mapping[str, int], most: int) -> list[str]:
    """The first of the ``ranked`` (falling count), at most ``most``, never part of those of equal count."""
    if len(ranked) <= most:
        return ranked
    beyond = counts[ranked[most]]
    return [value for value in ranked[:most] if counts[value] > beyond]


def left_out_floor(known: Iterable[int], full: bool) -> int:
    """Count of values that would not be known had one of them been left out; ``full``: more occurred than are known."""
    return min(known, default=1) if full else 1


@dataclass(frozen=True, slots=True)
class WatchedColumn:
    """One column: its name, what it is to the user, and its bins."""

    name: str
    group: Group
    bins: NumericBins | CategoryBins

    @property
    def key(self) -> Key:
        return self.group, self.name

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
