"""Extraction benchmark: who is accused among honest clients, and how soon thieves are, on three models.

``python -m tests.benchmarks extraction [--quick]``; quick looks at two models and three attacks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from detectors.base import Arrays, Level, Pane, Part, Subject, SubjectType
from detectors.batch import EventBatch
from detectors.budget import AlarmBudget
from detectors.extraction.detector import ExtractionDetector
from detectors.schema import Schema, infer_schema
from detectors.sketch import Sketch
from tests.benchmarks import extraction_worlds as worlds
from tests.benchmarks.report import Goal, Report

PANES = 20
PANE_S = 60.0
SHARES = (1.0, 0.5, 0.25, 0.1)
BUDGET = AlarmBudget(1.0, PANE_S)


@dataclass(frozen=True)
class Stream:
    """One client's queries (n, p) and the pane of each."""

    client: str
    rows: np.ndarray
    pane: np.ndarray


def honest_stream(world: Any, client: str, rng: np.random.Generator, panes: int = PANES) -> Stream:
    """An ordinary client: heavy-tailed volume, retries; one in twenty is a health check, one a batch key."""
    draw = world.honest(rng)
    n = int(np.clip(rng.lognormal(np.log(110), 0.8), 12, 700))
    habit = rng.random()
    if habit < 0.05:
        rows = draw(3)[rng.integers(3, size=n)]
    elif habit < 0.1:
        rows = np.tile(draw(max(10, n // 3)), (3, 1))[:n]
    else:
        rows = draw(n)
        again = rng.random(n) < 0.04
        again[0] = False
        rows[again] = rows[np.flatnonzero(again) - 1]
    return Stream(client, rows, np.sort(rng.integers(panes, size=len(rows))))


def thief_stream(world: Any, client: str, attack: str, share: float, rng: np.random.Generator, n: int = 500) -> Stream:
    """A thief that mixes ``share`` of attack queries into honest ones, n queries evenly over the panes."""
    theirs = worlds.ATTACKS[attack](world, rng, max(1, round(share * n)))
    rows = world.honest(rng)(n)
    rows[np.sort(rng.permutation(n)[: len(theirs)])] = theirs
    return Stream(client, rows, np.arange(n) * PANES // n)


def reference(world: Any, n_clients: int, visibility: str, seed: int) -> EventBatch:
    """Ordinary events of honest clients, in time order."""
    rng = np.random.default_rng(seed)
    streams = [honest_stream(world, f"ref-{i}", rng, 200) for i in range(n_clients)]
    return join(world, streams, visibility, rng, "r")


def join(world: Any, streams: Sequence[Stream], visibility: str, rng: np.random.Generator, prefix: str) -> EventBatch:
    """All queries of the streams as one batch; a client's own order is kept."""
    rows = np.concatenate([s.rows for s in streams])
    clients = np.repeat([s.client for s in streams], [len(s.rows) for s in streams])
    offset = np.concatenate([np.sort(rng.random(len(s.rows))) for s in streams])
    pane = np.concatenate([s.pane for s in streams])
    for p in np.unique(pane):
        inside = pane == p
        for c in np.unique(clients[inside]):
            own = inside & (clients == c)
            offset[own] = np.sort(rng.random(int(own.sum())))
    at = 1.7e9 + PANE_S * (pane + 0.999 * offset)
    order = np.argsort(at, kind="stable")
    return world.batch(rows[order], clients[order].tolist(), at[order], visibility, prefix)


def fitted(batch: EventBatch, seed: int) -> tuple[ExtractionDetector, Schema, Part]:
    schema = infer_schema(batch)
    part = ExtractionDetector.fit(batch, schema, PANE_S, seed)
    assert isinstance(part, Part), part
    return ExtractionDetector.build(part, schema, BUDGET), schema, part


def sketches(detector: ExtractionDetector, batch: EventBatch) -> list[Sketch]:
    """One sketch a pane, through rings, as a worker would make them."""
    batch = detector.new_memory().annotate(batch)
    pane = ((batch.timestamp - 1.7e9) // PANE_S).astype(int)
    starts = np.searchsorted(pane, np.arange(PANES))
    return list(detector.sketch(batch, starts))


def play(detector: ExtractionDetector, panes: Sequence[Sketch]) -> dict[str, dict[str, int]]:
    """Client -> level -> events of that client when the level was first reached."""
    evidence: dict[Subject, Arrays] = {}
    first: dict[str, dict[str, int]] = {}
    for i, sketch in enumerate(panes):
        pane = Pane(1.7e9 + i * PANE_S, PANE_S, 0, sketch)
        wanted = {s: evidence[s] for s in detector.subjects(pane) if s in evidence}
        judged = detector.judge(wanted, pane)
        evidence.update(judged.evidence)
        for reading in judged.readings:
            if reading.subject.type is SubjectType.CLIENT and reading.level in (Level.WARNING, Level.ALARM):
                seen = int(evidence[reading.subject]["sums"][0][0])
                first.setdefault(reading.subject.id, {}).setdefault(reading.level.value, seen)
    return first


def prada(streams: Sequence[Stream], world: Any) -> list[float]:
    """Least Shapiro-Wilk W of each client's minimum same-class distances, over looks at 100, 150, ... queries."""
    out = []
    for stream in streams:
        label = world.score(stream.rows).argmax(axis=1)
        scale = world.pool.std(axis=0) if world.categories else 1.0
        rows = stream.rows / np.maximum(scale, 1e-9)
        gaps = []
        for i in range(1, len(rows)):
            same = np.flatnonzero(label[:i] == label[i])
            if len(same):
                gaps.append(float(np.sqrt(((rows[same] - rows[i]) ** 2).sum(axis=1).min())))
        least = 1.0
        for n in range(100, len(gaps) + 1, 50):
            d = np.array(gaps[:n])
            d = d[np.abs(d - d.mean()) <= 3 * d.std() + 1e-12]
            if np.ptp(d) > 0:
                least = min(least, float(stats.shapiro(d).statistic))
        out.append(least)
    return out


def prada_rates(world: Any, plan: Plan, seed: int) -> dict[str, float]:
    """Share of thieves that PRADA flags within 500 queries at the threshold that spares sixty honest clients."""
    rng = np.random.default_rng([seed, 17])
    limit = min(prada([honest_stream(world, f"p{i}", rng) for i in range(60)], world))
    out = {}
    for attack in plan.attacks:
        for share in plan.shares:
            streams = [thief_stream(world, "t", attack, share, rng) for _ in range(min(plan.thieves, 5))]
            out[f"{attack} {share:.0%}"] = float(np.mean([w < limit for w in prada(streams, world)]))
    return out


def drift_rates(world: Any, detector: ExtractionDetector, visibility: str, runs: int, seed: int) -> dict[str, int]:
    """Alarms among honest clients whose inputs all change together in the eighth pane, in crowds of several sizes."""
    alarms = warnings = total = 0
    for run_ in range(runs):
        for size in (6, 20, 60):
            rng = np.random.default_rng([seed, run_, size, 13])
            streams = [honest_stream(world, f"d{run_}-{i}", rng) for i in range(size)]
            moved = [
                Stream(s.client, np.where((s.pane >= 8)[:, None], world.drifted(s.rows), s.rows), s.pane)
                for s in streams
            ]
            first = play(detector, sketches(detector, join(world, moved, visibility, rng, "d")))
            alarms += sum("alarm" in v for v in first.values())
            warnings += sum("warning" in v for v in first.values())
            total += size
    return {"clients": total, "alarms": alarms, "warnings": warnings}


def honest_rates(world: Any, detector: ExtractionDetector, visibility: str, runs: int, size: int, seed: int) -> Any:
    """Alarms and warnings among honest clients, over ``runs`` deployments of ``size`` clients."""
    alarms = warnings = total = 0
    kept: list[Sketch] = []
    for run_ in range(runs):
        rng = np.random.default_rng([seed, run_, 7])
        streams = [honest_stream(world, f"c{run_}-{i}", rng) for i in range(size)]
        kept = sketches(detector, join(world, streams, visibility, rng, f"h{run_}-"))
        first = play(detector, kept)
        alarms += sum("alarm" in v for v in first.values())
        warnings += sum("warning" in v for v in first.values())
        total += size
    return alarms, warnings, total, kept


def detection(
    world: Any, detector: ExtractionDetector, visibility: str, crowd: Sequence[Sketch], plan: Plan, seed: int
) -> dict[str, dict[str, float]]:
    """For each attack and share: share of thieves named within 500 queries, within 100, and by a warning at least."""
    out: dict[str, dict[str, float]] = {}
    thieves = plan.thieves
    for attack in plan.attacks:
        for share in plan.shares:
            found = early = warned = 0
            for i in range(thieves):
                rng = np.random.default_rng([seed, i, 11, int(100 * share)])
                stream = thief_stream(world, "thief", attack, share, rng)
                own = sketches(detector, join(world, [stream], visibility, rng, "t"))
                first = play(detector, [a + b for a, b in zip(crowd, own, strict=True)]).get("thief", {})
                found += "alarm" in first
                early += first.get("alarm", 10**9) <= 100
                warned += bool(first)
            out[f"{attack} {share:.0%}"] = {
                "tpr500": found / thieves,
                "tpr100": early / thieves,
                "warned": warned / thieves,
            }
    return out


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    worlds: tuple[str, ...]
    attacks: tuple[str, ...]
    shares: tuple[float, ...]
    thieves: int
    runs: int
    size: int


FULL = Plan(tuple(worlds.WORLDS), tuple(worlds.ATTACKS), SHARES, 20, 12, 90)
QUICK = Plan(("digits", "flights"), ("foreign", "uniform", "jbda"), (1.0, 0.5), 3, 2, 40)


def run(quick: bool, seed: int) -> Report:
    """Measure every world of the plan."""
    plan = QUICK if quick else FULL
    figures: dict[str, Any] = {}
    goals: list[Goal] = []
    for name in plan.worlds:
        found, held = measure(worlds.WORLDS[name](seed), "scores", 60, plan, seed)
        figures.update({f"{name}: {key}": value for key, value in found.items()})
        goals += held
    return Report("extraction", figures, goals)


def measure(
    world: Any, visibility: str, n_reference: int, plan: Plan, seed: int
) -> tuple[Mapping[str, Any], list[Goal]]:
    batch = reference(world, n_reference, visibility, seed)
    began = time.perf_counter()
    detector, _, part = fitted(batch, seed)
    fit_s = time.perf_counter() - began
    began = time.perf_counter()
    sketches(detector, batch)
    cost = (time.perf_counter() - began) / len(batch) * 1e6
    alarms, warnings, total, crowd = honest_rates(world, detector, visibility, plan.runs, plan.size, seed)
    drift = drift_rates(world, detector, visibility, max(1, plan.runs // 2), seed)
    crowd = [Sketch(keyed={k: dict(list(v.items())[:40]) for k, v in s.keyed.items()}) for s in crowd]
    rates = detection(world, detector, visibility, crowd, plan, seed)
    for key, value in prada_rates(world, plan, seed).items():
        rates[key]["prada"] = value
    far = [rates[f"{a} {s}"]["tpr500"] for a in ("foreign", "uniform") for s in ("100%", "50%")]
    early = [rates[f"{a} 100%"]["tpr100"] for a in ("foreign", "uniform")]
    fpr = alarms / total
    figures = {
        "fit_s": round(fit_s, 2),
        "sketch_us_per_event": round(cost, 1),
        "reference_events": len(batch),
        "part_bytes": int(sum(a.nbytes for a in part.arrays.values())),
        **{f"honest {key}": value for key, value in (("clients", total), ("alarms", alarms), ("warnings", warnings))},
        **{f"under drift, {key}": value for key, value in drift.items()},
        **{f"{attack}, {what}": value for attack, row in rates.items() for what, value in row.items()},
    }
    goal = Goal
    goals = [
        goal(f"{world.name}: honest clients accused", fpr, "<= 2e-3", fpr <= 2e-3),
        goal(f"{world.name}: honest clients accused under drift", drift["alarms"], "<= 1", drift["alarms"] <= 1),
        goal(f"{world.name}: far domain, 100 % and 50 %, within 500", min(far), ">= 0.95", min(far) >= 0.95),
        goal(f"{world.name}: pure far domain within 100", min(early), ">= 0.9", min(early) >= 0.9),
        goal(f"{world.name}: JBDA pure", rates["jbda 100%"]["tpr500"], ">= 0.8", rates["jbda 100%"]["tpr500"] >= 0.8),
    ]
    return figures, goals
