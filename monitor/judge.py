"""Loop 2: claim → fold → judge → commit.

A judge claims a model version by a lock that ends with its transaction, folds the deltas of every pane that is due
into the pane's exact sum, lets each detector judge it, and writes evidence, readings, alert transitions and owed
deliveries, and deletes the folded deltas, in that one transaction. Killed anywhere, it leaves the deltas for the next
judge.

A pane is due when every live partition's watermark has passed its end, or when its deltas have waited long enough.
What comes later still is folded into the next pane that is judged: late events are counted, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

from detectors.base import Detector, Kind, Level, Reading
from detectors.sketch import Sketch, total
from detectors.suite import Suite, ends_silence, judge
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef
from monitor.alerting.routing import Route
from monitor.config import JudgeSettings
from monitor.desk import EvidenceDesk
from monitor.silence import Recording, SilenceJudge, delay_after, judge_gap
from monitor.storage.alerts import record
from monitor.storage.engine import transaction
from monitor.storage.judging import (
    ModelClaim,
    StoredDelta,
    claim_model,
    delete_deltas,
    load_deltas,
    models_with_deltas,
    save_pane,
    save_readings,
    set_judged_until,
    watermark,
)
from monitor.storage.strange_events import let_go, strangest
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics

IDLE_S = 30.0
"""A partition without a commit for this long no longer holds the watermark back."""

_DELTAS_PER_CLAIM = 2_000
_MOST_NAMED = 10

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
        silence: SilenceJudge | None = None,
    ) -> None:
        self._engine = engine
        self._suites = suites
        self._settings = settings
        self._recording = Recording(policy, routes)
        self._silence = silence
        self._metrics = metrics
        self._clock = clock

    def step(self) -> JudgeReport:
        """Judge every pane that is due, and the models that have fallen silent.

        Raises:
            TransientError: the database is away; nothing was changed.
        """
        report = self._each_model(self._is_due)
        silent = self._count(self._silence.step()) if self._silence is not None else ()
        return JudgeReport(report.panes, [*report.changes, *silent])

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
        return JudgeReport(panes, self._count(changes))

    def _count(self, changes: Sequence[Change]) -> Sequence[Change]:
        for change in changes:
            self._metrics.alert_transitions.labels(change.incident.kind.value, change.transition.transition.value).inc()
        return changes

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
            desks: dict[str, EvidenceDesk] = {}
            for pane in panes:
                desk = desks.setdefault(pane.reference_id, EvidenceDesk(connection, claim, pane.reference_id))
                changes += self._judge_pane(connection, claim, pane, desk, now)
            if panes:
                last = panes[-1]
                for desk in desks.values():
                    desk.save(last.start)
                judged = {i for pane in panes for i in pane.delta_ids}
                delete_deltas(connection, sorted(judged))
                until = last.start + last.pane_s
                delay = delay_after(claim.delay, [delta for delta in deltas if delta.id in judged], until)
                set_judged_until(connection, model, version, until, delay)
        return JudgeReport(len(panes), changes), bool(panes) and len(deltas) == _DELTAS_PER_CLAIM

    def _judge_pane(
        self, connection: sa.Connection, claim: ModelClaim, pane: _DuePane, desk: EvidenceDesk, now: datetime
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
        silent: Sequence[Change] = ()
        if ends_silence(suite, pane.start, pane.n_events, pane.sketch):
            silent = judge_gap(connection, claim, suite, desk, pane.start, self._recording, now)
        judged = [reading for detector in suite.detectors for reading in self._readings(suite, detector, pane, desk)]
        readings = [self._with_names(connection, claim, pane, reading) for reading in judged]
        save_readings(connection, model, version, pane.start, pane.pane_s, readings)
        changes = record(
            connection,
            pane=PaneRef(model, version, pane.start, pane.pane_s),
            readings=readings,
            policy=self._recording.policy,
            destinations=self._recording.routes,
            now=now,
        )
        return [*silent, *changes]

    def _readings(self, suite: Suite, detector: Detector, pane: _DuePane, desk: EvidenceDesk) -> Sequence[Reading]:
        part = suite.pane_of(detector, pane.start, pane.n_events, pane.sketch)
        judgement = judge(detector, desk.load(detector.name, detector.subjects(part)), part)
        desk.keep(detector.name, judgement.evidence)
        return judgement.readings

    def _with_names(self, connection: sa.Connection, claim: ModelClaim, pane: _DuePane, reading: Reading) -> Reading:
        """The reading with the strangest events that it speaks of; those of a quiet pane are let go."""
        if reading.kind is not Kind.OOD:
            return reading
        since = None if reading.since is None else int(reading.since)
        named: list[dict[str, Any]] = []
        if reading.level in (Level.WARNING, Level.ALARM):
            first = pane.start if since is None else since
            named = strangest(connection, claim.model, claim.version, first, pane.start, _MOST_NAMED)
        let_go(connection, claim.model, claim.version, pane.start, since)
        return replace(reading, detail={**reading.detail, "strangest": named}) if named else reading

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
