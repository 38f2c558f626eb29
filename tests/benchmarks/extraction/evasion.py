"""Walks along the model's answers: are they found before they succeed, and are honest clients that crawl spared?

The detector of walks is held to the goals; what the detector of theft says of the same clients stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.base import Pane
from detectors.evasion.detector import EvasionDetector
from detectors.extraction.detector import ExtractionDetector
from tests.benchmarks.extraction import crawlers, honest
from tests.benchmarks.extraction.figures import Section, Share, pooled
from tests.benchmarks.extraction.plan import MAIN, Plan
from tests.benchmarks.extraction.tables import honest_goal
from tests.benchmarks.extraction.traffic import NEVER, PANES, Stream, Traffic, Watch, beside, play
from tests.benchmarks.extraction.walks import WALKS, attack
from tests.benchmarks.extraction.worlds import World

QUERIES = 250


def section(world: World, plan: Plan, seed: int) -> Section:
    """Found before success and within 250 queries, a line a walk; honest clients accused, those that crawl apart."""
    reference = honest.reference(world, plan.reference, (seed, 0, 1))
    watches = [Watch.on(world, reference, MAIN, seed, kind) for kind in (EvasionDetector, ExtractionDetector)]
    crowd = honest.crowd(world, plan.crowd, (seed, 51), "h")
    company = [watch.panes(world, crowd) for watch in watches]
    out = _honest(world, watches, company, plan, seed)
    before, within = [], []
    for code, name in enumerate(WALKS):
        results = [_walk(world, watches, name, company, (seed, code, i, 52)) for i in range(plan.walks)]
        before.append(Share.of(when <= (won or QUERIES) for when, _, won in results))
        within.append(Share.of(when <= QUERIES for when, _, _ in results))
        out.figures[f"{world.name}, evasion: {name}"] = (
            f"before it succeeds {before[-1].value:.2f}, within 250 {within[-1].value:.2f}, "
            f"of theft {np.mean([theft <= QUERIES for _, theft, _ in results]):.2f}, "
            f"succeeds in {np.mean([won is not None for *_, won in results]):.2f}, "
            f"after {np.median([won or np.inf for *_, won in results]):.0f} queries, n {len(results)}"
        )
    out.at_least(f"{world.name}, evasion: found before success", pooled(before).value, 0.9)
    out.at_least(f"{world.name}, evasion: found within 250 queries", pooled(within).value, 1.0)
    return out


def _honest(world: World, watches: Sequence[Watch], company: Sequence[list[Pane]], plan: Plan, seed: int) -> Section:
    """Of the crowd, and of as many that crawl, a share a habit; the reference has testers at most."""
    out = Section()
    head = f"{world.name}, evasion: honest clients accused"
    crowd = Share(len(play(watches[0].detector, company[0]).alarm), plan.crowd)
    out.figures[head] = crowd
    habits = [crawlers.CRAWLING[i % len(crawlers.CRAWLING)] for i in range(plan.crowd)]
    crawling = Traffic.of(world, crawlers.streams(world, habits, np.random.default_rng((seed, 53)), PANES))
    named, of_theft = (play(watch.detector, watch.panes(world, crawling)).alarm for watch in watches)
    for habit in crawlers.CRAWLING:
        own = [name for name, sort in zip(crawling.names, crawling.sorts, strict=True) if sort == habit]
        out.figures[f"{head}, {habit}"] = Share.of(name in named for name in own)
        out.figures[f"{head} of theft, {habit}"] = Share.of(name in of_theft for name in own)
    return out + honest_goal(f"{head}, crawling or not", crowd + Share(len(named), plan.crowd))


def _walk(
    world: World, watches: Sequence[Watch], name: str, company: Sequence[list[Pane]], seed: tuple[int, ...]
) -> tuple[int, int, int | None]:
    """Queries at the alarm for walking and at that for theft, and when the walk first had what it wanted."""
    walk = attack(world, name, 1.0, np.random.default_rng(seed), QUERIES)
    at = (np.arange(QUERIES) + 0.5) * PANES / QUERIES
    traffic = Traffic.of(world, [Stream("walker", name, walk.rows, at)])
    seen = traffic.seen()[0]
    panes = [
        play(watch.detector, beside(crowd, watch.panes(world, traffic)), until="walker").alarm.get("walker")
        for watch, crowd in zip(watches, company, strict=True)
    ]
    walked, stolen = (NEVER if pane is None else int(seen[pane]) for pane in panes)
    return walked, stolen, walk.won_at
