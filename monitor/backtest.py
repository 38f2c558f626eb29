"""Backtest: the production path over a log, on a database of its own, as fast as it can be read.

Worker and judge are the very classes that run in production; only the clock of waiting is off: panes are judged when
the log's own event time has passed them, so a replay gives the same alerts with the same ids every time.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from detectors.budget import DEFAULT_TOLERANCE
from detectors.reference import Reference, reference_id
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change
from monitor.config import JudgeSettings, WorkerSettings
from monitor.formats.base import Decoded, Decoder
from monitor.judge import Judge
from monitor.own_scores import OwnScores
from monitor.secret import DeploymentSecret
from monitor.sources.base import FiniteSource, Record
from monitor.storage.engine import create_engine, transaction
from monitor.storage.references import activate_reference, save_reference
from monitor.storage.schema import migrate
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics
from monitor.worker import Worker

_RECORDS_PER_STEP = 2_000


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """What the log held and what would have been raised, in event-time order."""

    records: int
    events: int
    panes: int
    rejected: Mapping[str, int]
    others: Mapping[str, int]
    """Events of other models, which were passed over."""
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class OneModel:
    """A decoder that keeps the events of one model, and counts what it rejects and passes over."""

    inner: Decoder
    model: str
    rejected: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)

    def decode(self, records: Sequence[Record]) -> Decoded:
        decoded = self.inner.decode(records)
        self.rejected.update(rejection.reason.value for rejection in decoded.rejections)
        for batch in decoded.batches:
            if batch.model != self.model:
                self.others[batch.model] += len(batch)
        return Decoded([batch for batch in decoded.batches if batch.model == self.model], decoded.rejections)


def store_reference(engine: sa.Engine, reference: Reference, now: datetime, activate: bool = True) -> str:
    """Save a reference, and activate it unless told not to; returns its id."""
    data = reference.to_bytes()
    identity = reference_id(data)
    with transaction(engine) as connection:
        save_reference(
            connection,
            id=identity,
            model=reference.model,
            version=reference.version,
            n_events=reference.n_events,
            pane_s=reference.pane_s,
            summary=reference.summary(),
            data=data,
            now=now,
        )
        if activate:
            activate_reference(connection, identity)
    return identity


def backtest(
    source: FiniteSource,
    decoder: Decoder,
    reference: Reference,
    model: str,
    alarms_per_week: float,
    progress: Callable[[int], None] = lambda _records: None,
    tolerance: float = DEFAULT_TOLERANCE,
    secret: DeploymentSecret | None = None,
    own: OwnScores | None = None,
) -> BacktestReport:
    """Run ``source`` to its end against ``reference``; ``secret`` unlocks its training rows, if it has any.

    Raises:
        PermanentError: a log cannot be opened.
    """
    only = OneModel(decoder, model)
    with _scratch_database() as engine:
        store_reference(engine, reference, _now())
        suites = SuiteBook(engine, alarms_per_week, tolerance, refresh_s=float("inf"), secret=secret)
        metrics = Metrics()
        worker = Worker(
            source=source,
            decoder=only,
            engine=engine,
            suites=suites,
            settings=WorkerSettings(flush_interval_s=60.0, max_records_per_poll=_RECORDS_PER_STEP),
            owner="backtest",
            metrics=metrics,
            clock=_now,
            own=own,
        )
        judge = Judge(
            engine=engine,
            suites=suites,
            settings=JudgeSettings(lateness_s=0.0, max_wait_s=3_600.0),
            policy=BookPolicy(),
            routes=(),
            metrics=metrics,
            clock=_now,
        )
        return _run(source, worker, judge, only, progress)


def _run(
    source: FiniteSource, worker: Worker, judge: Judge, only: OneModel, progress: Callable[[int], None]
) -> BacktestReport:
    records, events, panes = 0, 0, 0
    changes: list[Change] = []
    while True:
        report = worker.step(poll_timeout_s=0.0)
        worker.flush()
        judged = judge.step()
        records, events, panes = records + report.records, events + report.events, panes + judged.panes
        changes += judged.changes
        progress(report.records)
        if report.records == 0 and source.exhausted():
            break
    last = judge.drain()
    worker.close()
    return BacktestReport(records, events, panes + last.panes, only.rejected, only.others, [*changes, *last.changes])


@contextmanager
def _scratch_database() -> Iterator[sa.Engine]:
    with tempfile.TemporaryDirectory(prefix="vedette-backtest-") as folder:
        engine = create_engine(f"sqlite:///{Path(folder) / 'backtest.sqlite3'}", role="backtest")
        try:
            migrate(engine)
            yield engine
        finally:
            engine.dispose()


def _now() -> datetime:
    return datetime.now(UTC)
