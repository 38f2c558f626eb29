"""Baseline: what honest clients look like, learned from the reference's clients and never from one of them alone.

The scatter of client means has two parts: S_within / n, which more queries reduce, and S_between, which stays. To the
latter comes what a change of device does to the clients of the reference, by made-up devices. Statistics of
honest clients are computed with the scatter of *other* clients (folds by client), so that tails are those of new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.clients.betabinomial import Rate, beta_binomial_log_pmf
from detectors.extraction.channels import EDGES, FOURIER
from detectors.extraction.heads import Spread, t_squared
from detectors.extraction.history import MIN_PAST, History, known_from_arrays, known_to_arrays
from detectors.extraction.honest import MIN_QUERIES, Honest, Newcomers
from detectors.extraction.tails import Largest, Tail, Tails
from detectors.extraction.wagers import Excuse, Won, won_by_stamps
from detectors.keys import client_key

SIZES = (12, 25, 50, 100, 200, 400, 800)
ENOUGH_CLIENTS = 8
FOLDS = 5
_FLOOR = 1e-3


DEVICE_WEIGHT = 0.3
"""How much a change of device adds to S_between, in units of the scatter of what such changes do; the boldest half of
them counts for its directions only, or a few would hide all that lies along them.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """Spread of mean rows (H1), what bets win (H2, H9 to H11), near-repeat rates (H3), class mix.

    Attributes:
        strange: usual share of queries rarer than 1 in 100.
        excuse: what bets win that who the client is explains.
        tails: what turns statistics into p-values.
    """

    spread: Spread
    strange: float
    excuse: Excuse
    near: tuple[Rate, Rate]
    tails: Tails
    classes: FloatArray
    n_clients: int
    known: Mapping[str, History]

    @property
    def calibration(self) -> str:
        if self.n_clients < ENOUGH_CLIENTS:
            return "few honest clients in the reference"
        return f"{self.n_clients} honest clients in the reference"

    @classmethod
    def fit(
        cls,
        clients: Sequence[Honest],
        newcomers: Newcomers,
        bulk: int,
        classes: FloatArray,
        seed: int,
    ) -> Self:
        """Learn from the clients of a reference; those with few fresh queries add to S_within alone.

        ``bulk`` is the column of ``Excuse``.
        """
        within, overall = _within([c.phi for c in clients])
        axes = _whitening(within)
        able = [c for c in clients if c.fresh >= MIN_QUERIES]
        few = len(able)
        plain = {c.client: (c.phi - overall) @ axes for c in able}
        moved = {c.client: (c.phi - overall) @ axes for c in newcomers.changed if c.client in plain}
        shifts = {name: rows.mean(axis=0) - plain[name][: len(rows)].mean(axis=0) for name, rows in moved.items()}
        centre, between = scatter(list(plain.values()), list(shifts.values()))
        strange = max(0.005, float(np.mean([c.strange.mean() for c in able]))) if able else 0.01
        near = (_rate([c.near[:, 0] for c in able], 0.01, 100.0), _rate([c.near[:, 1] for c in able], 0.05, 100.0))
        others = [c for c in (*newcomers.narrow, *newcomers.unrounded) if c.fresh >= MIN_QUERIES]
        unshown = moved | {c.client: (c.phi - overall) @ axes for c in others}
        sizes, medians, far, far_unshown = _distances(plain, unshown, shifts, np.random.default_rng(seed))
        sorts = (able, newcomers.changed, newcomers.narrow)
        excuse = Excuse.fit(bulk, *([(c.phi, c.won) for c in clients_of_sort] for clients_of_sort in sorts))
        seen = [_seen(c, far.get(c.client, 0.0), near, excuse).shown for c in able]
        imagined = [_seen(c, far_unshown.get(c.client, 0.0), near, excuse).unshown for c in newcomers.everybody]
        tails = Tails.fit(seen, imagined) if few >= ENOUGH_CLIENTS else Tails.unknown()
        return cls(
            Spread(overall + np.linalg.solve(axes.T, centre), axes @ between[0], between[1], sizes, medians),
            strange,
            excuse,
            near,
            tails,
            classes / max(1.0, float(classes.sum())),
            few,
            {client_key(c.client): _history(c) for c in clients if c.fresh >= MIN_PAST},
        )

    def of_shown(self) -> Self:
        """What is known of somebody who cannot be a newcomer, as a model as a whole cannot."""
        return replace(self, tails=Tails(*(tail.of_shown() for tail in self.tails)))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        s = self.spread
        return {
            "centre": s.centre,
            "axes": s.axes,
            "between": s.between,
            "sizes": s.sizes,
            "medians": s.medians,
            **self.excuse.to_arrays(),
            "tails": np.array([tail.to_row() for tail in self.tails]),
            "strange": np.array([self.strange]),
            "rates": np.array([(r.mean, r.concentration) for r in self.near]),
            "classes": self.classes,
            "n_clients": np.array([self.n_clients]),
            **known_to_arrays(self.known),
        }

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        spread = Spread(*(arrays[name] for name in ("centre", "axes", "between", "sizes", "medians")))
        narrow, wide = (Rate(float(m), float(k)) for m, k in arrays["rates"])
        known = known_from_arrays(arrays)
        return cls(
            spread,
            float(arrays["strange"][0]),
            Excuse.load(arrays),
            (narrow, wide),
            Tails(*(Tail.of_row(row) for row in arrays["tails"])),
            arrays["classes"],
            int(arrays["n_clients"][0]),
            known,
        )


def _history(client: Honest) -> History:
    near = client.near.sum(axis=0).tolist()
    won = client.won.sum(axis=0)
    return History(client.fresh, won, len(client.near), (near[0], near[1], near[2]), client.phi.mean(axis=0))


def scatter(
    projected: Sequence[FloatArray], shifts: Sequence[FloatArray] = ()
) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Centre of client means, and the axes and variances of S_between, shrunk towards a sphere and never zero.

    ``projected`` holds each client's rows in units where one query's scatter is the identity, ``shifts`` what a change
    of device does to the means of some.
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
    between = np.maximum((1.0 - shrink) * kept + shrink * sphere, max(floor, 0.1 * sphere))
    if len(shifts):
        devices = np.array(shifts)
        length = np.linalg.norm(devices, axis=1)
        devices *= np.minimum(1.0, np.median(length) / np.maximum(length, 1e-12))[:, None]
        whole = (axes * between) @ axes.T + DEVICE_WEIGHT * devices.T @ devices / len(devices)
        values, axes = np.linalg.eigh(whole)
        between = np.maximum(values, 1e-9)
    return centre, (axes, between)


def _rate(hits: Sequence[NDArray[np.bool_]], nominal: float, ceiling: float) -> Rate:
    return fit_rate([(int(h.sum()), len(h)) for h in hits], nominal, len(hits), ceiling)


def fit_rate(pairs: Sequence[tuple[int, int]], nominal: float, n_clients: int, ceiling: float) -> Rate:
    """Beta distribution of honest rates by maximum likelihood over a grid, as narrow as clients and ceiling allow."""
    hits = float(sum(k for k, _ in pairs))
    total = float(sum(n for _, n in pairs))
    mean = max((hits + 1.0) / (total + 1.0 / nominal), 0.5 * nominal)
    if n_clients < ENOUGH_CLIENTS:
        return Rate(max(2.0 * mean, nominal), min(ceiling, 30.0))
    some = [pair for pair in pairs if pair[1] >= MIN_QUERIES][:400]
    most = min(ceiling, 3.0 * n_clients)
    grid = [c for c in (2.0, 4.0, 8.0, 15.0, 25.0, 40.0, 60.0, 100.0, 200.0, 400.0) if c <= most]
    fits = [sum(beta_binomial_log_pmf(k, n, mean * c, (1 - mean) * c) for k, n in some) for c in grid]
    return Rate(min(mean, 0.9), grid[int(np.argmax(fits))])


def _nearest(hits: NDArray[np.bool_], rates: tuple[Rate, Rate]) -> float:
    """Nats of a client's worst look at (m, 3) near repeats, over sizes and both rates."""
    looks = [(n, part.sum(axis=0)) for n, part in _parts(hits)]
    return max([0.0, *(-rate.log_p(float(h[i]), n) for n, h in looks for i, rate in enumerate(rates))])


def _most_stamped(hits: NDArray[np.bool_]) -> float:
    """Nats that the bet on stamps won at the worst look at (m, 3) near repeats."""
    return max([won_by_stamps(0.0, 0.0), *(won_by_stamps(float(part[:, 2].sum()), n) for n, part in _parts(hits))])


@dataclass(frozen=True, slots=True)
class _Seen:
    """The largest statistics of a client over its looks."""

    distance: float
    repeats: float
    stamps: float
    won: Won

    @property
    def shown(self) -> Largest:
        won = self.won
        return Largest(self.distance, won.asked, self.repeats, won.hard, won.sure, won.apart, self.stamps)

    @property
    def unshown(self) -> Largest:
        won = self.won
        left = (won.hard_left, won.sure_left, won.apart_left)
        return Largest(self.distance, won.asked_left, self.repeats, *left, self.stamps)


def _seen(client: Honest, distance: float, near: tuple[Rate, Rate], excuse: Excuse) -> _Seen:
    worst = Won.nothing()
    for (n, won), (_, rows) in zip(_parts(client.won), _parts(client.phi), strict=True):
        worst = worst.larger(excuse.excess(won.sum(axis=0), n, rows.mean(axis=0)))
    if not len(client.near):
        return _Seen(distance, float("nan"), float("nan"), worst)
    return _Seen(distance, _nearest(client.near, near), _most_stamped(client.near), worst)


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
    """(d, d) such that rows @ it have the identity as scatter; nearly constant directions are held back by a ridge.

    Whether a query is rarer than an edge varies by the edge alone, however seldom this reference shows it.
    """
    levels = (len(within) - 2 * FOURIER) // len(EDGES)
    least = np.concatenate([np.tile(0.5 * EDGES * (1.0 - EDGES), levels), np.full(2 * FOURIER, 1e-4)])
    scale = np.sqrt(np.maximum(np.diag(within), least))
    values, axes = np.linalg.eigh(within / np.outer(scale, scale) + 0.02 * np.eye(len(within)))
    return np.asarray(((axes / np.sqrt(np.maximum(values, 1e-6))).T / scale).T)


def _distances(
    plain: Mapping[str, FloatArray],
    unshown: Mapping[str, FloatArray],
    shifts: Mapping[str, FloatArray],
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray, dict[str, float], dict[str, float]]:
    """Sizes, median T² by size, and the largest T² over it by name; each client by the scatter of the others.

    ``plain`` are the rows of honest clients, ``unshown`` those of made-up ones: some of the same behind a new device,
    and some that are not there.
    """
    k = len(plain)
    d = next(iter(plain.values())).shape[1] if plain else 1
    nothing = np.array([1.0, 1e6]), np.full(2, float(d)), dict[str, float](), dict[str, float]()
    if k < ENOUGH_CLIENTS:
        return nothing
    folds = min(FOLDS, k)
    fold = dict(zip(plain, (rng.permutation(k) % folds).tolist(), strict=True))
    fold = dict(zip(unshown, (np.arange(len(unshown)) % folds).tolist(), strict=True)) | fold
    looks: dict[tuple[str, bool], list[tuple[int, float]]] = {}
    for f in range(folds):
        others = [rows for name, rows in plain.items() if fold[name] != f]
        centre, (axes, between) = scatter(others, [shift for name, shift in shifts.items() if fold[name] != f])
        for made_up, clients in ((False, plain), (True, unshown)):
            for name in (name for name in clients if fold[name] == f):
                means = [(n, (part.mean(axis=0) - centre) @ axes) for n, part in _parts(clients[name])]
                looks[name, made_up] = [(n, t_squared(y, between, n)) for n, y in means]
    table = [
        (n, [t for (_, made_up), found in looks.items() if not made_up for m, t in found if m == n]) for n in SIZES
    ]
    known = [(n, float(np.median(t))) for n, t in table if len(t) >= ENOUGH_CLIENTS]
    if not known:
        return nothing
    sizes, medians = np.array([n for n, _ in known], dtype=np.float64), np.array([m for _, m in known])
    largest: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for (name, made_up), found in looks.items():
        ratios = [t / float(np.interp(np.log(n), np.log(sizes), medians)) for n, t in found]
        largest[made_up][name] = max(ratios, default=0.0)
    return sizes, medians, *largest


def _parts(rows: NDArray[Any]) -> list[tuple[int, NDArray[Any]]]:
    """(n, rows) of the first n for every size that fits, and of the last n where those are others."""
    out = []
    for n in SIZES:
        if len(rows) >= n:
            out.append((n, rows[:n]))
        if len(rows) >= 2 * n:
            out.append((n, rows[-n:]))
    return out
