"""Sybil campaigns: one thief behind 25 accounts of 20 queries each, half of them honest, among ordinary clients.

None of the accounts sends enough to be judged alone. Beside that, crowds without a thief: no group of theirs is one.
"""

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
GOALS = {"far": 0.9, "near": 0.5, "active": 0.5}
QUIET_GOAL = 0.01
"""Most crowds of honest clients, of all, in which a group may be named."""
PURE = 0.5
"""Least share of a group's members that are the thief's, for the group to count as found."""


@dataclass(frozen=True)
class Campaign:
    """What came of one.

    Attributes:
        found, named: whether it was found, and the share of its accounts that were named, alone or in a group.
        warned: whether a group that is mostly the thief's was warned of at least; alone: an account by itself accused.
        purity: share of the thief's in the last group that was found, NaN where none was.
        honest: honest clients named beside them; pane: of the first alarm.
    """

    attack: str
    found: bool
    named: float
    warned: bool
    alone: bool
    purity: float
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
    theirs = {name for name in named.alarm if _is_thief(name)}
    pure = [g for g in named.groups if purity(g) >= PURE]
    alone = theirs - {m for g in named.groups for m in g}
    caught = alone | {m for g in pure for m in g if m in theirs}
    return Campaign(
        attack,
        bool(caught),
        len(caught) / ACCOUNTS,
        any(purity(g) >= PURE for g in named.suspected),
        any(map(_is_thief, named.alone)),
        purity(pure[-1]) if pure else float("nan"),
        len(named.alarm) - len(theirs),
        min((named.alarm[m] for m in caught), default=None),
    )


def purity(members: tuple[str, ...]) -> float:
    """Share of a group's members that are the thief's."""
    return sum(map(_is_thief, members)) / len(members)


def _is_thief(client: str) -> bool:
    return client.startswith("sybil-")


def section(deployments: list[Deployment], plan: Plan, seed: int) -> Section:
    """Campaigns of every attack in crowds of every size, at the main visibility or the first there is; quiet crowds."""
    world = deployments[0].world
    visibility = MAIN if MAIN in deployments[0].watches else next(iter(deployments[0].watches))
    watches = [deployment.watches[visibility] for deployment in deployments]
    out = _quiet(world, watches, plan, seed)
    for size in plan.among:
        out += _campaigns(world, watches, plan, size, seed)
    return out


def _campaigns(world: World, watches: list[Watch], plan: Plan, size: int, seed: int) -> Section:
    out = Section()
    head = f"{world.name}, Sybil 25 x 20 at 50% among {size}"
    rows: list[Campaign] = []
    for attack in plan.campaigned:
        numbers = range(plan.campaigns)
        own = [campaign(world, watches[i % len(watches)], attack, size, (seed, i, size, 31)) for i in numbers]
        pure = [c.purity for c in own if not np.isnan(c.purity)]
        out.figures[f"{head}, {attack}"] = (
            f"found {np.mean([c.found for c in own]):.2f}, accounts named {np.mean([c.named for c in own]):.2f}, "
            f"group warned of {np.mean([c.warned for c in own]):.2f}, "
            f"purity {np.mean(pure) if pure else np.nan:.2f}, an account alone {np.mean([c.alone for c in own]):.2f}, "
            f"honest named {sum(c.honest for c in own)} of {size * len(own)}, n {len(own)}"
        )
        rows += own
    for family, goal in GOALS.items():
        hits = Share.of(c.found for c in rows if ATTACKS[c.attack].family == family)
        if hits.n:
            out.at_least(f"{head}, {family} found", hits.value, goal)
    return out


def _quiet(world: World, watches: list[Watch], plan: Plan, seed: int) -> Section:
    """Crowds of honest clients alone with a group alarm, with a group warning, and with a client alarm."""
    out = Section()
    wrong = Share(0, 0)
    for size, runs in plan.quiet:
        named = []
        for i in range(runs):
            watch = watches[i % len(watches)]
            traffic = honest.crowd(world, size, (seed, i, size, 32), "h")
            named.append(play(watch.detector, watch.panes(world, traffic)))
        head = f"{world.name}, {size} honest clients and no thief"
        groups = Share.of(bool(n.groups) for n in named)
        out.figures[f"{head}: crowds with a group alarm"] = groups
        out.figures[f"{head}: crowds with a group warning"] = Share.of(bool(n.suspected) for n in named)
        out.figures[f"{head}: crowds with a client alarm"] = Share.of(bool(n.alone) for n in named)
        wrong += groups
    if wrong.n:
        out.at_most(f"{world.name}: honest crowds with a group alarm", wrong.value, QUIET_GOAL)
    return out
