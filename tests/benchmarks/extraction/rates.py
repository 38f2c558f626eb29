"""Ours: honest clients accused over their whole stream, and thieves found, at every visibility of a world.

A client counts as accused or found where either detector that names single clients raises an alarm on it: that of theft
or that of walks, as whoever reads the alerts would see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detectors.base import Pane
from detectors.evasion.detector import EvasionDetector
from tests.benchmarks.extraction import honest
from tests.benchmarks.extraction.attacks import ATTACKS, QUERIES, thief
from tests.benchmarks.extraction.figures import Share
from tests.benchmarks.extraction.plan import MAIN, Plan
from tests.benchmarks.extraction.surrogate import fidelity
from tests.benchmarks.extraction.traffic import NEVER, PANES, Named, Traffic, Watch, beside, play
from tests.benchmarks.extraction.worlds import Rows, World

EARLY = 100
COPIED = (1.0, 0.5)
"""Shares at which a thief's copy is trained."""


@dataclass(frozen=True)
class Deployment:
    """One reference and what watches after it, for theft and for walks; ``number`` seeds its clients."""

    world: World
    number: int
    watches: Mapping[str, Watch]
    walks: Mapping[str, Watch]

    @classmethod
    def of(cls, world: World, plan: Plan, number: int, seed: int, visibilities: tuple[str, ...]) -> Deployment:
        reference = honest.reference(world, plan.reference, (seed, number, 1))
        seen = [v for v in visibilities if v != "all" or reference.answers.embedding is not None]
        watches = {v: Watch.on(world, reference, v, seed) for v in seen}
        return cls(world, number, watches, {v: Watch.on(world, reference, v, seed, EvasionDetector) for v in seen})

    def both(self, visibility: str) -> tuple[Watch, Watch]:
        """What names single clients at a visibility."""
        return self.watches[visibility], self.walks[visibility]


@dataclass
class Accused:
    """Honest clients by visibility and sort: how many there were, under alarm, and under a warning at least."""

    clients: dict[tuple[str, str], int] = field(default_factory=dict)
    alarms: dict[tuple[str, str], int] = field(default_factory=dict)
    warnings: dict[tuple[str, str], int] = field(default_factory=dict)

    def note(self, visibility: str, sort: str, alarm: bool, warning: bool) -> None:
        key = (visibility, sort)
        for table, hit in ((self.clients, True), (self.alarms, alarm), (self.warnings, warning)):
            table[key] = table.get(key, 0) + int(hit)

    def share(self, visibility: str, sort: str | None = None, table: str = "alarms") -> Share:
        keys = [k for k in self.clients if k[0] == visibility and sort in (None, k[1])]
        hits: dict[tuple[str, str], int] = getattr(self, table)
        return Share(sum(hits[k] for k in keys), sum(self.clients[k] for k in keys))


def crowds(plan: Plan, deployment: Deployment, seed: int) -> Iterator[tuple[Traffic, tuple[str, ...]]]:
    """This deployment's honest crowds, each with the visibilities that it is to be judged at."""
    for i in range(-(-plan.honest // plan.crowd)):
        if i % plan.references == deployment.number:
            aside = i * plan.crowd < plan.honest_aside
            traffic = honest.crowd(deployment.world, plan.crowd, (seed, i, 2), f"h{i}-")
            yield traffic, tuple(v for v in deployment.watches if v == MAIN or aside or MAIN not in deployment.watches)


def judge_honest(deployment: Deployment, traffic: Traffic, visibilities: tuple[str, ...], accused: Accused) -> None:
    """Play a crowd and note who was accused."""
    for visibility in visibilities:
        named = [play(watch.detector, watch.panes(deployment.world, traffic)) for watch in deployment.both(visibility)]
        alarms, warnings = [n.alarm for n in named], [n.warning for n in named]
        for client, sort in zip(traffic.names, traffic.sorts, strict=True):
            alarm, warning = (any(client in level for level in levels) for levels in (alarms, warnings))
            accused.note(visibility, sort, alarm, warning)


@dataclass(frozen=True)
class Found:
    """One thief: its queries when it was first under alarm and under a warning, ``NEVER`` if it was not.

    ``walk`` is the alarm of the detector of walks alone.
    """

    visibility: str
    attack: str
    share: float
    thief: int
    alarm: int
    warning: int
    walk: int
    copy: Copy | None = None


@dataclass(frozen=True)
class Copy:
    """How far a copy made at the alarm (or the end), the final copy, and a constant answer agree with the model."""

    then: float
    final: float
    constant: float

    @property
    def ratio(self) -> float:
        return self.then / self.final

    @property
    def ratio_beyond_chance(self) -> float:
        gain = self.final - self.constant
        return float(np.clip((self.then - self.constant) / gain, 0.0, 1.0)) if gain > 0.02 else 1.0


def sequences(world: World, attack: str, thieves: int, seed: int, lot: int = 3) -> list[Rows]:
    """The first ``QUERIES`` queries of each thief with that attack; ``lot`` keeps learners' thieves apart."""
    code = list(ATTACKS).index(attack)
    return [
        ATTACKS[attack].queries(world, np.random.default_rng([seed, code, i, lot]), QUERIES) for i in range(thieves)
    ]


def thieves(
    world: World, plan: Plan, seed: int, lot: int = 3, count: int | None = None
) -> Iterator[tuple[Any, Traffic]]:
    """((attack, share, number), traffic of that thief alone) for every cell."""
    count = plan.thieves if count is None else count
    for attack in plan.attacks:
        theirs = sequences(world, attack, count, seed, lot)
        for share in plan.shares:
            for i, rows in enumerate(theirs):
                rng = np.random.default_rng([seed, i, lot, int(100 * share)])
                yield (attack, share, i), Traffic.of(world, [thief(world, attack, share, rows, rng, "thief")])


def find_thieves(
    deployment: Deployment, plan: Plan, seed: int, noted: Callable[[str, float, Traffic, tuple[str, ...]], None]
) -> list[Found]:
    """Every thief of this deployment, alone among honest clients, at every visibility; ``noted`` sees each too."""
    world = deployment.world
    copies = Copies.on(world, seed)
    crowd = honest.crowd(world, plan.beside, (seed, deployment.number, 4), "c")
    company = {v: [watch.panes(world, crowd) for watch in deployment.both(v)] for v in deployment.watches}
    out: list[Found] = []
    for (attack, share, i), traffic in thieves(world, plan, seed):
        if i % plan.references != deployment.number:
            continue
        seen = traffic.seen()[0]
        main_only = MAIN in deployment.watches and i >= plan.thieves_aside
        visibilities = tuple(v for v in deployment.watches if v == MAIN or not main_only)
        noted(attack, share, traffic, visibilities)
        for visibility in visibilities:
            theft, walk = _named(deployment, visibility, traffic, company[visibility])
            alarm, warning = (
                earliest(level, seen) for level in ((theft.alarm, walk.alarm), (theft.warning, walk.warning))
            )
            copy = copies.at(traffic, alarm) if visibility == MAIN and share in COPIED else None
            out.append(Found(visibility, attack, share, i, alarm, warning, earliest((walk.alarm,), seen), copy))
    return out


def _named(
    deployment: Deployment, visibility: str, traffic: Traffic, company: Sequence[Sequence[Pane]]
) -> tuple[Named, Named]:
    """Whom the detectors of theft and of walks name when the thief's traffic joins a crowd."""
    theft, walk = (
        play(watch.detector, beside(crowd, watch.panes(deployment.world, traffic)), until="thief")
        for watch, crowd in zip(deployment.both(visibility), company, strict=True)
    )
    return theft, walk


def earliest(named: Iterable[Mapping[str, int]], seen: Rows) -> int:
    """The thief's queries up to the pane in which it was first named, ``NEVER`` if it was not."""
    panes = [panes_of["thief"] for panes_of in named if "thief" in panes_of]
    return int(seen[min(panes)]) if panes else NEVER


@dataclass(frozen=True, eq=False)
class Copies:
    """Judges a thief's copies on ordinary rows."""

    world: World
    ordinary: Rows
    truth: Rows

    @classmethod
    def on(cls, world: World, seed: int) -> Copies:
        rng = np.random.default_rng([seed, 8])
        rows = world.pool[rng.permutation(len(world.pool))[:800]]
        return cls(world, rows, world.answer(rows).label)

    def at(self, traffic: Traffic, alarm: int) -> Copy:
        """Of copies trained on the answers until the alarm, and on all."""
        whole = fidelity(self.world, traffic.rows, self.ordinary, self.truth)
        then = fidelity(self.world, traffic.rows[:alarm], self.ordinary, self.truth) if alarm < QUERIES else whole
        return Copy(then, whole, float(np.bincount(self.truth).max() / len(self.truth)))


def cells(found: list[Found]) -> dict[tuple[str, str, float], list[Found]]:
    """(visibility, attack, share) → its thieves."""
    out: dict[tuple[str, str, float], list[Found]] = {}
    for item in found:
        out.setdefault((item.visibility, item.attack, item.share), []).append(item)
    return out


def summary(group: list[Found]) -> dict[str, Any]:
    """What one cell says: found within 500 and 100 queries, by its walk alone, warned of, median queries."""
    alarm = np.array([f.alarm for f in group])
    return {
        "found": Share.of(alarm <= QUERIES),
        "within 100": Share.of(alarm <= EARLY),
        "by its walk": Share.of(f.walk <= QUERIES for f in group),
        "warned": Share.of(f.warning <= QUERIES for f in group),
        "median queries": float(np.median(np.where(alarm <= QUERIES, alarm, np.inf))),
    }


def drifted(world: World, traffic: Traffic, onset: int = PANES // 2) -> Traffic:
    """The same clients, all of whose inputs change together at ``onset``."""
    rows = np.where((traffic.at >= onset)[:, None], world.drifted(traffic.rows), traffic.rows)
    return replace(traffic, rows=rows, answers=world.answer(rows))
