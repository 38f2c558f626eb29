"""Seeded models with known accuracy, and the panes of their traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.base import MODEL, Level, Pane, Part, Reading
from detectors.batch import EventBatch, IntArray
from detectors.budget import AlarmBudget
from detectors.performance.detector import PerformanceDetector
from detectors.performance.outcomes import joined
from detectors.schema import infer_schema
from detectors.sketch import Sketch

PANE_S = 10.0
PER_PANE = 50
RATE = PER_PANE / PANE_S
Sums = Mapping[str, IntArray]


def logistic(n: int, rng: np.random.Generator, shift: float = 0.0, flip: float = 0.0, start: float = 0.0) -> EventBatch:
    """An overconfident binary classifier (accuracy 0.88) that is the less sure the larger its first input.

    ``shift`` moves that input; ``flip`` turns so many labels over, whatever the inputs.
    """
    x = rng.normal(size=(n, 4)) + np.array([shift, 0, 0, 0])
    odds = 2.0 * np.exp(-0.5 * x[:, 0]) * (x @ np.array([0.0, 2.0, 1.0, 0.5]))
    truth = (rng.random(n) < 1 / (1 + np.exp(-odds))) ^ (rng.random(n) < flip)
    p = 1 / (1 + np.exp(-1.5 * odds))
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=start + np.arange(n) / RATE,
        numeric_names=tuple("abcd"),
        numeric=x,
        probabilities=np.stack([1 - p, p], axis=1),
        classes=("no", "yes"),
        prediction=np.where(p > 0.5, "yes", "no").astype(object),
        label=np.where(truth, "yes", "no").astype(object),
    )


def regression(n: int, rng: np.random.Generator, worse: float = 1.0, start: float = 0.0) -> EventBatch:
    """Prices of about 100 with an error of standard deviation ``5 x worse``."""
    predicted = rng.normal(100.0, 20.0, size=n)
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=start + np.arange(n) / RATE,
        prediction=predicted.astype(object),
        label=(predicted + rng.normal(0.0, 5.0 * worse, size=n)).astype(object),
    )


def fitted(
    reference: EventBatch, alarms_per_week: float = 1.0, share: float = 0.08, tolerance: float = 0.02
) -> PerformanceDetector:
    schema = infer_schema(reference)
    part = PerformanceDetector.fit(reference, schema, PANE_S, 0)
    assert isinstance(part, Part), part
    part = Part(unpack_arrays(pack_arrays(part.arrays)), part.facts)
    budget = AlarmBudget(alarms_per_week, PANE_S, {"performance": share}, tolerance)
    return PerformanceDetector.build(part, schema, budget)


def sums_of(detector: PerformanceDetector, batch: EventBatch) -> Sums:
    return detector.sketch(batch, np.array([0]))[0].totals


def sums_by_pane(detector: PerformanceDetector, batch: EventBatch) -> list[Sums]:
    return [sketch.totals for sketch in detector.sketch(batch, np.arange(0, len(batch), PER_PANE))]


def unlabelled(batch: EventBatch) -> EventBatch:
    return replace(batch, label=None)


def with_delay(detector: PerformanceDetector, batch: EventBatch, panes: int, share: float = 1.0) -> list[Sums]:
    """Sums by pane where the labels of a pane come ``panes`` panes later; ``share`` of them come at all."""
    outcomes = detector.reader.read(batch)
    at = np.arange(len(batch))
    come = np.random.default_rng(0).random(len(batch)) < share
    late = joined(
        model="m",
        version="",
        event_id=batch.event_id,
        labelled_at=batch.timestamp + panes * PANE_S,
        answer=outcomes.answer,
        confidence=outcomes.confidence,
        label=np.where(come, outcomes.label, None),
        delay_s=np.full(len(at), panes * PANE_S),
    )
    now, then = sums_by_pane(detector, unlabelled(batch)), sums_by_pane(detector, late)
    return [
        {name: sums[name] + (then[i - panes][name] if i >= panes else 0) for name in sums} for i, sums in enumerate(now)
    ]


def play(detector: PerformanceDetector, panes: Sequence[Sums]) -> list[Reading]:
    """Readings of the panes; the evidence is stored and read again after each."""
    evidence, readings = {}, []
    for i, sums in enumerate(panes):
        judgement = detector.judge(evidence, Pane(i * PANE_S, PANE_S, PER_PANE, Sketch(sums)))
        evidence = {MODEL: unpack_arrays(pack_arrays(judgement.evidence[MODEL]))}
        readings += judgement.readings
    return readings


def alarms(readings: Sequence[Reading]) -> list[int]:
    return [i for i, reading in enumerate(readings) if reading.level is Level.ALARM]
