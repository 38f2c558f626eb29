"""Decoys: made-up queries such as thieves send, and ordinary queries as an unknown device would send them.

An attacker who does not have the model's own kind of data makes inputs up: single columns drawn apart, uniform values,
blends and patchworks of a few inputs, smooth fields and textures, noise, signed steps. A new device changes all inputs
in the same way: gain, offset, noise, blur, one column that reads otherwise, a category nobody knows. Told apart on rows
that can be made from any reference, what is learned serves for inputs nobody has made up. The idea is outlier exposure
(Hendrycks et al. 2019), with the transformations of honest devices on the ordinary side.

All works on vectors of a ``VectorMap``, ``(n, p)`` float64 in standard deviations of the reference, before far
values are squashed (``Stock.squashed`` does that at the end). No row is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.batch import FloatArray, IntArray
from detectors.clients.vectors import VectorMap, squash, unsquash

GROUP = 50
"""Rows in a row that pass through the same made-up device."""
_ONE_COLUMN = 5


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """Ordinary vectors (n, p) to make others from, with what their columns mean.

    Attributes:
        numeric: how many leading columns are numbers. alike: whether these are of one kind, as pixels are.
        scale (numeric,): one standard deviation in units of the log.
        centre (numeric,): mean in units of the log. blocks: columns of each categorical feature.
        step (n, numeric): for each row the signs of a step towards the mean of another class.
        spread (numeric,), axes (numeric, numeric): deviations along the principal axes of the numbers, largest first.
        kinship (numeric, numeric): cube of how far numbers go together, 1 with themselves, 0 where they do not.
    """

    rows: FloatArray
    numeric: int
    alike: bool
    scale: FloatArray
    centre: FloatArray
    blocks: tuple[slice, ...]
    step: FloatArray
    spread: FloatArray
    axes: FloatArray
    kinship: FloatArray

    @property
    def step_of_kind(self) -> FloatArray:
        """(numeric,) the deviation of all values of all columns together, in units of each column's own.

        What a camera adds to each pixel does not depend on how many of them are background.
        """
        return np.asarray(float(np.sqrt(np.mean(self.scale**2) + np.var(self.centre))) / self.scale)

    def units(self, rng: np.random.Generator) -> FloatArray:
        """(numeric,) one step of each column: its own deviation or, where columns are alike, the same for all."""
        return self.step_of_kind if self.alike and rng.random() < 0.5 else np.ones(self.numeric)

    @classmethod
    def of(cls, source: VectorMap, rows: FloatArray, label: IntArray, rng: np.random.Generator) -> Self:
        p = len(source.centre)
        rows = _loosened(rows, p)
        covariance = np.cov(rows[:, :p].T).reshape(p, p) if p else np.empty((0, 0))
        spread, axes = _principal(covariance)
        step, kinship = _steps(rows[:, :p], label, rng), _kinship(covariance)
        return cls(rows, p, source.one_kind, source.scale, source.centre, source.blocks, step, spread, axes, kinship)

    def loosened(self, vectors: FloatArray) -> FloatArray:
        """A copy of vectors, as ``VectorMap.vectors`` gives them, without the squashing."""
        return _loosened(vectors, self.numeric)

    def drawn(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray]:
        """(n, p) copies of random rows, and which."""
        index = rng.integers(len(self.rows), size=n)
        return self.rows[index].copy(), index

    def squashed(self, rows: FloatArray) -> FloatArray:
        """The rows as ``VectorMap.vectors`` would give them; in place."""
        rows[:, : self.numeric] = squash(rows[:, : self.numeric].copy())
        return rows


def _loosened(vectors: FloatArray, numeric: int) -> FloatArray:
    out = vectors.copy()
    out[:, :numeric] = unsquash(out[:, :numeric])
    return out


def _principal(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    if not len(covariance):
        return np.empty(0), np.empty((0, 0))
    values, axes = np.linalg.eigh(covariance)
    return np.sqrt(np.maximum(values[::-1], 0.0)), axes[:, ::-1]


def _kinship(covariance: FloatArray) -> FloatArray:
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    together = np.clip(covariance / np.outer(deviation, deviation), 0.0, 1.0) ** 3
    np.fill_diagonal(together, 1.0)
    return np.asarray(together)


def _steps(numbers: FloatArray, label: IntArray, rng: np.random.Generator) -> FloatArray:
    """The gradient's sign of a nearest-mean surrogate, towards a class at random; a random sign with one class."""
    classes = np.unique(label)
    if len(classes) < 2:
        return rng.choice([-1.0, 1.0], size=numbers.shape)
    means = np.array([numbers[label == c].mean(axis=0) for c in classes])
    own = np.searchsorted(classes, label)
    other = (own + rng.integers(1, len(classes), size=len(own))) % len(classes)
    return np.asarray(np.sign(means[other] - means[own]))


def decoys(stock: Stock, n: int, rng: np.random.Generator) -> list[FloatArray]:
    """Made-up queries (about n / sorts, p) of every sort; half of each sort through made-up devices."""
    each = max(2, n // len(_SORTS))
    made = []
    for sort in _SORTS:
        rows = sort(stock, each, rng)
        rows[: each // 2] = disguised(stock, rows[: each // 2], rng, GROUP // 3)
        made.append(stock.squashed(rows))
    return made


def disguised(stock: Stock, rows: FloatArray, rng: np.random.Generator, group: int = GROUP) -> FloatArray:
    """(m, p) the rows as devices of ``group`` rows each would send them."""
    out = rows.copy()
    p = stock.numeric
    for first in range(0, len(rows), group):
        part = slice(first, first + group)
        if p:
            out[part, :p] = _device(stock, out[part, :p], rng)
        if stock.blocks and rng.random() < 0.5:
            block = stock.blocks[rng.integers(len(stock.blocks))]
            out[part, block] = _unknown(stock, block)
    return out


def _device(stock: Stock, numbers: FloatArray, rng: np.random.Generator) -> FloatArray:
    p, unit, centre = stock.numeric, np.ones(stock.numeric), np.zeros(stock.numeric)
    if stock.alike and rng.random() < 0.5:
        unit, centre = stock.step_of_kind, stock.centre / stock.scale
    match int(rng.integers(6)) if stock.alike else _ONE_COLUMN:
        case 0:
            return np.asarray(numbers * rng.uniform(0.35, 1.4) + rng.normal(0.0, 0.3) * unit)
        case 1:
            return np.asarray((numbers + centre) * rng.uniform(0.35, 1.4) - centre)
        case 2:
            return np.asarray(numbers + rng.normal(0.0, rng.uniform(0.05, 0.6), numbers.shape) * unit)
        case 3:
            faint = (numbers + centre) * rng.uniform(0.35, 1.0) - centre + rng.uniform(0.0, 1.0) * unit
            return np.asarray(faint + rng.normal(0.0, rng.uniform(0.0, 0.4), numbers.shape) * unit)
        case 4:
            kept = np.where(np.arange(p) < rng.integers(1, p), 1.0, rng.uniform(0.0, 0.9))
            return np.asarray(((numbers @ stock.axes) * kept) @ stock.axes.T)
        case _:
            few = rng.random(p) < max(0.2, 1.0 / p)
            return np.where(few, numbers * rng.uniform(0.6, 1.4, p) + rng.normal(0.0, 0.7, p), numbers)


def _unknown(stock: Stock, block: slice) -> FloatArray:
    """What a category that the reference does not hold looks like: no indicator, and the largest surprise."""
    found = stock.rows[:, block]
    out = found.min(axis=0)
    out[-1] = found[:, -1].max() + 1.0
    return np.asarray(out)


def _shuffled(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    out = np.zeros((n, stock.rows.shape[1]))
    for column in _columns(stock):
        out[:, column] = stock.rows[rng.integers(len(stock.rows), size=n), column]
    return out


def _uniform(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    out = np.zeros((n, stock.rows.shape[1]))
    numbers = stock.rows[:, : stock.numeric]
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    if stock.alike and rng.random() < 0.5:
        least, most = _raw_range(stock, low, high)
        low, high = (least - stock.centre) / stock.scale, (most - stock.centre) / stock.scale
    out[:, : stock.numeric] = rng.uniform(low, high, (n, stock.numeric))
    for block in stock.blocks:
        levels = np.unique(stock.rows[:, block], axis=0)
        out[:, block] = levels[rng.integers(len(levels), size=n)]
    return out


def _partial(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    out, _ = stock.drawn(n, rng)
    other = _shuffled(stock, n, rng)
    share = rng.uniform(0.1, 0.9, n)
    for column in _columns(stock):
        swapped = rng.random(n) < share
        out[swapped, column] = other[swapped, column]
    return out


def _blend(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    out, _ = stock.drawn(n, rng)
    other, _ = stock.drawn(n, rng)
    share = rng.uniform(0.2, 0.8, (n, 1))
    p = stock.numeric
    out[:, :p] = share * out[:, :p] + (1.0 - share) * other[:, :p]
    return out


def _patchwork(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    out, _ = stock.drawn(n, rng)
    other, _ = stock.drawn(n, rng)
    cut = rng.integers(1, max(2, out.shape[1]), size=(n, 1))
    return np.where(np.arange(out.shape[1]) < cut, out, other)


def _smooth(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    """Normal noise along the leading principal axes only: foreign inputs of the same texture."""
    out = _shuffled(stock, n, rng)
    p = stock.numeric
    if p:
        leading = np.arange(p) < rng.integers(1, max(2, p // 2 + 1), size=(n, 1))
        z = rng.standard_normal((n, p)) * stock.spread * leading * rng.uniform(0.5, 2.0, (n, 1))
        out[:, :p] = z @ stock.axes.T + rng.normal(0.0, 0.3, (n, 1))
    return out


def _texture(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    """A level for the whole query and a texture around it, in which columns that go together in ordinary queries do."""
    out = _shuffled(stock, n, rng)
    p = stock.numeric
    if not p:
        return out
    noise = rng.standard_normal((n, p)) @ (stock.kinship / np.linalg.norm(stock.kinship, axis=0))
    wide = noise @ (stock.kinship / stock.kinship.sum(axis=0))
    fine = rng.random((n, 1))
    texture = fine * noise + (1.0 - fine) * wide
    texture -= texture.mean(axis=1, keepdims=True)
    texture /= np.maximum(texture.std(axis=1, keepdims=True), 1e-9)
    numbers = stock.rows[:, :p]
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    if not stock.alike:
        out[:, :p] = np.clip(rng.normal(0.0, 1.0, (n, 1)) + rng.uniform(0.3, 1.5, (n, 1)) * texture, low, high)
        return out
    least, most = _raw_range(stock, low, high)
    raw = rng.uniform(least, most, (n, 1)) + rng.uniform(0.0, 0.3, (n, 1)) * (most - least) * texture
    out[:, :p] = (np.clip(raw, least, most) - stock.centre) / stock.scale
    return out


def _raw_range(stock: Stock, low: FloatArray, high: FloatArray) -> tuple[float, float]:
    """The least and the largest value of any column, in units of the log."""
    return float((low * stock.scale + stock.centre).min()), float((high * stock.scale + stock.centre).max())


def _noisy(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    out, _ = stock.drawn(n, rng)
    p = stock.numeric
    unit = stock.units(rng)
    out[:, :p] += rng.standard_normal((n, p)) * rng.uniform(0.8, 4.0, (n, 1)) * unit
    return out


def _stepped(stock: Stock, n: int, rng: np.random.Generator) -> FloatArray:
    out, index = stock.drawn(n, rng)
    p = stock.numeric
    random = rng.choice([-1.0, 1.0], size=(n, p))
    sign = np.where(rng.random((n, 1)) < 0.5, stock.step[index], random) * rng.choice([-1.0, 1.0], size=(n, 1))
    unit = stock.units(rng)
    out[:, :p] += rng.uniform(0.1, 0.6, (n, 1)) * sign * unit
    return out


def _columns(stock: Stock) -> list[slice]:
    """The columns that belong together: each number, each category."""
    return [*(slice(j, j + 1) for j in range(stock.numeric)), *stock.blocks]


_SORTS: tuple[Callable[[Stock, int, np.random.Generator], FloatArray], ...] = (
    _shuffled,
    _uniform,
    _partial,
    _blend,
    _patchwork,
    _smooth,
    _texture,
    _noisy,
    _stepped,
)
