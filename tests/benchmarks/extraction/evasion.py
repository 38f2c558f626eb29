"""Walks along the model's answers: are they found before they succeed? Uses the evasion detector where there is one."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tests.benchmarks.extraction import honest
from tests.benchmarks.extraction.figures import Section, Share, pooled
from tests.benchmarks.extraction.plan import MAIN, Plan
from tests.benchmarks.extraction.traffic import NEVER, PANES, Stream, Traffic, Watch, beside, play
from tests.benchmarks.extraction.worlds import World

QUERIES = 250
MODULES = ("detectors.evasion.detector", "tests.benchmarks.extraction_walks")


def modules() -> tuple[Any, Any] | None:
    """The detector's module and that of the walks; None where either is missing."""
    try:
        detector, walks = (importlib.import_module(name) for name in MODULES)
    except ModuleNotFoundError as error:
        if error.name is None or not any(name.startswith(error.name) for name in MODULES):
            raise
        return None
    return detector, walks


def section(world: World, plan: Plan, seed: int) -> Section:
    """Found before success and within 250 queries, a line a walk; honest clients accused."""
    out = Section()
    found = modules()
    if found is None:
        out.figures[f"{world.name}, evasion"] = "not measured: no evasion detector here"
        return out
    detector, walks = found
    watch = Watch.on(world, honest.reference(world, plan.reference, (seed, 0, 1)), MAIN, seed, detector.EvasionDetector)
    company = honest.crowd(world, plan.crowd, (seed, 51), "h")
    panes = watch.panes(world, company)
    named = play(watch.detector, panes).alarm
    out.figures[f"{world.name}, evasion: honest clients accused"] = Share(len(named), plan.crowd)
    before, within = [], []
    for name in walks.ATTACKS:
        results = [_walk(world, watch, walks, name, panes, (seed, i, 52)) for i in range(plan.walks)]
        before.append(Share.of(when <= (won or QUERIES) for when, won in results))
        within.append(Share.of(when <= QUERIES for when, _ in results))
        out.figures[f"{world.name}, evasion: {name}"] = (
            f"before it succeeds {before[-1].value:.2f}, within 250 {within[-1].value:.2f}, "
            f"succeeds in {np.mean([won is not None for _, won in results]):.2f}, "
            f"after {np.median([won or np.inf for _, won in results]):.0f} queries, n {len(results)}"
        )
    out.at_least(f"{world.name}, evasion: found before success", pooled(before).value, 0.9)
    out.at_least(f"{world.name}, evasion: found within 250 queries", pooled(within).value, 1.0)
    return out


def _walk(
    world: World, watch: Watch, walks: Any, name: str, company: list[Any], seed: tuple[int, ...]
) -> tuple[int, int | None]:
    """Queries at the alarm, and at which of them the walk first had what it wanted."""
    attack = walks.attack(world, name, 1.0, np.random.default_rng(seed), QUERIES)
    at = (np.arange(QUERIES) + 0.5) * PANES / QUERIES
    traffic = Traffic.of(world, [Stream("walker", name, attack.rows, at)])
    named = play(watch.detector, beside(company, watch.panes(world, traffic)), until="walker")
    pane = named.alarm.get("walker")
    return NEVER if pane is None else int(traffic.seen()[0][pane]), attack.won_at
