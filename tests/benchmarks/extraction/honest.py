"""Honest clients: ordinary ones, heavy ones, and the awkward ones that break thresholds in practice.

``SORTS`` gives each sort's share of the clients, in the reference and in the stream; quotas, not lots, so that every
sort is there. A new device and a new mix of classes are in the stream alone: a reference cannot know them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.extraction.traffic import PANES, Stream, Traffic
from tests.benchmarks.extraction.worlds import Rows, World

MEDIAN_QUERIES = 110
FEWEST, MOST = 12, 1_500
REFERENCE_SPAN = 200
"""Panes over which the reference is spread."""


@dataclass(frozen=True)
class Sort:
    """One sort of client: its shares, and its queries for a given number of them."""

    in_reference: float
    in_stream: float
    queries: Callable[[World, np.random.Generator, int], Rows]
    times: float = 1.0


def ordinary(world: World, rng: np.random.Generator, n: int) -> Rows:
    """A device and class mix of its own; one query in twenty-five is sent again at once."""
    return resent(world.honest(rng)(n), rng, 0.04)


def retrying(world: World, rng: np.random.Generator, n: int) -> Rows:
    """A client behind a poor line: one query in three is sent again."""
    return resent(world.honest(rng)(n), rng, 0.33)


def health_check(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Three canned inputs, over and over."""
    return world.honest(rng)(3)[np.arange(n) % 3]


def batch_key(world: World, rng: np.random.Generator, n: int) -> Rows:
    """One file, scored three times over."""
    return np.tile(world.honest(rng)(max(10, n // 3)), (4, 1))[:n]


def tester(world: World, rng: np.random.Generator, n: int) -> Rows:
    """A QA key: half ordinary inputs, a fifth odd ones, the rest a what-if tool that moves one input at a time."""
    out = world.honest(rng)(n)
    kind = rng.random(n // 10 + 1).repeat(10)[:n]
    odd, varied = kind < 0.2, kind > 0.7
    out[odd] = world.odd(rng, int(odd.sum()))
    if varied.any():
        out[varied] = world.varied(out[np.flatnonzero(varied)[0]], rng, int(varied.sum()))
    return out


def new_device(world: World, rng: np.random.Generator, n: int) -> Rows:
    return resent(world.new_device(rng)(n), rng, 0.04)


def new_mix(world: World, rng: np.random.Generator, n: int) -> Rows:
    return resent(world.new_mix(rng)(n), rng, 0.04)


SORTS: dict[str, Sort] = {
    "ordinary": Sort(0.72, 0.58, ordinary),
    "retrying": Sort(0.08, 0.08, retrying),
    "heavy": Sort(0.08, 0.08, ordinary, 6.0),
    "health check": Sort(0.04, 0.05, health_check),
    "batch key": Sort(0.04, 0.05, batch_key),
    "tester": Sort(0.04, 0.04, tester),
    "new device": Sort(0.0, 0.06, new_device),
    "new mix": Sort(0.0, 0.06, new_mix),
}


def resent(rows: Rows, rng: np.random.Generator, share: float) -> Rows:
    """The rows with that share of them replaced by the one before."""
    source = np.arange(len(rows))
    again = rng.random(len(rows)) < share
    again[:1] = False
    source[again] = -1
    return rows[np.maximum.accumulate(source)]


def quotas(shares: dict[str, float], n: int) -> list[str]:
    """n names in proportion to their shares, by largest remainder."""
    exact = {name: n * share / sum(shares.values()) for name, share in shares.items()}
    count = {name: int(value) for name, value in exact.items()}
    left = sorted(exact, key=lambda name: count[name] - exact[name])[: n - sum(count.values())]
    return [name for name in shares for _ in range(count[name] + (name in left))]


def stream(world: World, client: str, sort: str, rng: np.random.Generator, span: float = PANES) -> Stream:
    """A client of a sort: heavy-tailed volume at uniform times, one in three joins while others are at work."""
    kind = SORTS[sort]
    n = int(np.clip(kind.times * rng.lognormal(np.log(MEDIAN_QUERIES), 0.8), FEWEST, MOST))
    rows = kind.queries(world, rng, n)
    joined = span * rng.uniform(0.0, 0.6) if rng.random() < 1 / 3 else 0.0
    return Stream(client, sort, rows, np.sort(rng.uniform(joined, span, len(rows))))


def streams(world: World, n: int, rng: np.random.Generator, prefix: str) -> list[Stream]:
    """n honest clients of all sorts as the stream has them."""
    sorts = quotas({name: sort.in_stream for name, sort in SORTS.items()}, n)
    return [stream(world, f"{prefix}{i}", sort, rng) for i, sort in enumerate(sorts)]


def crowd(world: World, n: int, seed: tuple[int, ...], prefix: str = "h") -> Traffic:
    """The traffic of n honest clients."""
    return Traffic.of(world, streams(world, n, np.random.default_rng(seed), prefix))


def reference(world: World, n: int, seed: tuple[int, ...]) -> Traffic:
    """n honest clients as a reference has them."""
    rng = np.random.default_rng(seed)
    sorts = quotas({name: sort.in_reference for name, sort in SORTS.items()}, n)
    return Traffic.of(world, [stream(world, f"ref-{i}", sort, rng, REFERENCE_SPAN) for i, sort in enumerate(sorts)])
