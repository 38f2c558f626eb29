"""One world, from its references to figures and goals."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from tests.benchmarks.extraction import honest, rates
from tests.benchmarks.extraction.attacks import ATTACKS
from tests.benchmarks.extraction.figures import Section, Share, pooled
from tests.benchmarks.extraction.plan import MAIN, Plan, world_of
from tests.benchmarks.extraction.rates import Accused, Deployment, Found
from tests.benchmarks.extraction.worlds import World

SECTIONS = ("honest", "found")
HONEST_GOAL = 1.5e-3
FAR_GOALS = {1.0: 1.0, 0.5: 1.0, 0.25: 0.95, 0.1: 0.8}


def measure(name: str, plan: Plan, sections: tuple[str, ...], seed: int) -> Section:
    """Every chosen section on one world, told on standard error as it goes."""
    with threadpool_limits(1):
        return _measure(name, plan, sections, seed, _teller(name))


def _measure(name: str, plan: Plan, sections: tuple[str, ...], seed: int, told: Callable[[str], None]) -> Section:
    world = world_of(name, seed)
    told("world made")
    accused, found = Accused(), list[Found]()
    for number in range(plan.references):
        deployment = Deployment.of(world, plan, number, seed, plan.visibilities)
        told(f"reference {number + 1} of {plan.references} fitted")
        if "honest" in sections:
            for traffic, visibilities in rates.crowds(plan, deployment, seed):
                rates.judge_honest(deployment, traffic, visibilities, accused)
            told(f"reference {number + 1}: honest clients played")
        if "found" in sections:
            found += rates.find_thieves(deployment, plan, seed, told)
    out = Section()
    if "honest" in sections:
        out += honest_section(world, accused, plan)
    if "found" in sections:
        out += found_section(world, found)
    return out


def _teller(name: str) -> Callable[[str], None]:
    began = time.perf_counter()

    def tell(text: str) -> None:
        print(f"{time.perf_counter() - began:7.1f} s  {name}: {text}", file=sys.stderr, flush=True)

    return tell


def honest_section(world: World, accused: Accused, plan: Plan) -> Section:
    """Accused of all, and of each sort, at each visibility."""
    out = Section()
    for visibility in dict.fromkeys(v for v, _ in accused.clients):
        head = f"{world.name}, {visibility}: honest clients"
        out.figures[f"{head} accused"] = accused.share(visibility)
        out.figures[f"{head} warned of"] = accused.share(visibility, table="warnings")
        for sort in honest.SORTS:
            share = accused.share(visibility, sort)
            if share.n:
                out.figures[f"{head} accused, {sort}"] = share
    whole = pooled(accused.share(v) for v in dict.fromkeys(v for v, _ in accused.clients))
    out.at_most(f"{world.name}: honest clients accused, all visibilities", whole.value, HONEST_GOAL)
    return out


def found_section(world: World, found: list[Found]) -> Section:
    """One line a cell, and the goals for the far domain."""
    out = Section()
    table = rates.cells(found)
    for (visibility, attack, share), group in table.items():
        line = rates.summary(group)
        out.figures[f"{world.name}, {visibility}: {attack} {share:.0%}"] = (
            f"found {line['found'].value:.2f}, within 100 {line['within 100'].value:.2f}, "
            f"warned {line['warned'].value:.2f}, median queries {line['median queries']:.0f}, n {len(group)}"
        )
    for visibility in dict.fromkeys(v for v, _, _ in table):
        far = {k: g for k, g in table.items() if k[0] == visibility and ATTACKS[k[1]].family == "far"}
        for share, goal in FAR_GOALS.items():
            hits = pooled(rates.summary(g)["found"] for k, g in far.items() if k[2] == share)
            if hits.n:
                out.at_least(f"{world.name}, {visibility}: far domain at {share:.0%} found", hits.value, goal)
        early = pooled(rates.summary(g)["within 100"] for k, g in far.items() if k[2] == 1.0)
        if early.n:
            out.at_least(f"{world.name}, {visibility}: pure far domain within 100 queries", early.value, 0.9)
    return out
