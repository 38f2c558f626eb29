"""Thieves: each attack is a sequence of queries in the order in which its paper sends them.

far domain      knockoff random and adaptive (Orekondy et al. 2019), uniform noise, grid sweeps
near domain     a neighbouring data set, columns shuffled, JBDA (Papernot et al. 2017; Juuti et al. 2019)
active          uncertainty and k-centre sampling (Pal et al. 2020) from a pool of the victim's own kind of data
walks           line search (Tramèr et al. 2016; Lowd and Meek 2005), walks along the boundary
in domain       the victim's own kind of data, as it comes: nothing in a single query gives it away
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from tests.benchmarks.extraction.surrogate import Surrogate
from tests.benchmarks.extraction.traffic import PANES, Stream
from tests.benchmarks.extraction.worlds import Rows, World

Sequence_ = Callable[[World, np.random.Generator, int], Rows]
Family = Literal["far", "near", "active", "walk", "in domain"]
QUERIES = 500
ROUND = 50
"""Queries between two trainings of an adaptive thief's surrogate."""


@dataclass(frozen=True)
class Attack:
    """A named attack; the first k queries of a longer sequence are what a thief with k queries would send."""

    name: str
    family: Family
    queries: Sequence_


def knockoff(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Random foreign data."""
    return world.foreign(rng, n)


def knockoff_adaptive(world: World, rng: np.random.Generator, n: int) -> Rows:
    """A gradient bandit over kinds of foreign data; rewards: certainty, diversity and loss of the surrogate."""
    kinds = world.foreign_kinds
    preference, mean_reward = np.zeros(len(kinds)), 0.0
    surrogate, history = Surrogate(world), np.zeros(world.n_classes)
    sent: list[Rows] = []
    rewards: list[Rows] = []
    step = 10
    while len(sent) * step < n:
        policy = np.exp(preference - preference.max())
        policy /= policy.sum()
        kind = int(rng.choice(len(kinds), p=policy))
        rows = kinds[kind](rng, step)
        scores = world.answer(rows).scores
        top = np.sort(scores, axis=1)
        diversity = np.maximum(0.0, scores.mean(axis=0) - history / max(1.0, history.sum())).sum()
        loss = -np.mean(np.sum(scores * np.log(surrogate.probabilities(rows) + 1e-9), axis=1))
        rewards.append(np.array([np.mean(top[:, -1] - top[:, -2]), diversity, loss]))
        seen = np.array(rewards[-20:])
        spread = np.ptp(seen, axis=0)
        reward = float(np.mean((rewards[-1] - seen.min(axis=0)) / np.where(spread > 0, spread, 1.0)))
        mean_reward += (reward - mean_reward) / len(rewards)
        gap = -policy
        gap[kind] += 1.0
        preference += 1.0 * (reward - mean_reward) * gap
        history += scores.sum(axis=0)
        sent.append(rows)
        if len(sent) * step % ROUND == 0:
            surrogate = surrogate.trained(np.concatenate(sent))
    return np.concatenate(sent)[:n]


def jbda(world: World, rng: np.random.Generator, n: int, step: float = 0.1, seeds: int = 40) -> Rows:
    """Jacobian-based augmentation: all that is known, moved by ``step`` along the sign of the surrogate's gradient for
    the answered class, towards it and away from it in turns; every substitute round doubles what is known.
    """
    known = world.honest(rng)(seeds)
    numeric = world.numeric
    towards = 1.0
    while len(known) < n:
        surrogate = Surrogate(world).trained(known)
        gradient = surrogate.gradient(known, world.answer(known).label, rng)
        new = known.copy()
        new[:, numeric] += towards * step * np.sign(gradient) * world.spread[numeric]
        known = np.concatenate([known, world.valid(new)])
        towards = -towards
    return known[:n]


def uncertainty(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Of a pool, in rounds, what the surrogate so far is least sure of."""
    pool = world.honest(rng)(4 * n)
    chosen = list(range(ROUND))
    while len(chosen) < n:
        surrogate = Surrogate(world).trained(pool[chosen])
        top = np.sort(surrogate.probabilities(pool), axis=1)
        margin = top[:, -1] - top[:, -2]
        margin[chosen] = np.inf
        chosen += np.argsort(margin, kind="stable")[:ROUND].tolist()
    return pool[chosen[:n]]


def k_centre(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Of a pool, greedily what lies farthest from everything sent before (Gonzalez 1985)."""
    pool = world.honest(rng)(3 * n)
    points = world.vectors(pool).astype(np.float32)
    chosen = [0]
    gap = np.full(len(pool), np.inf)
    while len(chosen) < n:
        offset = points - points[chosen[-1]]
        gap = np.minimum(gap, np.einsum("ij,ij->i", offset, offset))
        chosen.append(int(gap.argmax()))
    return pool[chosen]


def line_search(world: World, rng: np.random.Generator, n: int, halvings: int = 8) -> Rows:
    """Between pairs of ordinary rows with different answers: halving towards where the answer changes."""
    pairs = 1 + n // halvings
    ends = world.honest(rng)(4 * pairs)
    label = world.answer(ends).label
    a, b = ends[: 2 * pairs : 2], ends[1 : 2 * pairs : 2]
    for i in range(pairs):
        other = np.flatnonzero(label != label[2 * i])
        if len(other):
            b[i] = ends[rng.choice(other)]
    first = world.answer(a).label
    low, high = np.zeros(pairs), np.ones(pairs)
    steps = []
    for _ in range(halvings):
        middle = (low + high) / 2
        point = between(world, a, b, middle)
        same = world.answer(point).label == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
        steps.append(point)
    return np.stack(steps, axis=1).reshape(-1, ends.shape[1])[:n]


def boundary_walk(world: World, rng: np.random.Generator, n: int, step: float = 0.05) -> Rows:
    """From a point next to the boundary, small random steps, each brought back to the boundary by two halvings."""
    start = line_search(world, rng, 400, 10)
    at = start[9::10][: max(1, n // 100)]
    numeric = world.numeric
    sent: list[Rows] = []
    label = world.answer(at).label
    while sum(map(len, sent)) < n:
        moved = at.copy()
        noise = rng.standard_normal((len(at), len(numeric))) / np.sqrt(len(numeric))
        moved[:, numeric] += step * np.sqrt(len(numeric)) * noise * world.spread[numeric]
        moved = world.valid(moved)
        halves = [moved]
        for _ in range(2):
            crossed = (world.answer(halves[-1]).label != label)[:, None]
            halves.append(np.where(crossed, (halves[-1] + at) / 2, halves[-1] + (halves[-1] - at) / 2))
        at = world.valid(halves[-1])
        sent += [world.valid(h) for h in halves]
    return np.stack(sent, axis=1).reshape(-1, at.shape[1])[:n]


def between(world: World, a: Rows, b: Rows, middle: Rows) -> Rows:
    """Rows that far from a to b; a category is that of the nearer end."""
    out = a + middle[:, None] * (b - a)
    for j in world.categories:
        out[:, j] = np.where(middle < 0.5, a[:, j], b[:, j])
    return np.asarray(out)


def shuffled(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Ordinary values in impossible combinations: every column drawn by itself."""
    index = rng.integers(len(world.pool), size=(n, world.pool.shape[1]))
    return np.take_along_axis(world.pool, index, axis=0)


def in_domain(world: World, rng: np.random.Generator, n: int, sources: int = 20) -> Rows:
    """What many honest clients ask, through one account."""
    rows = np.concatenate([world.honest(rng)(-(-n // sources)) for _ in range(sources)])
    return rows[rng.permutation(len(rows))[:n]]


ATTACKS: dict[str, Attack] = {
    a.name: a
    for a in (
        Attack("knockoff random", "far", knockoff),
        Attack("knockoff adaptive", "far", knockoff_adaptive),
        Attack("uniform", "far", lambda w, r, n: w.uniform(r, n)),
        Attack("grid", "far", lambda w, r, n: w.grid(r, n)),
        Attack("near domain", "near", lambda w, r, n: w.near(r, n)),
        Attack("shuffled", "near", shuffled),
        Attack("jbda .1", "near", jbda),
        Attack("jbda .25", "near", partial(jbda, step=0.25)),
        Attack("uncertainty", "active", uncertainty),
        Attack("k-centre", "active", k_centre),
        Attack("line search", "walk", line_search),
        Attack("boundary walk", "walk", boundary_walk),
        Attack("in domain", "in domain", in_domain),
    )
}


def thief(world: World, attack: str, share: float, theirs: Rows, rng: np.random.Generator, name: str) -> Stream:
    """A thief that mixes the first of ``theirs`` into honest queries, ``QUERIES`` in all, evenly over the panes."""
    k = max(1, round(share * QUERIES))
    rows = theirs[:QUERIES].copy()
    if k < QUERIES:
        rows = world.honest(rng)(QUERIES)
        rows[np.sort(rng.permutation(QUERIES)[:k])] = theirs[:k]
    return Stream(name, f"{attack} {share:.0%}", rows, (np.arange(QUERIES) + 0.5) * PANES / QUERIES)
