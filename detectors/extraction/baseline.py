"""Baseline: what honest clients look like, learned from the reference's clients and never from one of them alone.

The scatter of client means has two parts: S_within / n, which more queries reduce, and S_between, which stays.
Statistics of honest clients are computed with the scatter of *other* clients (folds by client), so that the tail is
what a new honest client would show. Beyond the data it is a generalised Pareto, thicker the fewer clients there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.extraction.heads import BODY, Rate, Spread, beta_binomial_log_sf, t_squared
from detectors.extraction.history import MIN_PAST, History, known_from_arrays, known_to_arrays
from detectors.keys import client_key

SIZES = (12, 25, 50, 100, 200, 400, 800)
MIN_QUERIES = 10
ENOUGH_CLIENTS = 8
FOLDS = 5
_FLOOR = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Honest:
    """One honest client's fresh channel rows (m, d) and its counts, in time order."""

    client: str
    phi: FloatArray
    strange: tuple[int, int]
    fresh: int
    near: tuple[int, int]
    compared: int


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Spread of mean rows (H1), strange rates at 1 in 100 and 1 in 20 (H2), near-repeat rates (H3), class mix."""

    spread: Spread
    strange: tuple[Rate, Rate]
    near: tuple[Rate, Rate]
    classes: FloatArray
    n_clients: int
    known: Mapping[str, History]

    @property
    def calibration(self) -> str:
        if self.n_clients < ENOUGH_CLIENTS:
            return "few honest clients in the reference"
        return f"{self.n_clients} honest clients in the reference"

    @classmethod
    def fit(cls, clients: Sequence[Honest], classes: FloatArray, seed: int) -> Self:
        """Learn from the clients of a reference; those with few fresh queries add to S_within alone."""
        within, overall = _within([c.phi for c in clients])
        axes = _whitening(within)
        able = [c for c in clients if len(c.phi) >= MIN_QUERIES]
        projected = [(c.phi - overall) @ axes for c in able]
        centre, between = scatter(projected)
        place = overall + np.linalg.solve(axes.T, centre)
        tail = _tail(projected, np.random.default_rng(seed))
        spread = Spread(place, axes @ between[0], between[1], tail.sizes, tail.medians, *tail.shape)
        few = len(able)
        return cls(
            spread,
            (
                fit_rate([(c.strange[0], c.fresh) for c in able], 0.01, few, 60.0),
                fit_rate([(c.strange[1], c.fresh) for c in able], 0.05, few, 60.0),
            ),
            (
                fit_rate([(c.near[0], c.compared) for c in able], 0.01, few, 40.0),
                fit_rate([(c.near[1], c.compared) for c in able], 0.05, few, 40.0),
            ),
            classes / max(1.0, float(classes.sum())),
            few,
            {client_key(c.client): _history(c) for c in clients if c.fresh >= MIN_PAST},
        )

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        s = self.spread
        rates = [(r.mean, r.concentration, r.stretch) for r in (*self.strange, *self.near)]
        return {
            "centre": s.centre,
            "axes": s.axes,
            "between": s.between,
            "sizes": s.sizes,
            "medians": s.medians,
            "tail": np.array([s.body, s.excess, s.tail]),
            "rates": np.array(rates),
            "classes": self.classes,
            "n_clients": np.array([self.n_clients]),
            **known_to_arrays(self.known),
        }

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        body, excess, tail = arrays["tail"].tolist()
        spread = Spread(
            arrays["centre"], arrays["axes"], arrays["between"], arrays["sizes"], arrays["medians"], body, excess, tail
        )
        a, b, c, d = (Rate(float(m), float(k), float(s)) for m, k, s in arrays["rates"])
        known = known_from_arrays(arrays)
        return cls(spread, (a, b), (c, d), arrays["classes"], int(arrays["n_clients"][0]), known)


def _history(client: Honest) -> History:
    near, strange = client.near, client.strange
    mean = client.phi.mean(axis=0)
    return History(client.fresh, (strange[0], strange[1]), client.compared, (near[0], near[1]), mean)


def scatter(projected: Sequence[FloatArray]) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Centre of client means, and the axes and variances of S_between, shrunk towards a sphere and never zero.

    ``projected`` holds each client's rows in units where one query's scatter is the identity.
    """
    d = projected[0].shape[1] if projected else 1
    if len(projected) < 2:
        return np.zeros(d), (np.eye(d), np.full(d, 0.05))
    means = np.array([rows.mean(axis=0) for rows in projected])
    n = np.array([len(rows) for rows in projected], dtype=np.float64)
    weight = n / (n + 30.0)
    centre = np.average(means, axis=0, weights=weight)
    gap = means - centre
    size = np.sqrt(np.sum(gap**2, axis=1) / (0.02 + 1.0 / n))
    gap *= np.minimum(1.0, 3.0 * np.median(size) / np.maximum(size, 1e-12))[:, None]
    raw = (gap * weight[:, None]).T @ gap / weight.sum() * len(n) / max(1, len(n) - 1)
    raw -= np.eye(d) * float(np.average(1.0 / n, weights=weight))
    values, axes = np.linalg.eigh(raw)
    kept = np.maximum(values, 0.0)
    sphere = float(kept.sum()) / d
    shrink = max(0.1, d / (d + 2.0 * len(n)))
    floor = _FLOOR if len(n) >= ENOUGH_CLIENTS else 0.05
    return centre, (axes, np.maximum((1.0 - shrink) * kept + shrink * sphere, max(floor, 0.1 * sphere)))


def fit_rate(pairs: Sequence[tuple[int, int]], nominal: float, n_clients: int, ceiling: float) -> Rate:
    """Beta distribution of honest rates by maximum likelihood over a grid, never narrower than ``ceiling`` allows."""
    hits = float(sum(k for k, _ in pairs))
    total = float(sum(n for _, n in pairs))
    rates = np.array([k / n for k, n in pairs if n >= MIN_QUERIES])
    mean = max((hits + 1.0) / (total + 1.0 / nominal), float(rates.mean()) if len(rates) else 0.0, 0.5 * nominal)
    if n_clients < ENOUGH_CLIENTS:
        return Rate(max(2.0 * mean, nominal), min(ceiling, 30.0))
    some = [pair for pair in pairs if pair[1] >= MIN_QUERIES][:400]
    grid = [c for c in (2.0, 4.0, 8.0, 15.0, 25.0, 40.0, 60.0) if c <= ceiling]
    fits = [sum(_log_pmf(k, n, mean * c, (1 - mean) * c) for k, n in some) for c in grid]
    fitted = Rate(min(mean, 0.9), grid[int(np.argmax(fits))])
    return replace(fitted, stretch=_stretch([fitted.log_p(k, n) for k, n in some]))


def _stretch(log_p: Sequence[float]) -> float:
    """What brings the p-values of honest clients back to uniform in their lowest tenth; 1 where they are already.

    The lowest few are left out: one odd client is known by its own history and must not blind the head to others.
    """
    n = len(log_p)
    ordered = np.sort(log_p)
    ranks = np.arange(max(2, n // 50), max(3, n // 10))
    ranks = ranks[ranks < n]
    if not len(ranks) or ordered[ranks[0]] >= 0:
        return 1.0
    expected = np.log((ranks + 1.0) / n)
    seen = np.minimum(ordered[ranks], -1e-9)
    return float(np.clip(np.min(expected / seen), 0.2, 1.0))


def _log_pmf(k: int, n: int, a: float, b: float) -> float:
    upper = beta_binomial_log_sf(k, n, a, b)
    lower = beta_binomial_log_sf(k + 1, n, a, b) if k < n else -np.inf
    return float(upper + np.log(max(-np.expm1(lower - upper), 1e-12)))


def _within(rows: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Pooled scatter of one query about its client's mean, and the mean over clients; big clients are capped."""
    capped = [r[:400] for r in rows if len(r) >= 2]
    if not capped:
        joined = np.concatenate(list(rows)) if rows else np.zeros((2, 1))
        return np.cov(joined.T).reshape(joined.shape[1], -1), joined.mean(axis=0)
    centred = np.concatenate([r - r.mean(axis=0) for r in capped])
    freedom = max(1, sum(len(r) - 1 for r in capped))
    return centred.T @ centred / freedom, np.average([r.mean(axis=0) for r in capped], axis=0)


def _whitening(within: FloatArray) -> FloatArray:
    """(d, d) such that rows @ it have the identity as scatter; nearly constant directions are held back by a ridge."""
    scale = np.sqrt(np.maximum(np.diag(within), 1e-4))
    values, axes = np.linalg.eigh(within / np.outer(scale, scale) + 0.02 * np.eye(len(within)))
    return np.asarray(((axes / np.sqrt(np.maximum(values, 1e-6))).T / scale).T)


@dataclass(frozen=True, slots=True, eq=False)
class _Tail:
    """Medians of T² by size, and (body, excess, tail) of T² over its median."""

    sizes: FloatArray
    medians: FloatArray
    shape: tuple[float, float, float]


def _tail(projected: Sequence[FloatArray], rng: np.random.Generator) -> _Tail:
    """How T² of honest clients is distributed when every client is judged by the scatter of the others."""
    k = len(projected)
    d = projected[0].shape[1] if projected else 1
    plain = _Tail(np.array([1.0, 1e6]), np.full(2, float(d)), (3.0, 2.0, 0.5))
    if k < ENOUGH_CLIENTS:
        return plain
    fold = rng.permutation(k) % min(FOLDS, k)
    found: list[tuple[int, int, float]] = []
    for f in range(int(fold.max()) + 1):
        centre, (axes, between) = scatter([rows for rows, g in zip(projected, fold, strict=True) if g != f])
        for i in np.flatnonzero(fold == f).tolist():
            found += [(i, n, t_squared((m - centre) @ axes, between, n)) for n, m in _blocks(projected[i])]
    table = [(n, np.array([t for _, m, t in found if m == n])) for n in SIZES]
    known = [(n, float(np.median(t))) for n, t in table if len(t) >= 8]
    if not known:
        return plain
    sizes, medians = np.array([n for n, _ in known], dtype=np.float64), np.array([m for _, m in known])
    who = np.array([i for i, _, _ in found])
    ratios = np.array([t / np.interp(np.log(n), np.log(sizes), medians) for _, n, t in found])
    return _Tail(sizes, medians, pareto_tail(ratios, who, k))


def _blocks(rows: FloatArray) -> list[tuple[int, FloatArray]]:
    """(n, mean row) of the first n queries for every size that fits, and of the last n where that is other data."""
    out = []
    for n in SIZES:
        if len(rows) >= n:
            out.append((n, rows[:n].mean(axis=0)))
        if len(rows) >= 2 * n:
            out.append((n, rows[-n:].mean(axis=0)))
    return out


def pareto_tail(ratios: FloatArray, who: IntArray, n_clients: int) -> tuple[float, float, float]:
    """Level of the top ``BODY`` share, and scale and shape beyond it, enlarged for what few clients cannot show."""
    body = float(np.quantile(ratios, 1.0 - BODY))
    over = ratios > body
    beyond = ratios[over] - body
    independent = max(1, len(set(who[over].tolist())))
    least = 0.3 if n_clients < 20 else 0.2 if n_clients < 50 else 0.12
    if len(beyond) < 3:
        return max(body, 1.0), 0.5, max(least, 0.3)
    mean, variance = float(beyond.mean()), float(beyond.var())
    moment = 0.5 * (1.0 - mean**2 / max(variance, 1e-12))
    caution = 1.0 + 1.0 / np.sqrt(independent)
    return max(body, 1.0), float(max(mean * caution, 0.15)), float(np.clip(moment, least, 0.5))
