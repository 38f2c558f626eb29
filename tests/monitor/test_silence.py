"""A model that falls silent raises one alert; a log that is not read, a replay and a rollout raise none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from detectors.base import MODEL, Kind, Level, Reading
from detectors.batch import concatenate
from detectors.reference import Reference
from detectors.suite import fit_reference
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import PaneRef
from monitor.backtest import backtest, store_reference
from monitor.config import JudgeSettings, WorkerSettings
from monitor.formats.native import NativeDecoder
from monitor.judge import Judge
from monitor.silence import Recording, SilenceJudge, delay_after
from monitor.sources.base import Partition, Record
from monitor.sources.memory import MemorySource
from monitor.storage.alerts import record
from monitor.storage.engine import create_engine, reading, transaction
from monitor.storage.judging import Delay, StoredDelta
from monitor.storage.tables import alert_transitions, alerts, partitions, readings
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics
from monitor.worker import Worker
from tests.monitor import streams

pytestmark = pytest.mark.slow

LOG = Partition("memory", "log", 0)
LEARNED = 2_000
LIVE_FROM = 50_000
LIVE = 2_000
"""Events before the silence: 100 s of traffic, ten panes."""


def instant(event: int) -> datetime:
    return datetime.fromtimestamp(streams.START + event / streams.EVENTS_PER_S, UTC)


@pytest.fixture(scope="module")
def reference() -> Reference:
    records = [Record(LOG, i, line) for i, line in enumerate(streams.events(LEARNED, seed=1))]
    return fit_reference(concatenate(NativeDecoder(1 << 20).decode(records).batches), "1", seed=0)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(database_url, role="test")
    yield engine
    engine.dispose()


class Service:
    """Worker and judge on a clock that the test moves; the log is read as it is written."""

    def __init__(self, engine: sa.Engine, reference: Reference) -> None:
        self.engine = engine
        self.now = instant(LIVE_FROM)
        store_reference(engine, reference, self.now)
        self.source = MemorySource()
        self.source.assign(LOG)
        self.written = 0
        self.worker = Worker(
            source=self.source,
            decoder=NativeDecoder(1 << 20),
            engine=engine,
            suites=SuiteBook(engine, 1.0),
            settings=WorkerSettings(flush_interval_s=60.0),
            owner="test",
            metrics=Metrics(),
            clock=lambda: self.now,
        )
        self.judge = self.a_judge()

    def a_judge(self) -> Judge:
        suites, settings, policy = SuiteBook(self.engine, 1.0), JudgeSettings(), BookPolicy()
        silence = SilenceJudge(
            engine=self.engine,
            suites=suites,
            settings=settings,
            recording=Recording(policy, ()),
            clock=lambda: self.now,
        )
        return Judge(
            engine=self.engine,
            suites=suites,
            settings=settings,
            policy=policy,
            routes=(),
            metrics=Metrics(),
            clock=lambda: self.now,
            silence=silence,
        )

    def write(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            self.source.append(Record(LOG, self.written, line))
            self.written += 1

    def read(self) -> None:
        while self.worker.step(0.0).records:
            pass
        self.worker.flush()

    def serve(self, lines: Sequence[bytes]) -> None:
        """Log, read and judge events as they happen, five seconds at a time."""
        for i in range(0, len(lines), 100):
            self.write(lines[i : i + 100])
            last = json.loads(lines[min(i + 99, len(lines) - 1)])["timestamp"]
            self.now = max(self.now, datetime.fromtimestamp(last, UTC))
            self.read()
            self.judge.step()

    def wait(self, seconds: float, reads: bool = True) -> None:
        """Time passes without events."""
        step_s = 10 if seconds <= 300 else 120
        for _ in range(int(seconds / step_s)):
            self.now += timedelta(seconds=step_s)
            if reads:
                self.read()
            self.judge.step()

    def silences(self) -> int:
        with reading(self.engine) as connection:
            details = connection.scalars(sa.select(readings.c.detail).where(readings.c.detector == "quality"))
            return sum(detail.get("cause") == "silence" for detail in details)

    def alerts(self) -> list[sa.Row]:
        with reading(self.engine) as connection:
            return list(connection.execute(sa.select(alerts).order_by(alerts.c.opened_at)))


@pytest.fixture
def service(engine: sa.Engine, reference: Reference) -> Service:
    return Service(engine, reference)


def live(n: int = LIVE, first: int = LIVE_FROM, **changes: object) -> list[bytes]:
    lines = streams.events(n, seed=2, first=first)
    return [json.dumps({**json.loads(line), **changes}).encode() for line in lines] if changes else lines


def test_a_model_that_falls_silent_raises_one_alert_within_two_minutes(service: Service) -> None:
    service.serve(live())
    assert service.alerts() == []
    service.wait(120)
    (alert,) = service.alerts()
    assert (alert.kind, alert.status, alert.severity) == ("quality", "open", "critical")
    assert alert.title == "No events of scorer arrive"
    assert timedelta() < alert.opened_at - instant(LIVE_FROM + LIVE) <= timedelta(seconds=80)
    assert "longest pause in the reference" in alert.reason
    service.wait(1_200)
    assert [(a.id, a.readings_total) for a in service.alerts()] == [(alert.id, 1)]


def test_the_same_gap_inside_a_log_raises_the_same_alert_in_a_backtest(service: Service, reference: Reference) -> None:
    service.serve(live())
    service.wait(300)
    back = LIVE_FROM + LIVE + int(400 * streams.EVENTS_PER_S)
    source = MemorySource([Record(LOG, i, line) for i, line in enumerate([*live(), *live(400, back)])])
    report = backtest(source, NativeDecoder(1 << 20), reference, streams.MODEL, 1.0)
    opened = [c for c in report.changes if c.incident.kind is Kind.QUALITY]
    (alert,) = service.alerts()
    assert [(c.incident.id, c.incident.opened_at, c.incident.reason) for c in opened] == [
        (alert.id, alert.opened_at, alert.reason)
    ]


def test_it_resolves_once_events_have_come_for_a_while(service: Service) -> None:
    service.serve(live())
    service.wait(3_700)
    back = LIVE_FROM + LIVE + int(3_700 * streams.EVENTS_PER_S)
    service.serve(live(7_000, back))
    service.wait(30)
    (alert,) = service.alerts()
    assert alert.status == "resolved"
    assert alert.resolved_at > instant(back)


def test_a_silence_that_comes_again_is_told_again(service: Service) -> None:
    service.serve(live())
    service.wait(200)
    service.serve(live(400, LIVE_FROM + LIVE + int(200 * streams.EVENTS_PER_S)))
    service.wait(200)
    (alert,) = service.alerts()
    assert alert.readings_total == 2


def test_a_worker_that_is_down_is_not_a_silent_model(service: Service) -> None:
    service.serve(live())
    service.wait(7_200, reads=False)
    assert service.alerts() == []


def test_a_log_that_is_not_read_to_its_end_is_not_a_silent_model(service: Service) -> None:
    """Events wait in the log, and the worker does not get to them."""
    service.serve(live())
    service.write(live(6_000, LIVE_FROM + LIVE))
    for _ in range(10):
        service.now += timedelta(seconds=60)
        service.worker.flush()
        service.judge.step()
    assert service.alerts() == []
    service.serve([])
    service.read()
    service.judge.step()
    assert service.alerts() == []


def test_a_partition_that_was_never_read_holds_the_verdict_back(service: Service) -> None:
    service.serve(live())
    row = {"source": "kafka", "cluster_id": "", "topic_id": "t", "partition": 1, "topic": "t"}
    with transaction(service.engine) as connection:
        connection.execute(
            sa.insert(partitions).values(**row, epoch=1, next_offset=-1, owner="w", updated_at=service.now)
        )
    service.wait(600)
    assert service.alerts() == []


def test_a_history_that_is_replayed_is_not_a_silent_model(service: Service) -> None:
    service.now = instant(LIVE_FROM) + timedelta(days=30)
    service.serve(live())
    service.wait(7_200)
    assert service.alerts() == []


def test_a_model_that_logs_in_batches_is_silent_only_when_a_batch_is_overdue(service: Service) -> None:
    """An hour's events are written at its end."""
    for hour in range(3):
        first = LIVE_FROM + hour * 72_000
        service.now = instant(first + 72_000)
        service.write(live(72_000, first)[::400])
        service.read()
        service.judge.step()
        service.wait(30)
        service.judge.drain()
        service.wait(3_500)
    assert service.silences() == 0
    service.wait(5_400)
    assert service.silences() == 1


def test_a_version_that_another_one_replaces_is_not_silent(service: Service, reference: Reference) -> None:
    service.serve(live())
    service.serve(live(4_000, LIVE_FROM + LIVE, version="2"))
    service.wait(30)
    assert service.alerts() == []


def test_other_alerts_do_not_grow_quiet_while_the_model_is_silent(service: Service) -> None:
    service.serve(live())
    pane = PaneRef(streams.MODEL, "1", (LIVE_FROM + LIVE) / 20 + streams.START - 10, 10)
    drift = Reading("drift", Kind.DRIFT, MODEL, Level.ALARM, 12.5, 9.0, 0.3, "share", 0.1, None, "why")
    with transaction(service.engine) as connection:
        record(connection, pane=pane, readings=[drift], policy=BookPolicy(), destinations=(), now=service.now)
    service.wait(3 * 3_600)
    (known,) = [alert for alert in service.alerts() if alert.kind == "drift"]
    assert (known.status, known.quiet_panes) == ("open", 0)
    assert [alert.kind for alert in service.alerts() if alert.kind != "drift"] == ["quality"]


def test_judges_that_meet_over_one_silence_raise_it_once(service: Service) -> None:
    service.serve(live())
    for _ in range(30):
        service.now += timedelta(seconds=5)
        service.read()
    judges = [service.a_judge() for _ in range(4)]
    threads = [threading.Thread(target=judge.step) for judge in judges]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with reading(service.engine) as connection:
        steps = connection.scalar(sa.select(sa.func.count()).select_from(alert_transitions))
        told = connection.scalar(
            sa.select(sa.func.count()).where(readings.c.detector == "quality", readings.c.level == "alarm")
        )
    assert (steps, told, [alert.readings_total for alert in service.alerts()]) == (1, 1, [1])


def test_a_judge_killed_before_its_commit_leaves_the_silence_for_the_next(service: Service, monkeypatch) -> None:
    service.serve(live())
    service.wait(30)

    def dying(*args: object, **kwargs: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr("monitor.desk.save_evidence", dying)
        with pytest.raises(SystemExit):
            service.wait(200)
    assert service.alerts() == []
    service.wait(200)
    assert [alert.readings_total for alert in service.alerts()] == [1]


def a_delta(late_s: float, pane_start: int = 1_000) -> StoredDelta:
    created = datetime.fromtimestamp(pane_start + 10 + late_s, UTC)
    return StoredDelta("m", "1", "r", pane_start, 10, 5, 1_007.5, b"", id=1, created_at=created)


@pytest.mark.parametrize(
    ("known", "late_s", "at", "expected", "why"),
    [
        (None, -5.0, 1_000, Delay(0.0, 1_600), "events that come within their pane are not late"),
        (None, 3_600.0, 1_000, Delay(3_600.0, 8_200), "believed for twice as long"),
        (Delay(3_600.0, 8_200), 5.0, 5_000, Delay(3_600.0, 8_200), "the next batch may still come"),
        (Delay(3_600.0, 8_200), 5.0, 8_200, Delay(5.0, 8_800), "none came: it was a backlog"),
        (Delay(3_600.0, 8_200), 3_000.0, 5_000, Delay(3_600.0, 12_200), "another batch, believed anew"),
        (Delay(60.0, 8_200), 9e6, 5_000, Delay(9e6, 177_800), "a replay is forgotten after two days"),
    ],
)
def test_how_late_events_come_is_remembered(
    known: Delay | None, late_s: float, at: int, expected: Delay, why: str
) -> None:
    assert delay_after(known, [a_delta(late_s)], at) == expected, why
