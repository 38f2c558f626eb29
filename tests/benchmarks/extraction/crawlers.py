"""Honest clients whose queries crawl as a walk's do: video, sensors, what-if tools, noise at test time, checks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.benchmarks.extraction import honest
from tests.benchmarks.extraction.honest import MEDIAN_QUERIES, REFERENCE_SPAN
from tests.benchmarks.extraction.traffic import Stream, Traffic
from tests.benchmarks.extraction.walks import Oracle
from tests.benchmarks.extraction.worlds import Rows, World

Habit = Callable[[World, np.random.Generator, int], Rows]
FEWEST, MOST = 12, 700


def what_if(world: World, rng: np.random.Generator, n: int) -> Rows:
    """A few columns of one input through a grid of their values, then another input."""
    out: list[Rows] = []
    while sum(map(len, out)) < n:
        out.append(world.varied(world.honest(rng)(1)[0], rng, 8 * int(rng.integers(1, 5))))
    return np.concatenate(out)[:n]


def video(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Scenes that turn slowly from one ordinary input into another, with sensor noise."""
    oracle, out = Oracle.of(world, 0), np.empty((0, world.pool.shape[1]))
    noise = rng.uniform(0.0, 0.03)
    while len(out) < n:
        first, last = world.honest(rng)(2)
        scene = np.repeat(first[None], int(rng.integers(15, 60)), axis=0)
        part = np.linspace(0.0, rng.uniform(0.2, 1.0), len(scene))[:, None]
        a, b = oracle.inside(first), oracle.inside(last)
        z = a + part * (b - a) + noise * rng.standard_normal((len(scene), len(a)))
        out = np.concatenate([out, oracle.placed(scene, np.clip(z, oracle.low, oracle.high))])
    return out[:n]


def sensor(world: World, rng: np.random.Generator, n: int) -> Rows:
    """A stream that wanders about one ordinary input and returns to it."""
    oracle, row = Oracle.of(world, 0), world.honest(rng)(1)[0]
    centre = oracle.inside(row)
    z, pull, noise = centre.copy(), rng.uniform(0.01, 0.2), rng.uniform(0.02, 0.1)
    path = np.empty((n, len(z)))
    for i in range(n):
        z = z + pull * (centre - z) + noise * rng.standard_normal(len(z))
        path[i] = np.clip(z, oracle.low, oracle.high)
    return oracle.placed(np.repeat(row[None], n, axis=0), path)


def augmented(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Every input once as it is and seven times with noise, at test time."""
    oracle = Oracle.of(world, 0)
    rows = np.repeat(world.honest(rng)(n // 8 + 1), 8, axis=0)[:n]
    z = oracle.inside(rows)
    moved = rng.uniform(0.03, 0.15) * rng.standard_normal(z.shape) * (np.arange(n) % 8 > 0)[:, None]
    return oracle.placed(rows, np.clip(z + moved, oracle.low, oracle.high))


def dither(world: World, rng: np.random.Generator, n: int) -> Rows:
    """A random walk that does not care for the answers, with a fresh start now and then."""
    oracle, out = Oracle.of(world, 0), world.honest(rng)(n)
    step, z = rng.uniform(0.03, 0.15), oracle.inside(out[0])
    for i in range(1, n):
        z = oracle.inside(out[i]) if rng.random() < 0.02 else z + step * rng.standard_normal(len(z))
        z = np.clip(z, oracle.low, oracle.high)
        out[i] = oracle.placed(out[i], z)
    return out


HABITS: dict[str, Habit] = {
    "ordinary": lambda world, rng, n: world.honest(rng)(n),
    "health check": honest.health_check,
    "batch key": honest.batch_key,
    "retries": honest.retrying,
    "what-if tool": what_if,
    "video": video,
    "sensor": sensor,
    "augmentation": augmented,
    "dither": dither,
    "quality assurance": lambda world, rng, n: world.uniform(rng, n),
}
CRAWLING = ("what-if tool", "video", "sensor", "augmentation", "dither")


def streams(world: World, habits: list[str], rng: np.random.Generator, span: float) -> list[Stream]:
    """A client a habit: heavy-tailed volume at uniform times."""
    out = []
    for i, habit in enumerate(habits):
        n = int(np.clip(rng.lognormal(np.log(MEDIAN_QUERIES), 0.8), FEWEST, MOST))
        rows = HABITS[habit](world, rng, n)
        out.append(Stream(f"{habit}-{i}", habit, rows, np.sort(rng.uniform(0.0, span, len(rows)))))
    return out


def reference(world: World, n: int, awkward: float, seed: tuple[int, ...]) -> Traffic:
    """n honest clients over a reference's span, ``awkward`` of them with another habit than the ordinary."""
    rng = np.random.default_rng(seed)
    others = [name for name in HABITS if name != "ordinary"]
    habits = [str(rng.choice(others)) if rng.random() < awkward else "ordinary" for _ in range(n)]
    return Traffic.of(world, streams(world, habits, rng, REFERENCE_SPAN))
