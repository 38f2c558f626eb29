"""Encoding: features of mixed type as rows of one numeric space, the same for every batch.

Numbers are centred and scaled robustly, then compressed beyond four spreads, so that one wild column is heard without
drowning the others. Categories become weighted one-hot coordinates, the rarer the heavier. Whatever cannot be placed
(missing where it never is, infinite, a category never seen) adds to one *oddity* coordinate by its surprise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.drift.texts import CHARACTERS, NON_LETTERS, UNKNOWN, WORDS, Texts
from detectors.drift.texts import Vocabulary as Words
from detectors.roles import Role
from detectors.schema import Schema, categorical_column, category, numeric_matrix

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


def expand(compressed: FloatArray) -> FloatArray:
    """Inverse of ``compress``, up to ±1e12."""
    out = np.array(compressed, dtype=np.float64)
    wild = np.abs(out) > KNEE
    out[wild] = np.sign(out[wild]) * KNEE * np.exp(np.minimum(np.abs(out[wild]) / KNEE - 1.0, 26.0))
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The features of n events: numbers (n, p) with NaN for missing, and category codes (n, c).

    ``sizes``: (c,) how many categories of each column are known.
    """

    numeric: FloatArray
    codes: IntArray
    sizes: IntArray

    def __len__(self) -> int:
        return len(self.numeric)

    def take(self, index: Any) -> Columns:
        return Columns(self.numeric[index], self.codes[index], self.sizes)

    def absent(self) -> NDArray[np.bool_]:
        """(n,) bool: events that logged none of the features."""
        return np.asarray(np.all(np.isnan(self.numeric), axis=1) & np.all(self.codes == MISSING, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """Names of the watched features, and the categories of each categorical one, most frequent first.

    A free text counts by four numbers: its length in characters and words, its share of what is no letter, and its
    share of words that the reference does not know (``detectors/drift/texts.py``).
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...] = ()
    words: tuple[Words, ...] = ()

    @classmethod
    def learn(cls, batch: EventBatch, schema: Schema) -> Vocabulary:
        categorical, texts = schema.categories, schema.names(Role.TEXT)
        return cls(
            schema.numbers,
            categorical,
            tuple(_most_frequent(_raw(batch, name)) for name in categorical),
            texts,
            tuple(Words.learn(Texts.read(categorical_column(batch, name))) for name in texts),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns: the numbers, those that texts were turned into, then the categories."""
        measures = (CHARACTERS, WORDS, NON_LETTERS, UNKNOWN)
        return self.numeric + tuple(name + m for name in self.texts for m in measures) + self.categorical

    def read(self, batch: EventBatch) -> Columns:
        """The batch's features as numbers and codes; columns that the batch lacks are missing."""
        return self._columns(batch, Words.unknown_share)

    def read_reference(self, batch: EventBatch) -> Columns:
        """The same of the batch that this was learned from: no text's own words are known because of itself."""
        return self._columns(batch, Words.unknown_share_left_out)

    def _columns(self, batch: EventBatch, unknown: Callable[[Words, Texts], FloatArray]) -> Columns:
        codes = np.full((len(batch), len(self.categorical)), MISSING, dtype=np.int64)
        sizes = np.array([len(known) for known in self.categories], dtype=np.int64)
        for j, (name, known) in enumerate(zip(self.categorical, self.categories, strict=True)):
            codes[:, j] = _encode(_raw(batch, name), {text: i for i, text in enumerate(known)})
        numeric = numeric_matrix(batch, self.numeric).reshape(len(batch), len(self.numeric))
        if not self.texts:
            return Columns(numeric, codes, sizes)
        measured = [numeric]
        for name, words in zip(self.texts, self.words, strict=True):
            read = Texts.read(categorical_column(batch, name))
            lengths = [np.log1p(length) for length in (read.characters, read.words)]
            measured.append(np.stack([*lengths, read.non_letters, unknown(words, read)], axis=1))
        return Columns(np.concatenate(measured, axis=1), codes, sizes)

    def to_json(self) -> dict[str, Any]:
        return {
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "categories": [list(known) for known in self.categories],
            "texts": list(self.texts),
        }

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {f"words/{i}": words.hashes for i, words in enumerate(self.words)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> Vocabulary:
        texts = tuple(data.get("texts", ()))
        return cls(
            tuple(data["numeric"]),
            tuple(data["categorical"]),
            tuple(tuple(known) for known in data["categories"]),
            texts,
            tuple(Words(np.asarray(arrays[f"words/{i}"], np.uint64)) for i in range(len(texts))),
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
        met: for each of these whether the rows behind this encoder held it: a category that only other rows of the
            reference held is as new to it as any.
        sizes: (c,) known categories of each column.
        hot: per categorical column how many of its categories have a coordinate of their own.
        n_reference: rows behind it.
    """

    centre: FloatArray
    scale: FloatArray
    states: FloatArray
    surprises: FloatArray
    met: NDArray[np.bool_]
    sizes: IntArray
    hot: IntArray
    n_reference: int

    @classmethod
    def learn(cls, columns: Columns) -> Encoder:
        """Fit on reference columns."""
        n, sizes = len(columns), columns.sizes
        centre, scale = _location_scale(columns.numeric)
        counts = [_counts(columns.codes[:, j], size) for j, size in enumerate(sizes)]
        surprises = [-np.log((found + 0.5) / (n + 1.0)) for found in counts]
        per_column = MAX_ONE_HOT // max(len(sizes), 1)
        return cls(
            centre,
            scale,
            _state_surprise(columns.numeric),
            np.concatenate(surprises) if surprises else np.empty(0),
            np.concatenate([found > 0 for found in counts]) if counts else np.empty(0, dtype=bool),
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
        codes = self.known_codes(columns.codes)
        out[:, -1] = compress(self._oddity(codes, state))
        self._one_hot(codes, out[:, p:-1])
        return out

    def known_codes(self, codes: IntArray) -> IntArray:
        """(n, c) codes with categories that this encoder never met as unseen."""
        out = codes.copy()
        start = 0
        for j, size in enumerate(self.sizes):
            if size:
                met = self.met[start : start + size]
                out[:, j] = np.where((codes[:, j] >= 0) & ~met[np.maximum(codes[:, j], 0)], UNSEEN, codes[:, j])
            start += size + 2
        return out

    def one_hot_gap(self, codes: IntArray, neighbours: FloatArray) -> FloatArray:
        """(n, c) squared distance of each categorical column from the neighbours' mean, one-hot coordinates first."""
        own = np.zeros((len(codes), int(self.hot.sum())))
        self._one_hot(codes, own)
        square = (own - neighbours[:, : own.shape[1]]) ** 2
        ends = np.cumsum(self.hot)
        return np.stack(
            [square[:, end - hot : end].sum(axis=1) for end, hot in zip(ends, self.hot, strict=True)]
            or [np.empty(len(codes))],
            axis=1,
        )[:, : len(self.hot)]

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
        state = number_state(numeric)
        if not state.any():
            return np.broadcast_to(self.states[:, FINITE], numeric.shape)
        return np.asarray(self.states[np.arange(self.states.shape[0]), state])

    def _oddity(self, codes: IntArray, state: IntArray) -> FloatArray:
        if state.any():
            odd = np.where(state == FINITE, 0.0, self.states[np.arange(self.states.shape[0]), state]).sum(axis=1)
        else:
            odd = np.zeros(len(state))
        if codes.shape[1]:
            unplaced = (codes < 0) | (codes >= self.hot)
            odd = odd + np.where(unplaced, self.category_surprise(codes), 0.0).sum(axis=1)
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


def _counts(codes: IntArray, size: int) -> FloatArray:
    """(size + 2,) rows by category, then missing, then unseen."""
    shifted = np.where(codes >= 0, codes, size - 1 - codes)
    return np.bincount(shifted, minlength=size + 2).astype(np.float64)


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
