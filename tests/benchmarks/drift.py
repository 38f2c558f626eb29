"""Drift: false alarms against the budget, and delays beside river's detectors, in one run.

Streams are standard normal columns; the clock is fast (B = 200 panes) so that run lengths can be measured. Peers watch
the same single column, with their own defaults; their false alarms on the same clean streams are printed beside their
delays, since a fast detector that cries wolf is not faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from river import drift as river_drift
from scipy.signal import lfilter
from scipy.stats import chi2

from detectors.base import Level, Pane, Part
from detectors.batch import EventBatch
from detectors.budget import WEEK_S, AlarmBudget
from detectors.drift.marginals import MarginalDrift
from detectors.schema import infer_schema
from tests.benchmarks.report import Goal, Report

PANE_S = 10.0
BOUND = 200.0
SHIFTS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Cell:
    """One setting of the run-length grid."""

    n_reference: int
    columns: int
    per_pane: int
    autocorrelation: float = 0.0

    @property
    def name(self) -> str:
        tail = f" ar={self.autocorrelation}" if self.autocorrelation else ""
        return f"N={self.n_reference} d={self.columns} pane={self.per_pane}{tail}"


def run(quick: bool, seed: int) -> Report:
    figures: dict[str, float] = {}
    goals: list[Goal] = []
    runs, panes = (6, 200) if quick else (40, 1_000)
    for cell in _cells(quick):
        rate, upper = _false_alarms(cell, runs, panes, seed)
        figures[f"false alarms / budget, {cell.name}"] = rate
        limit = 1.5 if cell.autocorrelation else 1.0
        goals.append(
            Goal(f"upper 95 % limit of false alarms / budget, {cell.name}", upper, f"≤ {limit}", upper <= limit)
        )
    delays = _delays(quick, seed)
    figures.update(delays)
    for shift, most in ((0.5, 1_200.0), (1.0, 300.0)):
        value = delays[f"delay in events, shift {shift} sd, vedette"]
        goals.append(Goal(f"delay in events, shift {shift} sd", value, f"≤ {most:g}", value <= most))
    return Report("drift", figures, goals)


def _cells(quick: bool) -> list[Cell]:
    if quick:
        return [Cell(500, 1, 50), Cell(2_000, 20, 50), Cell(2_000, 5, 50, autocorrelation=0.5)]
    sizes = [Cell(n, d, p) for n in (500, 2_000, 20_000) for d in (1, 20, 100) for p in (10, 50)]
    return [*sizes, *[Cell(5_000, 5, 50, autocorrelation=a) for a in (0.3, 0.5, 0.8, 0.9)]]


def _false_alarms(cell: Cell, runs: int, panes: int, seed: int) -> tuple[float, float]:
    """Mean alarms of the drift share of the budget, relative to it, and the exact Poisson upper 95 % limit."""
    alarms = 0
    for run_index in range(runs):
        rng = np.random.default_rng([seed, run_index, cell.n_reference, cell.columns])
        detector = _fitted(_columns(rng, cell.n_reference, cell.columns, cell.autocorrelation))
        live = _columns(rng, panes * cell.per_pane, cell.columns, cell.autocorrelation)
        alarms += sum(_alarm_panes(detector, live, cell.per_pane))
    allowed = runs * panes / BOUND
    return alarms / allowed, _poisson_upper(alarms) / allowed


def _poisson_upper(count: int) -> float:
    return float(chi2.ppf(0.95, 2 * count + 2) / 2)


def _columns(rng: np.random.Generator, n: int, d: int, autocorrelation: float) -> np.ndarray:
    noise = rng.normal(size=(n, d))
    if not autocorrelation:
        return noise
    scale = np.sqrt(1 - autocorrelation**2)
    return np.asarray(lfilter([scale], [1.0, -autocorrelation], noise, axis=0))


def _batch(values: np.ndarray) -> EventBatch:
    n, d = values.shape
    return EventBatch(
        model="m",
        version="",
        event_id=np.full(n, "", dtype=object),
        timestamp=np.arange(n) * PANE_S / 50,
        numeric_names=tuple(f"x{i}" for i in range(d)),
        numeric=values,
    )


def _fitted(values: np.ndarray, bound: float = BOUND) -> MarginalDrift:
    batch = _batch(values)
    schema = infer_schema(batch)
    part = MarginalDrift.fit(batch, schema, PANE_S, seed=0)
    assert isinstance(part, Part)
    budget = AlarmBudget(WEEK_S / PANE_S / bound, PANE_S, {"drift": 1.0})
    return MarginalDrift.build(part, schema, budget)


def _alarm_panes(detector: MarginalDrift, values: np.ndarray, per_pane: int) -> list[bool]:
    evidence, alarms = {}, []
    starts = np.arange(0, len(values), per_pane)
    for i, sketch in enumerate(detector.sketch(_batch(values), starts)):
        judgement = detector.judge(evidence, Pane(i * PANE_S, PANE_S, per_pane, sketch))
        evidence = judgement.evidence
        alarms.append(judgement.readings[0].level is Level.ALARM)
    return alarms


def _delays(quick: bool, seed: int) -> dict[str, float]:
    """Median events from onset to alarm on one column, N = 2,000, budget one false alarm in 10,000 panes of 10."""
    runs, longest, clean = (5, 6_000, 6_000) if quick else (30, 20_000, 30_000)
    figures: dict[str, float] = {}
    peers: dict[str, Callable[[], object]] = {
        "river ADWIN": river_drift.ADWIN,
        "river KSWIN": lambda: river_drift.KSWIN(seed=seed),
        "river PageHinkley": river_drift.PageHinkley,
    }
    for shift in SHIFTS:
        delays = []
        for run_index in range(runs):
            rng = np.random.default_rng([seed, run_index])
            detector = _fitted(rng.normal(size=(2_000, 1)), bound=10_000.0)
            live = rng.normal(size=(longest, 1)) + shift
            alarms = _alarm_panes(detector, live, 10)
            delays.append((alarms.index(True) + 1) * 10 if True in alarms else longest)
        figures[f"delay in events, shift {shift} sd, vedette"] = float(np.median(delays))
        for name, make in peers.items():
            found = [_peer_delay(make(), np.random.default_rng([seed, r]), shift, longest) for r in range(runs)]
            figures[f"delay in events, shift {shift} sd, {name}"] = float(np.median(found))
    for name, make in peers.items():
        rng = np.random.default_rng([seed, 99])
        figures[f"false alarms per 100,000 clean events, {name}"] = _peer_alarms(make(), rng, clean) * 100_000 / clean
    return figures


def _peer_delay(detector, rng: np.random.Generator, shift: float, longest: int) -> float:
    for value in rng.normal(size=2_000):
        detector.update(value)
    for i, value in enumerate(rng.normal(size=longest) + shift):
        detector.update(value)
        if detector.drift_detected:
            return i + 1
    return longest


def _peer_alarms(detector, rng: np.random.Generator, clean: int) -> int:
    alarms = 0
    for value in rng.normal(size=clean):
        detector.update(value)
        alarms += detector.drift_detected
    return alarms
