"""Walks: published attacks that feel their way along a model's answers.

An attack asks an ``Oracle``, which writes down every query and at which one the attacker first had what it wanted:
an adversarial input with small distortion or, for inversion, an input that the model is sure to be of the target class.
Image worlds are walked in pixel values, tabular ones in standard deviations of each numeric column, categories kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tests.benchmarks.extraction.worlds import Rows, World

SURE = 0.99
"""Probability of the target class at which an inversion has succeeded (gamma of Fredrikson et al.)."""


class Spent(Exception):
    """The query budget is used up."""


@dataclass
class Oracle:
    """The victim as an attacker sees it: at most ``budget`` answers, each query on record.

    Attributes:
        scale: (q,) units of the ``columns`` (q,) that an attacker may move; low, high: (q,) their limits in them.
        won_at: number of queries after which the attacker first had what it wanted; None if never.
    """

    world: World
    budget: int
    columns: np.ndarray
    scale: Rows
    low: Rows
    high: Rows
    sent: list[Rows] = field(default_factory=list)
    won_at: int | None = None

    @classmethod
    def of(cls, world: World, budget: int) -> Oracle:
        columns = np.array(world.numeric)
        scale = world.spread[columns]
        return cls(world, budget, columns, scale, world.low[columns] / scale, world.high[columns] / scale)

    @property
    def small(self) -> float:
        """Distortion (Euclidean, in the oracle's units) that counts as small: a tenth of each unit a column."""
        return 0.1 * float(np.sqrt(len(self.columns)))

    def inside(self, row: Rows) -> Rows:
        """The moved columns of a row (p,) or of rows (n, p), in the oracle's units."""
        return np.asarray(row[..., self.columns] / self.scale)

    def placed(self, row: Rows, z: Rows) -> Rows:
        """The row (p,) or rows (n, p) with the moved columns at ``z``."""
        out = row.copy()
        out[..., self.columns] = z * self.scale
        return out

    def ask(self, near: Rows, z: Rows) -> Rows:
        """(C,) probabilities of the row that is ``near`` but for the moved columns ``z``."""
        if len(self.sent) >= self.budget:
            raise Spent
        row = self.placed(near, np.clip(z, self.low, self.high))
        self.sent.append(row)
        return np.asarray(self.world.score(row[None])[0])

    def won(self) -> None:
        self.won_at = self.won_at or len(self.sent)


def originals(oracle: Oracle, rng: np.random.Generator) -> tuple[Rows, int]:
    """An ordinary row that the model classifies with confidence, and its class."""
    rows = oracle.world.honest(rng)(64)
    scores = oracle.world.score(rows)
    sure = np.flatnonzero(scores.max(axis=1) >= 0.9)
    pick = int(rng.choice(sure)) if len(sure) else int(scores.max(axis=1).argmax())
    return rows[pick], int(scores[pick].argmax())


def other_class(oracle: Oracle, rng: np.random.Generator, label: int) -> Rows:
    """An ordinary row of another class: where a decision-based attack starts."""
    while True:
        rows = oracle.world.honest(rng)(32)
        other = np.flatnonzero(oracle.world.score(rows).argmax(axis=1) != label)
        if len(other):
            return rows[int(other[0])]


def boundary_attack(oracle: Oracle, rng: np.random.Generator) -> None:
    """Brendel, Rauber, Bethge (2018), figure 2 and section 2: orthogonal step, then a step towards the original."""
    row, label = originals(oracle, rng)
    x = oracle.inside(row)
    z = oracle.inside(other_class(oracle, rng, label))
    if oracle.ask(row, z).argmax() == label:
        return
    delta, epsilon = 0.1, 0.1
    sphere: list[bool] = []
    ahead: list[bool] = []
    while True:
        gap = x - z
        distance = float(np.linalg.norm(gap))
        if distance <= oracle.small:
            oracle.won()
            return
        eta = rng.standard_normal(len(z))
        eta *= delta * distance / np.linalg.norm(eta)
        eta -= (eta @ gap) / distance**2 * gap
        side = z + eta
        side = x + (side - x) * distance / np.linalg.norm(side - x)
        side = np.clip(side, oracle.low, oracle.high)
        sphere.append(bool(oracle.ask(row, side).argmax() != label))
        if sphere[-1]:
            step = side + epsilon * (x - side)
            ahead.append(bool(oracle.ask(row, step).argmax() != label))
            z = step if ahead[-1] else side
        if len(sphere) % 10 == 0:
            delta *= 1.5 if np.mean(sphere[-10:]) > 0.5 else 1 / 1.5
        if ahead and len(ahead) % 10 == 0:
            epsilon = min(0.5, epsilon * (1.5 if np.mean(ahead[-10:]) > 0.25 else 1 / 1.5))


def hop_skip_jump(oracle: Oracle, rng: np.random.Generator) -> None:
    """Chen, Jordan, Wainwright (2020), algorithm 2, Euclidean: bisection, gradient estimate, geometric step."""
    row, label = originals(oracle, rng)
    x = oracle.inside(row)
    z = oracle.inside(other_class(oracle, rng, label))
    d = len(x)
    theta = 1.0 / (d * np.sqrt(d))

    def adversarial(point: Rows) -> bool:
        return bool(oracle.ask(row, point).argmax() != label)

    def bisected(far: Rows) -> Rows:
        low, high = 0.0, 1.0
        while high - low > max(theta, 1e-3):
            middle = (low + high) / 2
            low, high = (low, middle) if adversarial(x + middle * (far - x)) else (middle, high)
        return np.asarray(x + high * (far - x))

    z = bisected(z)
    for t in range(1, 100):
        distance = float(np.linalg.norm(z - x))
        if distance <= oracle.small:
            oracle.won()
            return
        u = rng.standard_normal((int(100 * np.sqrt(t)), d))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        phi = np.array([1.0 if adversarial(z + distance / d * v) else -1.0 for v in u])
        weight = phi - phi.mean() if abs(phi.mean()) < 1 else phi
        v = (weight[:, None] * u).mean(axis=0)
        v /= max(np.linalg.norm(v), 1e-12)
        step = distance / np.sqrt(t)
        while step > 1e-4 and not adversarial(z + step * v):
            step /= 2
        z = bisected(np.clip(z + step * v, oracle.low, oracle.high))


def simba(oracle: Oracle, rng: np.random.Generator) -> None:
    """Guo et al. (2019), algorithm 1, pixel basis, steps of 0.2: keep what lowers the true class's probability."""
    row, label = originals(oracle, rng)
    z = oracle.inside(row)
    best = float(oracle.ask(row, z)[label])
    for j in [*rng.permutation(len(z)), *rng.permutation(len(z)), *rng.permutation(len(z))]:
        for sign in (0.2, -0.2):
            tried = z.copy()
            tried[j] = np.clip(z[j] + sign, oracle.low[j], oracle.high[j])
            if tried[j] == z[j]:
                continue
            scores = oracle.ask(row, tried)
            if scores.argmax() != label:
                oracle.won()
                return
            if scores[label] < best:
                z, best = tried, float(scores[label])
                break


def square_attack(oracle: Oracle, rng: np.random.Generator) -> None:
    """Andriushchenko et al. (2020), algorithms 1 and 2: stripes, then ever smaller squares set to a corner of the box.

    Maximum norm 0.2; on a table, runs of columns stand in for squares.
    """
    row, label = originals(oracle, rng)
    x = oracle.inside(row)
    radius, d = 0.2, len(x)
    side = round(d**0.5)
    shape = (1, d) if oracle.world.categories or side * side != d else (side, side)

    def loss(scores: Rows) -> float:
        return float(np.log(scores[label] + 1e-12) - np.log(np.delete(scores, label).max() + 1e-12))

    def moved(signs: Rows) -> Rows:
        return np.clip(x + radius * signs.ravel(), oracle.low, oracle.high)

    signs = np.repeat(rng.choice([-1.0, 1.0], (1, shape[1])), shape[0], axis=0)
    best = loss(oracle.ask(row, moved(signs)))
    for i in range(10_000):
        if best <= 0:
            oracle.won()
            return
        part = 0.8 / 2 ** int(np.searchsorted((10, 50, 200, 500, 1_000), i))
        high, wide = (max(1, min(n, round((part * d) ** 0.5))) for n in shape)
        wide = wide if shape[0] > 1 else max(1, round(part * d))
        a, b = rng.integers(0, shape[0] - high + 1), rng.integers(0, shape[1] - wide + 1)
        tried = signs.copy()
        tried[a : a + high, b : b + wide] = rng.choice([-1.0, 1.0])
        if np.array_equal(tried, signs):
            continue
        found = loss(oracle.ask(row, moved(tried)))
        if found < best:
            signs, best = tried, found


def nes(oracle: Oracle, rng: np.random.Generator, in_batches: bool = False) -> None:
    """Ilyas et al. (2018): the gradient from antithetic Gaussian pairs, then a signed step of the whole input.

    The second tries of all pairs follow the first ones of all where they are sent ``in_batches``, as in their code.
    """
    row, label = originals(oracle, rng)
    x = oracle.inside(row)
    z = x.copy()
    while True:
        u = rng.standard_normal((10, len(z)))
        pairs = np.stack([u, -u], axis=0 if in_batches else 1).reshape(-1, len(z))
        said = [float(np.log(oracle.ask(row, z + 0.05 * v)[label] + 1e-12)) for v in pairs]
        z = np.clip(z - 0.02 * np.sign(np.array(said) @ pairs), x - 0.2, x + 0.2)
        z = np.clip(z, oracle.low, oracle.high)
        if oracle.ask(row, z).argmax() != label:
            oracle.won()
            return


def line_search(oracle: Oracle, rng: np.random.Generator) -> None:
    """Bisection from one input towards others of another class, keeping the nearest crossing (Cheng et al. 2019)."""
    row, label = originals(oracle, rng)
    x = oracle.inside(row)
    nearest = np.inf
    while True:
        far = oracle.inside(other_class(oracle, rng, label))
        low, high = 0.0, 1.0
        for _ in range(8):
            middle = (low + high) / 2
            crossed = oracle.ask(row, x + middle * (far - x)).argmax() != label
            low, high = (low, middle) if crossed else (middle, high)
        nearest = min(nearest, high * float(np.linalg.norm(far - x)))
        if nearest <= oracle.small:
            oracle.won()
            return


def inversion(oracle: Oracle, rng: np.random.Generator) -> None:
    """Fredrikson, Jha, Ristenpart (2015), black box: from the mean input uphill in one class's confidence by trials."""
    row = oracle.world.pool.mean(axis=0)
    for j, names in oracle.world.categories.items():
        row[j] = rng.integers(len(names))
    z = oracle.inside(row)
    scores = oracle.ask(row, z)
    target = int(rng.choice(np.delete(np.arange(len(scores)), scores.argmax())))
    best = float(scores[target])
    while best < SURE:
        step = rng.standard_normal(len(z)) * (rng.random(len(z)) < 0.25)
        tried = np.clip(z + 0.1 * step, oracle.low, oracle.high)
        found = float(oracle.ask(row, tried)[target])
        if found > best:
            z, best = tried, found
    oracle.won()


Walk = Callable[[Oracle, np.random.Generator], None]
WALKS: dict[str, Walk] = {
    "boundary attack": boundary_attack,
    "hop skip jump": hop_skip_jump,
    "simba": simba,
    "square attack": square_attack,
    "nes": nes,
    "nes in batches": partial(nes, in_batches=True),
    "line search": line_search,
    "inversion": inversion,
}


@dataclass(frozen=True)
class Attack:
    """Queries (n, p) of one attacker, honest ones mixed in, and after how many of them it had what it wanted."""

    rows: Rows
    won_at: int | None


def attack(world: World, name: str, share: float, rng: np.random.Generator, n: int = 250) -> Attack:
    """The first ``n`` queries of one who attacks input after input, ``share`` of them queries of the attack."""
    oracle = Oracle.of(world, max(1, round(share * n)))
    try:
        while True:
            WALKS[name](oracle, rng)
    except Spent:
        pass
    rows = world.honest(rng)(n)
    place = np.sort(rng.permutation(n)[: len(oracle.sent)])
    rows[place] = np.array(oracle.sent)
    return Attack(rows, None if oracle.won_at is None else int(place[oracle.won_at - 1]) + 1)
