"""Encoding: features of mixed type as rows of one numeric space, the same for every batch.

Numbers are centred and scaled robustly, then compressed beyond four spreads, so that one wild column is heard without
drowning the others. Categories become weighted one-hot coordinates, the rarer the heavier. Whatever cannot be placed
(missing where it never is, infinite, a category never seen) adds to one *oddity* coordinate by its surprise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.schema import Schema, category, numeric_matrix

KNEE = 4.0
MAX_ONE_HOT = 256
MAX_CATEGORIES = 4_000
MISSING, UNSEEN = -1, -2
FINITE, ABSENT, INFINITE = 0, 1, 2


def compress(z: FloatArray) -> FloatArray:
    """Identity up to ±4, logarithmic beyond; strictly increasing, odd."""
    out = np.array(z, dtype=np.float64)
    wild = np.abs(out) > KNEE
    out[wild] = np.sign(out[wild]) * KNEE * (1.0 + np.log(np.abs(out[wild]) / KNEE))
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The features of n events: numbers (n, p) with NaN for missing, and category codes (n, c)."""

    numeric: FloatArray
    codes: IntArray

    def __len__(self) -> int:
        return len(self.numeric)

    def take(self, index: Any) -> Columns:
        return Columns(self.numeric[index], self.codes[index])

    def absent(self) -> NDArray[np.bool_]:
        """(n,) bool: events that logged none of the features."""
        return np.asarray(np.all(np.isnan(self.numeric), axis=1) & np.all(self.codes == MISSING, axis=1))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names of the watched features, and the categories of each categorical one, most frequent first."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]

    @classmethod
    def learn(cls, batch: EventBatch, schema: Schema) -> Vocabulary:
        categorical = schema.categories
        return cls(schema.numbers, categorical, tuple(_most_frequent(_raw(batch, name)) for name in categorical))

    def read(self, batch: EventBatch) -> Columns:
        """The batch's features as numbers and codes; columns that the batch lacks are missing."""
        codes = np.full((len(batch), len(self.categorical)), MISSING, dtype=np.int64)
        for j, (name, known) in enumerate(zip(self.categorical, self.categories, strict=True)):
            codes[:, j] = _encode(_raw(batch, name), {text: i for i, text in enumerate(known)})
        numeric = numeric_matrix(batch, self.numeric).reshape(len(batch), len(self.numeric))
        return Columns(numeric, codes)

    def to_json(self) -> dict[str, Any]:
        return {
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "categories": [list(known) for known in self.categories],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Vocabulary:
        return cls(
            tuple(data["numeric"]), tuple(data["categorical"]), tuple(tuple(known) for known in data["categories"])
        )


def _raw(batch: EventBatch, name: str) -> list[Any]:
    if name in batch.mixed:
        return list(batch.mixed[name])
    if name in batch.numeric_names:
        return list(batch.numeric[:, batch.numeric_names.index(name)])
    return [None] * len(batch)


def _most_frequent(values: list[Any]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for value in values:
        text = category(value)
        if text is not None:
            counts[text] = counts.get(text, 0) + 1
    return tuple(sorted(counts, key=lambda text: (-counts[text], text))[:MAX_CATEGORIES])


def _encode(values: list[Any], position: Mapping[str, int]) -> list[int]:
    return [
        MISSING
        if value is None
        else position[value]
        if isinstance(value, str) and value in position
        else _encode_other(value, position)
        for value in values
    ]


def _encode_other(value: object, position: Mapping[str, int]) -> int:
    text = category(value)
    return MISSING if text is None else position.get(text, UNSEEN)


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """Fitted map from ``Columns`` to rows of one space.

    Attributes:
        centre, scale: (p,) of the numeric columns.
        states: (p, 3) surprise, in nats, of a number being finite, missing, non-finite.
        surprises: per categorical column the surprise of each known category, then missing, then unseen.
        sizes: (c,) known categories of each column.
        hot: per categorical column how many of its categories have a coordinate of their own.
        n_reference: rows behind it.
    """

    centre: FloatArray
    scale: FloatArray
    states: FloatArray
    surprises: FloatArray
    sizes: IntArray
    hot: IntArray
    n_reference: int

    @classmethod
    def learn(cls, columns: Columns, sizes: IntArray) -> Encoder:
        """Fit on reference columns; ``sizes`` (c,) is the number of known categories of each column."""
        n = len(columns)
        centre, scale = _location_scale(columns.numeric)
        surprises = [_surprise(columns.codes[:, j], size) for j, size in enumerate(sizes)]
        per_column = MAX_ONE_HOT // max(len(sizes), 1)
        return cls(
            centre,
            scale,
            _state_surprise(columns.numeric),
            np.concatenate(surprises) if surprises else np.empty(0),
            sizes,
            np.minimum(sizes, per_column),
            n,
        )

    @property
    def width(self) -> int:
        return len(self.centre) + int(self.hot.sum()) + 1

    def encode(self, columns: Columns) -> FloatArray:
        """(n, width) finite float64: numbers, one-hot coordinates, oddity."""
        p = len(self.centre)
        out = np.zeros((len(columns), self.width))
        state = number_state(columns.numeric)
        with np.errstate(invalid="ignore", over="ignore"):
            z = compress((columns.numeric - self.centre) / self.scale)
        out[:, :p] = np.where(state == FINITE, z, 0.0)
        out[:, -1] = compress(self._oddity(columns, state))
        self._one_hot(columns.codes, out[:, p:-1])
        return out

    def category_surprise(self, codes: IntArray) -> FloatArray:
        """(n, c) surprise of every category, in nats: −log of its (smoothed) share of the reference."""
        out = np.empty(codes.shape)
        start = 0
        for j, size in enumerate(self.sizes):
            table = self.surprises[start : start + size + 2]
            out[:, j] = table[np.where(codes[:, j] >= 0, codes[:, j], size - 1 - codes[:, j])]
            start += size + 2
        return out

    def state_surprise(self, numeric: FloatArray) -> FloatArray:
        """(n, p) surprise of each number being there at all, missing, or non-finite."""
        return np.asarray(self.states[np.arange(self.states.shape[0]), number_state(numeric)])

    def _oddity(self, columns: Columns, state: IntArray) -> FloatArray:
        odd = np.where(state == FINITE, 0.0, self.states[np.arange(self.states.shape[0]), state]).sum(axis=1)
        if columns.codes.shape[1]:
            unplaced = (columns.codes < 0) | (columns.codes >= self.hot)
            odd = odd + np.where(unplaced, self.category_surprise(columns.codes), 0.0).sum(axis=1)
        return np.asarray(odd / 2.0)

    def _one_hot(self, codes: IntArray, out: FloatArray) -> None:
        start, table = 0, 0
        rows = np.arange(len(codes))
        top = np.log(self.n_reference + 1.0)
        for j, (size, hot) in enumerate(zip(self.sizes, self.hot, strict=True)):
            weight = np.sqrt(0.5 * (1.0 + np.minimum(self.surprises[table : table + hot] / top, 1.0)))
            placed = (codes[:, j] >= 0) & (codes[:, j] < hot)
            at = codes[placed, j]
            out[rows[placed], start + at] = weight[at]
            start += hot
            table += size + 2


def number_state(numeric: FloatArray) -> IntArray:
    """(n, p): FINITE, ABSENT (NaN) or INFINITE."""
    state = np.full(numeric.shape, FINITE, dtype=np.int64)
    odd = ~np.isfinite(numeric)
    if odd.any():
        state[odd] = np.where(np.isnan(numeric[odd]), ABSENT, INFINITE)
    return state


def _state_surprise(numeric: FloatArray) -> FloatArray:
    state = number_state(numeric)
    counts = np.stack([(state == s).sum(axis=0) for s in (FINITE, ABSENT, INFINITE)], axis=1)
    return np.asarray(-np.log((counts + 0.5) / (len(numeric) + 1.5)))


def _surprise(codes: IntArray, size: int) -> FloatArray:
    shifted = np.where(codes >= 0, codes, size - 1 - codes)
    counts = np.bincount(shifted, minlength=size + 2).astype(np.float64)
    return np.asarray(-np.log((counts + 0.5) / (len(codes) + 1.0)))


def _location_scale(numeric: FloatArray) -> tuple[FloatArray, FloatArray]:
    p = numeric.shape[1]
    centre, spread, size = np.zeros(p), np.zeros(p), np.zeros(p)
    for j in range(p):
        values = numeric[np.isfinite(numeric[:, j]), j]
        if values.size:
            low, centre[j], high = np.quantile(values, [0.01, 0.5, 0.99])
            spread[j] = np.std(np.clip(values, low, high))
            size[j] = np.ptp(values)
    return centre, _floored(spread, size, centre)


def _floored(spread: FloatArray, size: FloatArray, centre: FloatArray) -> FloatArray:
    """Spreads with a floor: the columns' common spread where they share one unit, their own magnitude otherwise."""
    moving = size > 0
    if moving.sum() >= 16:
        typical = np.median(size[moving])
        alike = np.mean((size[moving] > typical / 3) & (size[moving] < typical * 3))
        if alike >= 0.75:
            common = np.sqrt(np.mean(spread[moving] ** 2))
            return np.asarray(np.sqrt(COMMON_OWN * spread**2 + (1 - COMMON_OWN) * common**2) + 1e-9)
    floor = np.maximum(size / 50.0, np.where(moving, 0.0, 0.02 * np.abs(centre)))
    return np.asarray(np.maximum(np.maximum(spread, floor), 1e-9 + np.where(np.maximum(spread, floor) > 0, 0.0, 0.1)))


COMMON_OWN = 0.2
"""How much of a column's own spread counts beside the common one where columns share a unit (pixels, spectra)."""
