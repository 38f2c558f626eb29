"""Collusion benchmark: how often honest accounts are called a group, and thieves split over accounts are found.

``python -m tests.benchmarks collusion [--quick]``: twenty-five accounts of twenty queries each, half of them stolen,
hidden among honest accounts, awkward ones (health checks, batch keys) included; none sends enough to be judged alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.base import Arrays, Level, Pane, Reading, Subject, SubjectType
from detectors.extraction.detector import ExtractionDetector
from tests.benchmarks import extraction_worlds as worlds
from tests.benchmarks.extraction import PANE_S, PANES, Stream, fitted, honest_stream, join, reference, sketches
from tests.benchmarks.report import Goal, Report

ACCOUNTS, QUERIES, SHARE = 25, 20, 0.5
FAR, NEAR = ("foreign", "uniform"), ("jbda", "uncertainty")


@dataclass(frozen=True)
class Plan:
    """How much is measured; ``honest`` and ``attacked`` give crowd size and runs."""

    worlds: tuple[str, ...]
    honest: tuple[tuple[int, int], ...]
    attacked: tuple[tuple[int, int], ...]
    n_reference: int


FULL = Plan(("digits", "flights"), ((40, 60), (100, 25), (400, 8)), ((40, 10), (400, 4)), 60)
QUICK = Plan(("flights",), ((40, 6),), ((40, 2),), 60)


def split_theft(world: Any, attack: str, rng: np.random.Generator) -> list[Stream]:
    """One attack's queries, mixed into honest ones and dealt out to the accounts in turn."""
    n = ACCOUNTS * QUERIES
    rows = np.concatenate([world.honest(rng)(QUERIES) for _ in range(ACCOUNTS)])
    theirs = worlds.ATTACKS[attack](world, rng, round(SHARE * n))
    turn = np.arange(n).reshape(ACCOUNTS, QUERIES).T.ravel()
    rows[turn[np.sort(rng.permutation(n)[: len(theirs)])]] = theirs
    pane = np.arange(QUERIES) * PANES // QUERIES
    return [Stream(f"sybil-{i}", rows[i * QUERIES : (i + 1) * QUERIES], pane) for i in range(ACCOUNTS)]


def group_readings(detector: ExtractionDetector, world: Any, streams: Sequence[Stream], seed: Any) -> list[Reading]:
    """Every warning and alarm over the panes of these streams."""
    evidence: dict[Subject, Arrays] = {}
    out: list[Reading] = []
    batch = join(world, streams, "scores", np.random.default_rng(seed), "g")
    for i, sketch in enumerate(sketches(detector, batch)):
        pane = Pane(1.7e9 + i * PANE_S, PANE_S, 0, sketch)
        judged = detector.judge({s: evidence[s] for s in detector.subjects(pane) if s in evidence}, pane)
        evidence.update(judged.evidence)
        out += [r for r in judged.readings if r.level in (Level.WARNING, Level.ALARM)]
    return out


def crowd(world: Any, n: int, rng: np.random.Generator) -> list[Stream]:
    return [honest_stream(world, f"c-{i}", rng) for i in range(n)]


def false_groups(world: Any, detector: ExtractionDetector, size: int, runs: int, seed: int) -> tuple[int, int, int]:
    """Deployments of honest accounts with a group alarm, with a group warning, and with a client alarm."""
    found = [
        group_readings(detector, world, crowd(world, size, np.random.default_rng([seed, i, size])), [seed, i, 1])
        for i in range(runs)
    ]
    groups = [[r.level for r in readings if r.subject.type is SubjectType.CLIENT_GROUP] for readings in found]
    alone = [any(r.level is Level.ALARM and r.subject.type is SubjectType.CLIENT for r in rs) for rs in found]
    return sum(Level.ALARM in levels for levels in groups), sum(bool(levels) for levels in groups), sum(alone)


@dataclass(frozen=True)
class Caught:
    """Shares of runs with a group alarm or warning that is mostly right, and with a thief named alone; mean purity and
    share of the accounts that are members of it."""

    alarmed: float
    warned: float
    alone: float
    purity: float
    listed: float


def caught(world: Any, detector: ExtractionDetector, attack: str, size: int, runs: int, seed: int) -> Caught:
    """How often the split theft is found, and how well its accounts are listed."""
    rows = []
    for i in range(runs):
        rng = np.random.default_rng([seed, i, size, 5])
        streams = [*crowd(world, size, rng), *split_theft(world, attack, rng)]
        readings = group_readings(detector, world, streams, [seed, i, 2])
        right = [r for r in readings if r.subject.type is SubjectType.CLIENT_GROUP and purity(r) >= 0.5]
        alarms = [r for r in right if r.level is Level.ALARM]
        alone = any(r.level is Level.ALARM and r.subject.id.startswith("sybil-") for r in readings)
        last = alarms[-1] if alarms else None
        rows.append(
            (
                bool(alarms),
                bool(right),
                alone,
                np.nan if last is None else purity(last),
                np.nan if last is None else purity(last) * len(last.subject.members) / ACCOUNTS,
            )
        )
    table = np.array(rows, dtype=np.float64)
    shown = np.nan if np.isnan(table[:, 3]).all() else 0.0
    means = [float(np.nanmean(table[:, j])) if shown == 0.0 else shown for j in (3, 4)]
    return Caught(*(float(table[:, j].mean()) for j in range(3)), *means)


def purity(reading: Reading) -> float:
    """Share of a group's members that are the thief's."""
    return float(np.mean([m.startswith("sybil-") for m in reading.subject.members]))


def run(quick: bool, seed: int) -> Report:
    """Measure every world of the plan."""
    plan = QUICK if quick else FULL
    figures: dict[str, Any] = {}
    goals: list[Goal] = []
    for name in plan.worlds:
        world = worlds.WORLDS[name](seed)
        detector, _, _ = fitted(reference(world, plan.n_reference, "scores", seed), seed)
        wrong = deployments = 0
        for size, runs in plan.honest:
            alarms, warnings, alone = false_groups(world, detector, size, runs, seed)
            figures[f"{name}: {runs} x {size} honest accounts, with a group alarm / warning / client alarm"] = (
                f"{alarms} / {warnings} / {alone}"
            )
            wrong, deployments = wrong + alarms, deployments + runs
        goals.append(
            Goal(
                f"{name}: honest deployments with a group alarm",
                wrong / deployments,
                "<= 0.01",
                wrong <= 0.01 * deployments,
            )
        )
        for size, runs in plan.attacked:
            found = {attack: caught(world, detector, attack, size, runs, seed) for attack in (*FAR, *NEAR)}
            for attack, c in found.items():
                figures[f"{name}: {attack} split, {size} honest: alarm / warned / alone / purity / listed"] = (
                    f"{c.alarmed:.2f} / {c.warned:.2f} / {c.alone:.2f} / {c.purity:.2f} / {c.listed:.2f}"
                )
            for label, attacks, least in (("far", FAR, 0.9), ("near", NEAR, 0.5)):
                rate = float(np.mean([found[a].alarmed for a in attacks]))
                goals.append(
                    Goal(f"{name}: split {label}-domain theft among {size}", rate, f">= {least}", rate >= least)
                )
    return Report("collusion", figures, goals)
