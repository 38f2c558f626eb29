"""The suite: every detector of a model version, built from its reference.

A new detector is one file and one line in ``DETECTORS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

import numpy as np

from detectors.abuse.detector import AbuseDetector
from detectors.base import (
    Arrays,
    Detector,
    Exhibit,
    Exhibits,
    Fitter,
    Judgement,
    JudgesSilence,
    Pane,
    Part,
    StrangeEvent,
    Subject,
    Unfit,
)
from detectors.batch import EventBatch, FloatArray, IntArray, in_order_of
from detectors.budget import DEFAULT_EXPOSURE_LIMIT, DEFAULT_TOLERANCE, AlarmBudget, shares_of
from detectors.drift.joint import JointDrift
from detectors.drift.marginals import MarginalDrift
from detectors.evasion.detector import EvasionDetector
from detectors.extraction.detector import ExtractionDetector
from detectors.ood.detector import OodDetector
from detectors.performance.detector import PerformanceDetector
from detectors.privacy.detector import PrivacyDetector
from detectors.quality.detector import QualityDetector
from detectors.reference import Reference
from detectors.schema import Schema, infer_schema
from detectors.sketch import Sketch, total

DETECTORS: tuple[type[Detector], ...] = (
    MarginalDrift,
    JointDrift,
    OodDetector,
    ExtractionDetector,
    EvasionDetector,
    AbuseDetector,
    PrivacyDetector,
    PerformanceDetector,
    QualityDetector,
)

PANE_WIDTHS_S = (10, 30, 60, 300, 900, 3_600, 21_600, 86_400)
_EVENTS_PER_PANE = 25
MINIMUM_REFERENCE_EVENTS = 50


class Memory(Protocol):
    """Bounded soft state that wants events in arrival order; only what it adds to a batch is ever counted."""

    def annotate(self, batch: EventBatch) -> EventBatch: ...


@runtime_checkable
class Remembers(Protocol):
    """What a detector is besides when it wants soft state; detectors with equal ``memory_key`` share one memory."""

    @property
    def memory_key(self) -> str: ...

    def new_memory(self) -> Memory: ...


@dataclass(frozen=True, slots=True)
class PaneSketch:
    """What one batch adds to one pane."""

    pane_start: int
    n_events: int
    last_event_time: float
    sketch: Sketch
    strange: tuple[StrangeEvent, ...] = ()
    """Events worth a look; their positions are those in the batch."""


@dataclass(frozen=True)
class Suite:
    """The detectors of one reference under one alarm budget; immutable and free of I/O."""

    reference: Reference
    reference_id: str
    budget: AlarmBudget
    detectors: tuple[Detector, ...]

    @classmethod
    def build(
        cls,
        reference: Reference,
        reference_id: str,
        alarms_per_week: float,
        tolerance: float = DEFAULT_TOLERANCE,
        exposure_limit: float = DEFAULT_EXPOSURE_LIMIT,
    ) -> Self:
        pane_s, shares = float(reference.pane_s), shares_of(reference.parts)
        budget = AlarmBudget(alarms_per_week, pane_s, shares, tolerance, exposure_limit)
        detectors = tuple(
            detector.build(reference.parts[detector.name], reference.schema, budget)
            for detector in DETECTORS
            if detector.name in reference.parts
        )
        return cls(reference, reference_id, budget, detectors)

    @property
    def pane_s(self) -> int:
        return self.reference.pane_s

    def memories(self) -> tuple[Memory, ...]:
        """Fresh soft state for one worker: one memory for all detectors that can share it, the first one's."""
        fresh: dict[str, Memory] = {}
        for detector in self.detectors:
            if isinstance(detector, Remembers) and detector.memory_key not in fresh:
                fresh[detector.memory_key] = detector.new_memory()
        return tuple(fresh.values())

    def read(self, batch: EventBatch) -> EventBatch:
        """The batch as detectors and memories want it: its classes in the order of the reference."""
        return in_order_of(batch, self.reference.schema.classes)

    def sketch(self, batch: EventBatch) -> Sequence[PaneSketch]:
        """The batch as sketches, one a pane, in the order of panes."""
        batch = self.read(batch)
        panes, order, starts = slice_by_pane(batch.timestamp, self.pane_s)
        batch = batch.take(order)
        examined = [(detector.name, _examined(detector, batch, starts)) for detector in self.detectors]
        ends = np.append(starts[1:], len(batch))
        return [
            PaneSketch(
                pane_start=int(pane),
                n_events=int(end - start),
                last_event_time=float(batch.timestamp[start:end].max()),
                sketch=total(part[i].sketch.under(name) for name, part in examined),
                strange=tuple(
                    replace(event, position=int(order[event.position]))
                    for _, part in examined
                    for event in part[i].events
                ),
            )
            for i, (pane, start, end) in enumerate(zip(panes, starts, ends, strict=True))
        ]

    @property
    def performance(self) -> PerformanceDetector | None:
        """The detector that wants labels that come alone, if it watches this model."""
        return next((d for d in self.detectors if isinstance(d, PerformanceDetector)), None)

    def sketch_labels(self, batch: EventBatch) -> Sequence[PaneSketch]:
        """Answers that were counted when they came, now with their labels: for performance alone, without events."""
        detector = self.performance
        if detector is None or not len(batch):
            return ()
        panes, order, starts = slice_by_pane(batch.timestamp, self.pane_s)
        batch = batch.take(order)
        ends = np.append(starts[1:], len(batch))
        sketches = detector.sketch(batch, starts)
        return [
            PaneSketch(int(pane), 0, float(batch.timestamp[a:b].max()), sketch.under(detector.name))
            for pane, a, b, sketch in zip(panes, starts, ends, sketches, strict=True)
        ]

    def pane_of(self, detector: Detector, pane_start: float, n_events: int, sketch: Sketch) -> Pane:
        """What ``detector`` judges of a pane's whole sketch."""
        return Pane(float(pane_start), float(self.pane_s), n_events, sketch.part(detector.name))


def _examined(detector: Detector, batch: EventBatch, starts: IntArray) -> Sequence[Exhibit]:
    if isinstance(detector, Exhibits):
        return detector.exhibit(batch, starts)
    return [Exhibit(sketch) for sketch in detector.sketch(batch, starts)]


def ends_silence(suite: Suite, pane_start: float, n_events: int, sketch: Sketch) -> bool:
    """Whether a pane holds what a detector of silence waits for."""
    return any(
        detector.ends_silence(suite.pane_of(detector, pane_start, n_events, sketch))
        for detector in suite.detectors
        if isinstance(detector, JudgesSilence)
    )


def judge(detector: Detector, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
    """One detector's judgement; a pane without any of its sums (sketched before it existed) is passed over."""
    if not pane.sketch.totals and not pane.sketch.keyed:
        return Judgement()
    return detector.judge(evidence, pane)


def slice_by_pane(timestamp: FloatArray, pane_s: float) -> tuple[FloatArray, np.ndarray, np.ndarray]:
    """Pane starts (m,), the stable order of events by pane (n,), and where each pane starts in that order (m,)."""
    pane = np.floor(timestamp / pane_s) * pane_s
    order = np.argsort(pane, kind="stable")
    panes, starts = np.unique(pane[order], return_index=True)
    return panes, order, starts


def choose_pane_width(timestamp: FloatArray) -> int:
    """Seconds: the shortest offered width at which the panes that hold events hold 25 on average.

    A coarser clock asks for less evidence (fewer panes a week), so a slow model loses nothing by it.
    """
    for width in PANE_WIDTHS_S:
        if len(timestamp) / np.unique(np.floor(timestamp / width)).size >= _EVENTS_PER_PANE:
            return width
    return PANE_WIDTHS_S[-1]


def fit_reference(
    events: EventBatch,
    version: str,
    seed: int,
    pane_s: int | None = None,
    detectors: Sequence[Fitter] = DETECTORS,
    schema: Schema | None = None,
) -> Reference:
    """Fit detectors on ordinary events of one model.

    Args:
        events: ordinary traffic, in any order; its own version is ignored.
        version: model version that the reference is for; ``""`` serves every version without one of its own.
        pane_s: width of panes in seconds; None chooses it from the event rate.
        schema: what the columns are; None infers it.

    Raises:
        ValueError: fewer than 50 events.
    """
    if len(events) < MINIMUM_REFERENCE_EVENTS:
        raise ValueError(
            f"a reference needs at least {MINIMUM_REFERENCE_EVENTS} ordinary events of the model, got {len(events)}"
        )
    ordered = events.take(np.argsort(events.timestamp, kind="stable"))
    schema = schema or infer_schema(ordered)
    width = pane_s or choose_pane_width(ordered.timestamp)
    parts: dict[str, Part] = {}
    unfit: dict[str, str] = {}
    for detector in detectors:
        fitted = detector.fit(ordered, schema, float(width), seed)
        if isinstance(fitted, Unfit):
            unfit[detector.name] = fitted.reason
        else:
            parts[detector.name] = fitted
    clients = 0 if ordered.client_id is None else len({c for c in ordered.client_id if c})
    return Reference(
        model=ordered.model,
        version=version,
        n_events=len(ordered),
        n_clients=clients,
        first=float(ordered.timestamp[0]),
        last=float(ordered.timestamp[-1]),
        pane_s=width,
        schema=schema,
        parts=parts,
        unfit=unfit,
    )
