"""Silence: judging the time in which no events of a model come.

A gap inside a log is judged just before the pane that ends it; a gap that still lasts, by ``SilenceJudge``, up to the
event time that is certain to be complete. Both ask the same question, whose answer depends on the gap's beginning
alone, so a backtest and the live service raise the same alert with the same id.

What is certain: every live partition was read to its end as of some moment (``caught_up_at``), and what was logged by
then is judged, less the usual time of waiting, less how late this model's events have come of late. A consumer that
lags or is down therefore never looks like a silent model, nor does a history that is replayed, or one that comes in
batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from detectors.base import MODEL, JudgesSilence
from detectors.suite import Suite
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef
from monitor.alerting.routing import Route
from monitor.config import JudgeSettings
from monitor.desk import EvidenceDesk
from monitor.storage.alerts import record_alone
from monitor.storage.engine import reading, transaction
from monitor.storage.judging import (
    Delay,
    ModelClaim,
    StillModel,
    StoredDelta,
    claim_model,
    complete_until,
    has_deltas,
    load_evidence,
    other_version_served_after,
    save_readings,
    still_models,
)
from monitor.suites import SuiteBook

_EVERY_S = 5.0
_DELAY_MARGIN = 1.5
_SHORTEST_MEMORY_S = 600.0
_LONGEST_MEMORY_S = 2 * 86_400.0


@dataclass(frozen=True, slots=True)
class Recording:
    """How readings become alerts."""

    policy: BookPolicy
    routes: Sequence[Route]


def judge_gap(
    connection: sa.Connection,
    claim: ModelClaim,
    suite: Suite,
    desk: EvidenceDesk,
    until: float,
    recording: Recording,
    now: datetime,
) -> Sequence[Change]:
    """Raise what the gap up to event time ``until`` is worth, once. Alerts on other things do not grow quieter by it.

    A version that fell silent because another one of the same model took over raises nothing.
    """
    changes: list[Change] = []
    for detector in suite.detectors:
        if not isinstance(detector, JudgesSilence):
            continue
        silence = detector.judge_silence(desk.load(detector.name, (MODEL,)), until)
        if silence is None:
            continue
        desk.keep(detector.name, silence.judgement.evidence)
        start = int(silence.pane_start)
        if other_version_served_after(connection, claim, start):
            continue
        readings = silence.judgement.readings
        save_readings(connection, claim.model, claim.version, start, suite.pane_s, readings)
        changes += record_alone(
            connection,
            pane=PaneRef(claim.model, claim.version, start, suite.pane_s),
            readings=readings,
            policy=recording.policy,
            destinations=recording.routes,
            now=now,
        )
    return changes


def delay_after(known: Delay | None, deltas: Sequence[StoredDelta], event_time: int) -> Delay:
    """How late events come, after these were judged up to ``event_time``.

    The largest delay is remembered until event time has gone on for twice as long without another like it (at least
    ten minutes, at most two days): time enough for the next of a series of batches.
    """
    seen = max((d.created_at.timestamp() - d.pane_start - d.pane_s for d in deltas), default=0.0)
    seen = max(seen, 0.0)
    remembered = known.seconds if known is not None and event_time < known.until else 0.0
    if known is not None and seen < remembered / 2:
        return known
    longest = max(seen, remembered)
    memory_s = min(max(2 * longest, _SHORTEST_MEMORY_S), _LONGEST_MEMORY_S)
    return Delay(longest, int(event_time + memory_s))


class SilenceJudge:
    """Looks, every few seconds, at the models whose event time stands still."""

    def __init__(
        self,
        *,
        engine: sa.Engine,
        suites: SuiteBook,
        settings: JudgeSettings,
        recording: Recording,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._suites = suites
        self._settings = settings
        self._recording = recording
        self._clock = clock
        self._looked_at: datetime | None = None
        self._told: dict[tuple[str, str], int] = {}
        """Model version → how far it was judged when its gap had nothing more to tell."""

    def step(self) -> Sequence[Change]:
        """Raise alerts for models that have fallen silent.

        Raises:
            TransientError: the database is away; nothing was changed.
        """
        now = self._clock()
        if self._looked_at is not None and 0 <= (now - self._looked_at).total_seconds() < _EVERY_S:
            return ()
        self._looked_at = now
        with reading(self._engine) as connection:
            complete = complete_until(connection, now)
            still = [] if complete is None else still_models(connection)
        self._told = {m.key: self._told[m.key] for m in still if self._told.get(m.key) == m.judged_until}
        changes: list[Change] = []
        for model in still:
            if complete is not None and model.key not in self._told:
                changes += self._judge(model, complete, now)
        return changes

    def _judge(self, model: StillModel, complete: datetime, now: datetime) -> Sequence[Change]:
        suite = self._suites.active(model.model, model.version)
        if suite is None:
            return ()
        until = complete.timestamp() - self._allowance_s(model, suite)
        if until <= model.judged_until or not self._may_tell(model, suite, until):
            return ()
        with transaction(self._engine) as connection:
            claim = claim_model(connection, model.model, model.version)
            if claim is None or claim.judged_until != model.judged_until:
                return ()
            if has_deltas(connection, model.model, model.version):
                return ()
            desk = EvidenceDesk(connection, claim, suite.reference_id)
            changes = judge_gap(connection, claim, suite, desk, until, self._recording, now)
            desk.save(model.judged_until)
        return changes

    def _allowance_s(self, model: StillModel, suite: Suite) -> float:
        """How far behind the wall clock the model's event time may stand."""
        late_s = model.delay.seconds if model.delay is not None else 0.0
        return suite.pane_s + self._settings.lateness_s + self._settings.max_wait_s + _DELAY_MARGIN * late_s

    def _may_tell(self, model: StillModel, suite: Suite, until: float) -> bool:
        """Whether the gap is an alarm by now, without taking a lock; remembers when it will never be one."""
        may, ever = False, False
        for detector in suite.detectors:
            if isinstance(detector, JudgesSilence):
                with reading(self._engine) as connection:
                    state = load_evidence(
                        connection, model.model, model.version, suite.reference_id, detector.name, (MODEL,)
                    )
                may = may or detector.judge_silence(state, until) is not None
                ever = ever or detector.judge_silence(state, float("inf")) is not None
        if not ever:
            self._told[model.key] = model.judged_until
        return may
