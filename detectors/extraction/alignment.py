"""Alignment: whether some accounts deviate in one and the same direction, as those of one thief do.

Every account's deviation from the crowd is measured in units in which honest accounts scatter alike in all directions.
Each account and its nearest neighbours by angle form a group; what its members' deviations have in common, the sum of
their inner products, is compared with the largest such sum among honest accounts. Those are drawn from the
reference's own clients, every one measured by the scatter of others, as many together as there are accounts now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.extraction.baseline import FOLDS, scatter
from detectors.extraction.heads import UNEVEN_DRIFT, Spread
from detectors.extraction.honest import Honest

SIZES = (6, 12, 24, 48)
"""Members of the groups that are tried."""
LEAST_QUERIES = 6
LEAST_ACCOUNTS = 12
LOUDEST = 1.5
"""An account counts at most this many times the median deviation: one loud account is no group."""
ROUNDS = 120
BODY = 0.1
"""Share of the largest finds of honest rounds that the tail is learned from."""
_SPAN = (8, 40)
_CROWDS = (12, 25, 50, 100, 200, 400, 800, 1_600)
_TAIL = 0.1
_NORMAL_TENTH = 1.2816
_BLENDED = 4
Draw = Callable[[IntArray], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How closely honest accounts align by chance.

    Attributes:
        crowd: accounts in each round of the calibration.
        usual: median length of an account's deviation in those rounds.
        tail: (sizes, 2) level that the largest agreement reaches in a tenth of the rounds, and the mean excess over it.
        growth: (sizes, len(_CROWDS)) how much larger the largest agreement is among more accounts.
    """

    crowd: int
    usual: float
    tail: FloatArray
    growth: FloatArray

    @classmethod
    def fit(cls, clients: Sequence[Honest], spread: Spread, seed: int) -> Self | None:
        """Learn from the clients of a reference; None where there are too few."""
        able = [(c.phi - spread.centre) @ spread.axes for c in clients if len(c.phi) >= LEAST_QUERIES]
        crowd = len(able)
        if crowd < LEAST_ACCOUNTS:
            return None
        rng = np.random.default_rng(seed)
        draw = _honest_deviations(able, rng)
        everyone = np.arange(crowd)
        rounds = [draw(everyone) for _ in range(ROUNDS)]
        usual = float(np.median([np.median(np.linalg.norm(z, axis=1)) for z in rounds]))
        largest = np.array([_largest(quietened(z, usual)) for z in rounds])
        blend = _blender(draw, crowd, usual, rng)
        base = [max(crowd, 2 * size) for size in SIZES]
        for j, size in enumerate(SIZES):
            if 2 * size > crowd:
                largest[:, j] = [blend(2 * size)[j] for _ in range(ROUNDS)]
        return cls(crowd, usual, np.array([_tail(column) for column in largest.T]), _growth(blend, base))

    def log_p(self, largest: FloatArray, n_accounts: int) -> FloatArray:
        """(sizes,) natural logs of the p-values of the largest agreement of each size among ``n_accounts``."""
        grown = [np.interp(np.log(n_accounts), np.log(_CROWDS), row) for row in self.growth]
        body, excess = (self.tail * np.array(grown)[:, None]).T
        beyond = np.maximum(np.nan_to_num(largest) - body, 0.0)
        log_p = np.log(BODY) - np.log1p(_TAIL * beyond / excess) / _TAIL
        return np.where(np.isnan(largest) | (largest <= body), 0.0, log_p)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"shape": np.array([self.crowd, self.usual]), "tail": self.tail, "growth": self.growth}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self | None:
        if not arrays:
            return None
        crowd, usual = arrays["shape"].tolist()
        return cls(int(crowd), usual, arrays["tail"], arrays["growth"])


def deviations(means: FloatArray, n: FloatArray, spread: Spread) -> FloatArray:
    """(k, d) how each account with this mean row of n queries deviates from the crowd of all k, in honest units.

    The middle of the crowd counts as drift, which accounts may have followed more or less.
    """
    y = (means - spread.centre) @ spread.axes
    way = np.median(y, axis=0)
    variance = (
        spread.between + UNEVEN_DRIFT * (way * way + float(np.mean(way * way))) + 1.0 / np.maximum(n, 1.0)[:, None]
    )
    length = np.sum(way * way / variance, axis=1)
    followed = np.clip(np.sum(y * way / variance, axis=1) / np.maximum(length, 1e-12), 0.0, 1.5)
    return np.asarray((y - followed[:, None] * way) / np.sqrt(variance))


def quietened(z: FloatArray, usual: float) -> FloatArray:
    """Deviations of a crowd that is louder than usual, or of a member louder than the crowd, scaled down."""
    lengths = np.linalg.norm(z, axis=1)
    middle = float(np.median(lengths))
    scale = np.minimum(1.0, LOUDEST * middle / np.maximum(lengths, 1e-12)) * min(1.0, usual / max(middle, 1e-12))
    return np.asarray(z * scale[:, None])


def agreements(z: FloatArray) -> tuple[FloatArray, IntArray]:
    """(k, sizes) agreement of each account's group, NaN for too large sizes; (k, m) its nearest, itself first.

    Agreement is the mean over members of the inner products with the others. Cost: k² d.
    """
    k = len(z)
    most = min(SIZES[-1], k)
    unit = (z / np.maximum(np.linalg.norm(z, axis=1), 1e-12)[:, None]).astype(np.float32)
    angle = unit @ unit.T
    np.fill_diagonal(angle, 2.0)
    near = np.argpartition(-angle, most - 1, axis=1)[:, :most]
    order = np.argsort(-np.take_along_axis(angle, near, axis=1), axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    out = np.full((k, len(SIZES)), np.nan)
    square = np.sum(z * z, axis=1)
    total, added = np.zeros_like(z), 0
    for j, size in enumerate(SIZES):
        if 2 * size <= k:
            group = near[:, :size]
            for i in range(added, size):
                total += z[group[:, i]]
            added = size
            found = (np.sum(total * total, axis=1) - square[group].sum(axis=1)) / size
            out[:, j] = found / _breadth(z, total, group)
    return out, near.astype(np.int64)


def _breadth(z: FloatArray, total: FloatArray, group: IntArray) -> FloatArray:
    """(k,) variance of all accounts but the group's along the group's direction, from the outer tenths; at least 1."""
    way = total / np.maximum(np.linalg.norm(total, axis=1), 1e-12)[:, None]
    place = way @ z.T
    np.put_along_axis(place, group, np.nan, axis=1)
    place.sort(axis=1)
    rest = len(z) - group.shape[1]
    low, high = place[:, int(0.1 * rest)], place[:, int(np.ceil(0.9 * rest)) - 1]
    return np.asarray(np.maximum(1.0, (np.maximum(high, -low) / _NORMAL_TENTH) ** 2))


def _honest_deviations(projected: Sequence[FloatArray], rng: np.random.Generator) -> Draw:
    """A function from positions of clients to the deviations of a random piece of each, seen by the others' scatter."""
    k = len(projected)
    fold = rng.permutation(k) % min(FOLDS, k)
    views = []
    for f in range(int(fold.max()) + 1):
        centre, (axes, between) = scatter([rows for rows, g in zip(projected, fold, strict=True) if g != f])
        views.append((centre, axes, between))

    lengths = np.array([len(rows) for rows in projected])

    def draw(who: IntArray) -> FloatArray:
        n = np.minimum(lengths[who], rng.integers(_SPAN[0], _SPAN[1] + 1, size=len(who)))
        starts = rng.integers(lengths[who] - n + 1)
        pieces = zip(who.tolist(), starts.tolist(), n.tolist(), strict=True)
        sums = np.array([np.add.reduce(projected[i][s : s + m]) for i, s, m in pieces])
        means: FloatArray = sums / n[:, None]
        middle = np.median(means, axis=0)
        out = np.empty_like(means)
        for f, (_, axes, between) in enumerate(views):
            inside = fold[who] == f
            y = (means[inside] - middle) @ axes
            out[inside] = (y / np.sqrt(between + 1.0 / n[inside][:, None])) @ axes.T
        return out

    return draw


def _largest(z: FloatArray) -> FloatArray:
    """(sizes,) the largest agreement of each size, NaN for too large ones."""
    return np.asarray(agreements(z)[0].max(axis=0))


def _tail(largest: FloatArray) -> tuple[float, float]:
    """Level and mean excess over the top ``BODY`` share, enlarged for what few rounds cannot show."""
    body = max(float(np.quantile(largest, 1.0 - BODY)), 1.0)
    over = largest[largest > body] - body
    excess = float(over.mean() * (1.0 + 1.0 / np.sqrt(len(over)))) if len(over) else 0.0
    return body, max(excess, 0.05 * body)


def _blender(draw: Draw, n_clients: int, usual: float, rng: np.random.Generator) -> Callable[[int], FloatArray]:
    """A function from a number of accounts, more than the reference has clients, to their largest agreements.

    Each account is a blend of some clients' deviations: it keeps the directions in which honest clients scatter, and
    no two accounts are the same client.
    """

    def blend(n: int) -> FloatArray:
        parts = np.stack([draw(rng.integers(n_clients, size=n)) for _ in range(_BLENDED)])
        weight = np.abs(rng.standard_normal((_BLENDED, n, 1)))
        return _largest(quietened(np.sum(weight / np.linalg.norm(weight, axis=0) * parts, axis=0), usual))

    return blend


def _growth(blend: Callable[[int], FloatArray], base: Sequence[int]) -> FloatArray:
    """(sizes, crowds) largest agreement among that many accounts over that among the ``base`` of that size."""
    start = np.array([np.mean([blend(n)[j] for _ in range(16)]) for j, n in enumerate(base)])
    out = np.ones((len(SIZES), len(_CROWDS)))
    for i, n in enumerate(_CROWDS):
        larger = np.array([n > b for b in base])
        if larger.any():
            found = np.mean([blend(n) for _ in range(8 if n < 400 else 3)], axis=0)
            out[larger, i] = np.maximum(found / start, 1.0)[larger]
    return out
