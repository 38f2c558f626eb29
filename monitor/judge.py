"""Loop 2: claim → fold → judge → commit.

A judge claims a model version by a lock that ends with its transaction, folds the deltas of every pane that is due
into the pane's exact sum, lets each detector judge it, and writes evidence, readings, alert transitions and owed
deliveries, and deletes the folded deltas, in that one transaction. Killed anywhere, it leaves the deltas for the next
judge.

A pane is due when every live partition's watermark has passed its end, or when its deltas have waited long enough.
What comes later still is folded into the next pane that is judged: late events are counted, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
import structlog

from detectors.base import Arrays, Detector, Reading, Subject
from detectors.sketch import Sketch, total
from detectors.suite import Suite, judge
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef
from monitor.alerting.routing import Route
from monitor.config import JudgeSettings
from monitor.storage.alerts import record
from monitor.storage.engine import transaction
from monitor.storage.judging import (
    ModelClaim,
    StoredDelta,
    claim_model,
    delete_deltas,
    load_deltas,
    load_evidence,
    models_with_deltas,
    save_evidence,
    save_pane,
    save_readings,
    set_judged_until,
    watermark,
)
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics

IDLE_S = 30.0
"""A partition without a commit for this long no longer holds the watermark back."""

_DELTAS_PER_CLAIM = 2_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """What one step did; ``changes`` are the alert transitions that it wrote."""

    panes: int
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class _DuePane:
    reference_id: str
    pane_s: int
    start: int
    n_events: int
    sketch: Sketch
    delta_ids: tuple[int, ...]


class _EvidenceDesk:
    """Evidence of one claim: read on first use, kept in memory over the panes, written once."""

    def __init__(self, connection: sa.Connection, claim: ModelClaim, reference_id: str) -> None:
        self._connection = connection
        self._claim = claim
        self._reference_id = reference_id
        self._known: dict[tuple[str, Subject], Arrays | None] = {}
        self._changed: dict[str, dict[Subject, Arrays]] = {}

    def load(self, detector: str, subjects: Sequence[Subject]) -> Mapping[Subject, Arrays]:
        missing = [s for s in subjects if (detector, s) not in self._known]
        if missing:
            found = load_evidence(
                self._connection, self._claim.model, self._claim.version, self._reference_id, detector, missing
            )
            self._known.update({(detector, s): found.get(s) for s in missing})
        return {s: state for s in subjects if (state := self._known[detector, s]) is not None}

    def keep(self, detector: str, evidence: Mapping[Subject, Arrays]) -> None:
        for subject, state in evidence.items():
            self._known[detector, subject] = state
            self._changed.setdefault(detector, {})[subject] = state

    def save(self, pane_start: int) -> None:
        for detector, evidence in self._changed.items():
            save_evidence(
                self._connection,
                self._claim.model,
                self._claim.version,
                self._reference_id,
                detector,
                evidence,
                pane_start,
            )


class Judge:
    """Judges whatever model versions it can lock; any number of judges may run."""

    def __init__(
        self,
        *,
        engine: sa.Engine,
        suites: SuiteBook,
        settings: JudgeSettings,
        policy: BookPolicy,
        routes: Sequence[Route],
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._suites = suites
        self._settings = settings
        self._policy = policy
        self._routes = routes
        self._metrics = metrics
        self._clock = clock

    def step(self) -> JudgeReport:
        """Judge every pane that is due.

        Raises:
            TransientError: the database is away; nothing was changed.
        """
        return self._each_model(self._is_due)

    def drain(self) -> JudgeReport:
        """Judge every pane that has deltas, due or not: for the end of a log."""
        return self._each_model(_always_due)

    def _each_model(self, is_due: Callable[[StoredDelta, float | None, datetime], bool]) -> JudgeReport:
        with transaction(self._engine) as connection:
            waiting = models_with_deltas(connection)
        panes = 0
        changes: list[Change] = []
        for model, version in waiting:
            while True:
                with self._metrics.judge_seconds.time():
                    report, more = self._judge_model(model, version, is_due)
                panes += report.panes
                changes += report.changes
                if not more:
                    break
        self._metrics.judged_panes.inc(panes)
        for change in changes:
            self._metrics.alert_transitions.labels(change.incident.kind.value, change.transition.transition.value).inc()
        return JudgeReport(panes, changes)

    def _judge_model(
        self, model: str, version: str, is_due: Callable[[StoredDelta, float | None, datetime], bool]
    ) -> tuple[JudgeReport, bool]:
        with transaction(self._engine) as connection:
            claim = claim_model(connection, model, version)
            if claim is None:
                return JudgeReport(0, ()), False
            now = self._clock()
            deltas = load_deltas(connection, model, version, _DELTAS_PER_CLAIM)
            mark = watermark(connection, now, IDLE_S)
            panes = _fold(deltas, claim.judged_until, lambda delta: is_due(delta, mark, now), full=_DELTAS_PER_CLAIM)
            changes: list[Change] = []
            desks: dict[str, _EvidenceDesk] = {}
            for pane in panes:
                desk = desks.setdefault(pane.reference_id, _EvidenceDesk(connection, claim, pane.reference_id))
                changes += self._judge_pane(connection, claim, pane, desk, now)
            if panes:
                last = panes[-1]
                for desk in desks.values():
                    desk.save(last.start)
                delete_deltas(connection, [i for pane in panes for i in pane.delta_ids])
                set_judged_until(connection, model, version, last.start + last.pane_s)
        return JudgeReport(len(panes), changes), bool(panes) and len(deltas) == _DELTAS_PER_CLAIM

    def _judge_pane(
        self, connection: sa.Connection, claim: ModelClaim, pane: _DuePane, desk: _EvidenceDesk, now: datetime
    ) -> Sequence[Change]:
        model, version = claim.model, claim.version
        save_pane(
            connection,
            model,
            version,
            pane.reference_id,
            pane.pane_s,
            pane.start,
            pane.n_events,
            pane.sketch.to_bytes(),
        )
        if not pane.reference_id:
            return ()
        suite = self._suites.by_id(pane.reference_id)
        readings = [reading for detector in suite.detectors for reading in self._readings(suite, detector, pane, desk)]
        save_readings(connection, model, version, pane.start, pane.pane_s, readings)
        return record(
            connection,
            pane=PaneRef(model, version, pane.start, pane.pane_s),
            readings=readings,
            policy=self._policy,
            destinations=self._routes,
            now=now,
        )

    def _readings(self, suite: Suite, detector: Detector, pane: _DuePane, desk: _EvidenceDesk) -> Sequence[Reading]:
        part = suite.pane_of(detector, pane.start, pane.n_events, pane.sketch)
        judgement = judge(detector, desk.load(detector.name, detector.subjects(part)), part)
        desk.keep(detector.name, judgement.evidence)
        return judgement.readings

    def _is_due(self, delta: StoredDelta, mark: float | None, now: datetime) -> bool:
        if mark is not None and delta.pane_start + delta.pane_s + self._settings.lateness_s <= mark:
            return True
        return (now - delta.created_at).total_seconds() >= self._settings.max_wait_s


def _always_due(_delta: StoredDelta, _watermark: float | None, _now: datetime) -> bool:
    return True


def _fold(
    deltas: Sequence[StoredDelta], judged_until: int | None, is_due: Callable[[StoredDelta], bool], full: int
) -> list[_DuePane]:
    """The due panes in order of time; late deltas join the earliest pane still open.

    When ``full`` deltas were read there may be more of the last pane, which then waits for the next claim, unless it is
    all there is.
    """
    groups: dict[tuple[int, int, str], list[StoredDelta]] = {}
    for delta in deltas:
        start = delta.pane_start if judged_until is None else max(delta.pane_start, judged_until)
        groups.setdefault((start, delta.pane_s, delta.reference_id), []).append(delta)
    keys = sorted(groups)
    if len(deltas) == full and len(keys) > 1:
        keys.pop()
    due_until = max((key[0] for key in keys if any(is_due(delta) for delta in groups[key])), default=None)
    if due_until is None:
        return []
    return [_fold_one(key, groups[key]) for key in keys if key[0] <= due_until]


def _fold_one(key: tuple[int, int, str], deltas: Sequence[StoredDelta]) -> _DuePane:
    start, pane_s, reference_id = key
    return _DuePane(
        reference_id=reference_id,
        pane_s=pane_s,
        start=start,
        n_events=sum(delta.n_events for delta in deltas),
        sketch=total(Sketch.from_bytes(delta.sketch) for delta in deltas),
        delta_ids=tuple(delta.id for delta in deltas),
    )
