"""Exposure: does the meter follow real copies, and what does a client's own past give?

Real copies are the linear copy and the small network of ``surrogate.py``, trained on the same queries with the model's
labels; the better of the two counts. Known clients are those of a reference, queried again after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from detectors.batch import EventBatch
from detectors.extraction.detector import ExtractionDetector
from detectors.extraction.study import EXPOSURE
from tests.benchmarks.extraction import honest
from tests.benchmarks.extraction.attacks import ATTACKS, QUERIES, in_domain
from tests.benchmarks.extraction.cost import cpu_seconds
from tests.benchmarks.extraction.figures import Section, Share
from tests.benchmarks.extraction.plan import MAIN, Plan
from tests.benchmarks.extraction.rates import Deployment
from tests.benchmarks.extraction.surrogate import LEARNERS, fidelity
from tests.benchmarks.extraction.tables import honest_goal
from tests.benchmarks.extraction.traffic import PANES, Named, Stream, Traffic, Watch, play
from tests.benchmarks.extraction.worlds import Draw, Rows, World

FOLLOWS_GOAL = 0.8
KNOWN = 60
TAKEN_A_RUN = 4
SCRAPE = 600
"""Queries that a thief sends through a known key."""
VOLUMES = ((0, 99), (100, 399), (400, 10_000))


def section(deployment: Deployment, plan: Plan, seed: int) -> Section:
    """The meter beside real copies, what the study costs, and known clients, honest and taken over."""
    world = deployment.world
    watch = deployment.watches[MAIN if MAIN in deployment.watches else next(iter(deployment.watches))]
    out = _follows(world.name, measured(world, watch, plan, seed))
    crowd = honest.crowd(world, plan.crowd, (seed, 60), "k").batch(world, watch.visibility)
    out.figures[f"{world.name}, exposure: study, us an event"] = study_us(watch.detector, crowd)
    return out + _own_past(world, watch.visibility, plan, seed)


def measured(world: World, watch: Watch, plan: Plan, seed: int) -> Rows:
    """(m, 3) queries, agreement by the meter, agreement of the better real copy; prefixes of a client of each kind."""
    test = in_domain(world, np.random.default_rng([seed, 61]), 1_500, 60)
    truth = world.answer(test).label
    kinds: dict[str, Callable[[World, np.random.Generator, int], Rows]] = {
        "one honest client": lambda w, r, n: w.honest(r)(n),
        **{name: ATTACKS[name].queries for name in plan.attacks},
    }
    out = []
    for code, queries in enumerate(kinds.values()):
        for i in range(plan.metered):
            rows = queries(world, np.random.default_rng([seed, code, i, 62]), max(plan.volumes))
            for n, agreement in zip(plan.volumes, metered(world, watch, rows, plan.volumes), strict=True):
                copies = [fidelity(world, rows[:n], test, truth, learner(seed)) for learner in LEARNERS.values()]
                out.append((n, agreement, max(copies)))
    return np.array(out)


def metered(world: World, watch: Watch, rows: Rows, volumes: Sequence[int]) -> list[float]:
    """By the detector's meter, agreement of a copy trained on the first so many of one client's queries."""
    traffic = Traffic.of(world, [Stream("x", "", rows, np.arange(len(rows)) * PANES / len(rows))])
    batch = watch.detector.new_memory().annotate(traffic.batch(world, watch.visibility))
    sketches = watch.detector.sketch(batch, np.array([0, *volumes[:-1]]))
    sums = np.cumsum([sketch.keyed[EXPOSURE]["x"] for sketch in sketches], axis=0)
    copies = [watch.detector.study.copy(part) for part in sums]
    return [float("nan") if copy is None else copy.agreement for copy in copies]


def _follows(name: str, found: Rows) -> Section:
    out = Section()
    head = f"{name}, exposure"
    gap = found[:, 1] - found[:, 2]
    r = float(np.corrcoef(found[:, 1], found[:, 2])[0, 1])
    out.figures |= {
        f"{head}: correlation with real copies": r,
        f"{head}: rank correlation": float(stats.spearmanr(found[:, 1], found[:, 2])[0]),
        f"{head}: gap, mean": float(gap.mean()),
        f"{head}: gap, mean absolute": float(np.abs(gap).mean()),
    }
    for low, high in VOLUMES:
        part = np.abs(gap[(found[:, 0] >= low) & (found[:, 0] <= high)])
        if len(part):
            out.figures[f"{head}: gap, mean absolute, {low} to {high} queries"] = float(part.mean())
    out.at_least(f"{head}: the meter follows real copies", r, FOLLOWS_GOAL)
    return out


def study_us(detector: ExtractionDetector, batch: EventBatch) -> float:
    """CPU microseconds an event that the study adds to a sketch."""
    rows = detector.channels.rows(batch)
    client = np.unique(batch.client_id, return_inverse=True)[1]
    order = np.argsort(client, kind="stable")
    first = np.flatnonzero(np.diff(client[order], prepend=-1))
    return 1e6 * cpu_seconds(lambda: detector.study.sums(rows, batch, order, first, detector.channels)) / len(batch)


@dataclass(frozen=True, eq=False)
class Known:
    """A client of the reference, with a device and class mix that it keeps: its past, and its further queries."""

    past: Stream
    draw: Draw

    @classmethod
    def of(cls, world: World, client: str, rng: np.random.Generator) -> Known:
        draw = world.honest(rng)
        n = int(np.clip(rng.lognormal(np.log(250), 0.6), 40, 700))
        return cls(Stream(client, "known", draw(n), np.sort(rng.uniform(0.0, honest.REFERENCE_SPAN, n))), draw)

    def today(self, rng: np.random.Generator) -> Stream:
        """More of the same."""
        n = int(np.clip(rng.lognormal(np.log(150), 0.8), 12, 900))
        return Stream(self.past.client, "known", self.draw(n), np.sort(rng.uniform(0.0, PANES, n)))

    def taken(self, world: World, rng: np.random.Generator) -> Stream:
        """Half of today, then ordinary data of everybody through the same key, fast."""
        own = self.today(rng)
        half = len(own.rows) // 2
        rows = np.concatenate([own.rows[:half], in_domain(world, rng, SCRAPE, 40)])
        late = PANES / 2 * (1.0 + np.arange(SCRAPE) / SCRAPE)
        return Stream(own.client, "taken", rows, np.concatenate([own.at[:half] / 2, late]))


def _own_past(world: World, visibility: str, plan: Plan, seed: int) -> Section:
    """Known honest clients accused and warned of, and what of the keys that were taken over is found."""
    out = Section()
    rng = np.random.default_rng([seed, 63])
    known = [Known.of(world, f"ref-{i}", np.random.default_rng([seed, i, 64])) for i in range(KNOWN)]
    watch = Watch.on(world, Traffic.of(world, [k.past for k in known]), visibility, seed)

    def played(streams: list[Stream]) -> Named:
        return play(watch.detector, watch.panes(world, Traffic.of(world, streams)))

    days = [played([k.today(rng) for k in known]) for _ in range(plan.days)]
    accused = Share(sum(len(day.alarm) for day in days), KNOWN * plan.days)
    head = f"{world.name}, exposure: known honest clients"
    out.figures[f"{head} accused"] = accused
    out.figures[f"{head} warned of"] = Share(sum(len(day.warning) for day in days), accused.n)
    out += honest_goal(f"{head} accused", accused)
    keys = [k for k in known if len(k.past.rows) >= QUERIES // 5][: plan.taken]
    alarms = warnings = 0
    for lot in (keys[i : i + TAKEN_A_RUN] for i in range(0, len(keys), TAKEN_A_RUN)):
        day = played([k.taken(world, rng) if k in lot else k.today(rng) for k in known])
        alarms += sum(k.past.client in day.alarm for k in lot)
        warnings += sum(k.past.client in day.warning for k in lot)
    out.figures[f"{world.name}, exposure: keys taken over, alarm"] = Share(alarms, len(keys))
    out.figures[f"{world.name}, exposure: keys taken over, warned of"] = Share(warnings, len(keys))
    return out
