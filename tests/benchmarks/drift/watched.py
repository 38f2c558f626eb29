"""The detector under test, through its public API only: fit, build, sketch, judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors.base import Detector, Judgement, Level, Pane, Part
from detectors.batch import EventBatch
from detectors.budget import WEEK_S, AlarmBudget
from detectors.schema import Schema, infer_schema

ORIGIN = 1_704_067_200.0
"""Monday 1 January 2024, 00:00 UTC: references end here, streams begin."""


@dataclass(frozen=True)
class Rows:
    """Events as numbers (n, p), NaN where missing, and categories (n, c), None where missing."""

    numeric: np.ndarray
    categories: np.ndarray

    def __len__(self) -> int:
        return len(self.numeric)

    @classmethod
    def of_numbers(cls, numeric: np.ndarray) -> Rows:
        return cls(numeric, np.empty((len(numeric), 0), dtype=object))

    @classmethod
    def of_categories(cls, categories: np.ndarray) -> Rows:
        return cls(np.empty((len(categories), 0)), categories)


@dataclass(frozen=True)
class Pace:
    """How fast events come: ``per_pane`` events, evenly spaced, in every pane of ``pane_s`` seconds."""

    per_pane: int
    pane_s: float = 10.0

    def times(self, first: int, n: int) -> np.ndarray:
        """Event times of events ``first`` … ``first + n - 1``; event 0 is the first of the stream."""
        return ORIGIN + (np.arange(first, first + n) + 0.5) * (self.pane_s / self.per_pane)


def events(rows: Rows, times: np.ndarray) -> EventBatch:
    return EventBatch(
        model="m",
        version="",
        event_id=np.full(len(rows), "", dtype=object),
        timestamp=times,
        numeric_names=tuple(f"x{i}" for i in range(rows.numeric.shape[1])),
        numeric=rows.numeric,
        mixed={f"c{i}": rows.categories[:, i] for i in range(rows.categories.shape[1])},
    )


@dataclass(frozen=True)
class Fitted:
    """A detector's part of one reference; ``built`` puts it under a budget."""

    detector: type[Detector]
    part: Part
    schema: Schema
    pace: Pace

    @classmethod
    def on(cls, detector: type[Detector], reference: Rows, pace: Pace) -> Fitted:
        batch = events(reference, pace.times(-len(reference), len(reference)))
        return cls.on_events(detector, batch, pace)

    @classmethod
    def on_events(cls, detector: type[Detector], batch: EventBatch, pace: Pace) -> Fitted:
        schema = infer_schema(batch)
        part = detector.fit(batch, schema, pace.pane_s, seed=0)
        if not isinstance(part, Part):
            raise RuntimeError(f"the benchmark's reference was refused: {part.reason}")
        return cls(detector, part, schema, pace)

    def built(self, bound: float, tolerance: float) -> Detector:
        """One false alarm allowed in ``bound`` panes, all of it this detector's."""
        week = WEEK_S / self.pace.pane_s
        budget = AlarmBudget(week / bound, self.pace.pane_s, {self.detector.name: 1.0}, tolerance)
        return self.detector.build(self.part, self.schema, budget)


def panes(detector: Detector, rows: Rows, pace: Pace, first: int = 0) -> Iterator[Pane]:
    """The panes of ``rows``, of which the first is pane ``first`` of the stream."""
    batch = events(rows, pace.times(first * pace.per_pane, len(rows)))
    sketches = detector.sketch(batch, np.arange(0, len(rows), pace.per_pane))
    for i, sketch in enumerate(sketches, first):
        yield Pane(ORIGIN + i * pace.pane_s, pace.pane_s, min(pace.per_pane, len(rows)), sketch)


class Judge:
    """One stream's evidence, kept from pane to pane."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.evidence: dict = {}

    def __call__(self, pane: Pane) -> Judgement:
        judgement = self.detector.judge(self.evidence, pane)
        self.evidence = dict(judgement.evidence)
        return judgement

    def alarms(self, pane: Pane) -> bool:
        return any(reading.level is Level.ALARM for reading in self(pane).readings)


def first_alarm(detector: Detector, rows: Rows, pace: Pace, chunk: int = 200) -> float:
    """Events until the end of the first pane that alarms; inf when none does."""
    judge, step = Judge(detector), chunk * pace.per_pane
    for at in range(0, len(rows), step):
        part = Rows(rows.numeric[at : at + step], rows.categories[at : at + step])
        for i, pane in enumerate(panes(detector, part, pace, at // pace.per_pane)):
            if judge.alarms(pane):
                return at + (i + 1.0) * pace.per_pane
    return float("inf")


def evidence_path(detector: Detector, rows: Rows, pace: Pace) -> np.ndarray:
    """(panes,) log evidence; with an alarm line out of reach it tells when any lower line would be crossed."""
    judge = Judge(detector)
    return np.array([max(r.log_evidence for r in judge(pane).readings) for pane in panes(detector, rows, pace)])
