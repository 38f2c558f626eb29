"""Sybil campaigns: one thief behind 25 accounts of 20 queries each, half of them honest, among ordinary clients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.benchmarks.extraction import honest
from tests.benchmarks.extraction.attacks import ATTACKS
from tests.benchmarks.extraction.figures import Section, Share
from tests.benchmarks.extraction.plan import MAIN, Plan
from tests.benchmarks.extraction.rates import Deployment
from tests.benchmarks.extraction.traffic import PANES, Named, Stream, Traffic, Watch, play
from tests.benchmarks.extraction.worlds import World

ACCOUNTS, EACH, SHARE = 25, 20, 0.5
GOALS = {"far": 0.9, "near": 0.5}
PURE = 0.5
"""Least share of a group's members that are the thief's, for the group to count as found."""


@dataclass(frozen=True)
class Campaign:
    """What came of one: whether it was found, the share of accounts named, honest clients named beside them."""

    attack: str
    found: bool
    named: float
    honest: int
    pane: int | None


def accounts(world: World, attack: str, rng: np.random.Generator) -> list[Stream]:
    """The thief's queries dealt out in turn; every account is a quarter of the time at work."""
    k = round(SHARE * EACH)
    theirs = ATTACKS[attack].queries(world, rng, ACCOUNTS * k)
    out = []
    for i in range(ACCOUNTS):
        rows = world.honest(rng)(EACH)
        rows[np.sort(rng.permutation(EACH)[:k])] = theirs[i::ACCOUNTS]
        start = rng.uniform(0.0, 0.5 * PANES)
        out.append(Stream(f"sybil-{i:02d}", attack, rows, np.sort(rng.uniform(start, start + 0.25 * PANES, EACH))))
    return out


def campaign(world: World, watch: Watch, attack: str, crowd: int, seed: tuple[int, ...]) -> Campaign:
    """One campaign among ``crowd`` honest clients of all sorts."""
    rng = np.random.default_rng([*seed, list(ATTACKS).index(attack)])
    own = honest.streams(world, crowd, rng, "h")
    traffic = Traffic.of(world, [*own, *accounts(world, attack, rng)])
    return outcome(attack, play(watch.detector, watch.panes(world, traffic)))


def outcome(attack: str, named: Named) -> Campaign:
    """Found where an account is named, or a group at least half of which is the thief's."""
    theirs = {name for name in named.alarm if name.startswith("sybil-")}
    pure = [g for g in named.groups if sum(m.startswith("sybil-") for m in g) >= PURE * len(g)]
    alone = theirs - {m for g in named.groups for m in g}
    caught = alone | {m for g in pure for m in g if m in theirs}
    pane = min((named.alarm[m] for m in caught), default=None)
    return Campaign(attack, bool(caught), len(caught) / ACCOUNTS, len(named.alarm) - len(theirs), pane)


def section(deployments: list[Deployment], plan: Plan, seed: int) -> Section:
    """Campaigns of every attack at the main visibility, or at the first that there is."""
    out = Section()
    world = deployments[0].world
    visibility = MAIN if MAIN in deployments[0].watches else next(iter(deployments[0].watches))
    rows: list[Campaign] = []
    for attack in plan.campaigned:
        for i in range(plan.campaigns):
            watch = deployments[i % len(deployments)].watches[visibility]
            rows.append(campaign(world, watch, attack, plan.crowd, (seed, i, 31)))
        own = [c for c in rows if c.attack == attack]
        out.figures[f"{world.name}, Sybil 25 x 20 at 50%, {attack}"] = (
            f"found {np.mean([c.found for c in own]):.2f}, accounts named {np.mean([c.named for c in own]):.2f}, "
            f"honest named {sum(c.honest for c in own)} of {plan.crowd * len(own)}, n {len(own)}"
        )
    for family, goal in GOALS.items():
        hits = Share.of(c.found for c in rows if ATTACKS[c.attack].family == family)
        out.at_least(f"{world.name}, Sybil 25 x 20 at 50%, {family} domain found", hits.value, goal)
    return out
