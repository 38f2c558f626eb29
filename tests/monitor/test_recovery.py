"""Nothing lost, nothing counted twice: the loops are dropped at every boundary and leave the same state behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from detectors.batch import concatenate
from detectors.sketch import Sketch
from detectors.suite import fit_reference
from monitor.alerting.book import BookPolicy
from monitor.backtest import store_reference
from monitor.config import JudgeSettings, WorkerSettings
from monitor.errors import PermanentError, TransientError
from monitor.formats.native import NativeDecoder
from monitor.judge import Judge
from monitor.sources.base import Partition, Record
from monitor.sources.memory import MemorySource
from monitor.storage import judging
from monitor.storage.engine import create_engine, reading
from monitor.storage.schema import migrate
from monitor.storage.tables import alert_transitions, alerts, dead_letters, deltas, panes, partitions, readings
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics
from monitor.worker import StartAt, Worker
from tests.monitor import streams

pytestmark = pytest.mark.slow

N_EVENTS = 3_000
DRIFT_FROM = 1_500
PARTITIONS = [Partition("memory", "log", number) for number in range(2)]


@dataclass(frozen=True)
class ABORT:
    """A crash marker: everything in memory is gone."""


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def reference():
    lines = streams.events(2_000, seed=1)
    records = [Record(PARTITIONS[0], i, line) for i, line in enumerate(lines)]
    return fit_reference(concatenate(NativeDecoder(1 << 20).decode(records).batches), "1", seed=0)


def fresh_database(path: Path, reference) -> sa.Engine:
    engine = create_engine(f"sqlite:///{path}", "test")
    migrate(engine)
    store_reference(engine, reference, now())
    return engine


def log_records() -> list[Record]:
    lines = streams.events(N_EVENTS, seed=2, drift_from=DRIFT_FROM, first=50_000)
    offsets = [0, 0]
    records = []
    for i, line in enumerate(lines):
        p = int(json.loads(line)["client_id"][1:]) % 2
        value = b"{broken" if i % 500 == 499 else line
        records.append(Record(PARTITIONS[p], offsets[p], value))
        offsets[p] += 1
    return records


def a_worker(engine: sa.Engine, source: MemorySource, metrics: Metrics, start_at: StartAt = StartAt.EARLIEST) -> Worker:
    return Worker(
        source=source,
        decoder=NativeDecoder(1 << 20),
        engine=engine,
        suites=SuiteBook(engine, 1.0),
        settings=WorkerSettings(flush_interval_s=60.0, max_records_per_poll=200, warm_up_records=5_000),
        owner="test",
        metrics=metrics,
        clock=now,
        start_at=start_at,
    )


def a_judge(engine: sa.Engine, metrics: Metrics) -> Judge:
    return Judge(
        engine=engine,
        suites=SuiteBook(engine, 1.0),
        settings=JudgeSettings(lateness_s=0.0, max_wait_s=3_600.0),
        policy=BookPolicy(),
        routes=(),
        metrics=metrics,
        clock=now,
    )


def play(engine: sa.Engine, script: Sequence[str | type[ABORT]]) -> Metrics:
    """Repeat ``script`` until the log is read: poll, flush, judge, or ABORT (the worker is dropped as it is)."""
    metrics = Metrics()
    source = MemorySource(log_records())
    worker, judge = a_worker(engine, source, metrics), a_judge(engine, metrics)
    for _ in range(60):
        for step in script:
            if step is ABORT:
                source.assign(*PARTITIONS)
                worker = a_worker(engine, source, metrics)
            elif step == "poll":
                poll_fresh(worker, source)
            elif step == "flush":
                worker.flush()
            elif step == "judge":
                judge.step()
        if _committed(engine) == N_EVENTS:
            break
    judge.drain()
    return metrics


def poll_fresh(worker: Worker, source: MemorySource) -> None:
    """Poll past the records that only warm the memory."""
    for _ in range(20):
        if worker.step(0.0).events or source.exhausted():
            return


def _committed(engine: sa.Engine) -> int:
    with reading(engine) as connection:
        total = connection.scalar(sa.select(sa.func.sum(partitions.c.next_offset)))
    return int(total or 0)


def comparable(sketch: Sketch) -> dict[str, list]:
    keyed = {f"{group}/{key}": array.tolist() for group, keys in sketch.keyed.items() for key, array in keys.items()}
    return {**keyed, **{name: array.tolist() for name, array in sketch.totals.items()}}


def state(engine: sa.Engine) -> dict[str, object]:
    """Everything that must not depend on where the loops were dropped."""
    with reading(engine) as connection:
        return {
            "events": connection.scalar(sa.select(sa.func.sum(panes.c.n_events))),
            "panes": {
                (row.pane_start, row.n_events): comparable(Sketch.from_bytes(row.sketch))
                for row in connection.execute(sa.select(panes.c.pane_start, panes.c.n_events, panes.c.sketch))
            },
            "alerts": connection.execute(sa.select(alerts.c.id, alerts.c.kind, alerts.c.opened_at)).all(),
            "transitions": sorted(connection.scalars(sa.select(alert_transitions.c.id))),
            "readings": sorted(connection.scalars(sa.select(readings.c.id))),
            "dead_letters": sorted(connection.scalars(sa.select(dead_letters.c.offset))),
            "left_over": connection.scalar(sa.select(sa.func.count()).select_from(deltas)),
        }


@pytest.fixture(scope="module")
def undisturbed(reference, tmp_path_factory):
    engine = fresh_database(tmp_path_factory.mktemp("undisturbed") / "v.sqlite3", reference)
    play(engine, ["poll", "flush"])
    found = state(engine)
    engine.dispose()
    return found


def test_an_undisturbed_run_counts_every_event_and_opens_one_drift_incident(undisturbed) -> None:
    assert undisturbed["events"] == N_EVENTS - 6
    assert len(undisturbed["dead_letters"]) == 6
    assert undisturbed["left_over"] == 0
    assert [alert.kind for alert in undisturbed["alerts"]].count("drift") == 1


@pytest.mark.parametrize(
    "script",
    [
        ["poll", "flush", ABORT],
        ["poll", ABORT, "poll", "flush"],
        ["poll", "poll", ABORT, "poll", "flush", ABORT, "poll", "poll", "flush"],
        ["poll", "poll", "poll", "flush", ABORT, ABORT],
    ],
    ids=["after each commit", "before each commit", "mixed", "twice in a row"],
)
def test_a_worker_dropped_at_any_boundary_leaves_the_same_state(reference, undisturbed, tmp_path, script) -> None:
    engine = fresh_database(tmp_path / "v.sqlite3", reference)
    play(engine, script)
    assert state(engine) == undisturbed
    engine.dispose()


def test_a_judge_killed_inside_its_transaction_leaves_the_panes_for_the_next(
    reference, undisturbed, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = fresh_database(tmp_path / "v.sqlite3", reference)
    killed = 0
    real = judging.delete_deltas

    def dying(connection, ids):
        nonlocal killed
        killed += 1
        if killed <= 3:
            raise SystemExit("killed")
        real(connection, ids)

    source = MemorySource(log_records())
    worker, judge = a_worker(engine, source, Metrics()), a_judge(engine, Metrics())
    for _ in range(20):
        worker.step(0.0)
        worker.flush()
    monkeypatch.setattr("monitor.judge.delete_deltas", dying)
    for _ in range(3):
        with pytest.raises(SystemExit):
            judge.drain()
    judge.drain()
    found = state(engine)
    for key in ("events", "panes", "transitions", "readings", "left_over"):
        assert found[key] == undisturbed[key], key
    engine.dispose()


def test_a_fenced_worker_drops_what_it_held_and_counts_nothing(reference, tmp_path) -> None:
    engine = fresh_database(tmp_path / "v.sqlite3", reference)
    metrics = Metrics()
    slow_source, fast_source = MemorySource(log_records()), MemorySource(log_records())
    slow, fast = a_worker(engine, slow_source, metrics), a_worker(engine, fast_source, metrics)
    for _ in range(2):
        slow.step(0.0)
        fast.step(0.0)
    assert fast.flush() == 2
    assert slow.flush() == 0
    assert metrics.registry.get_sample_value("vedette_fenced_commits_total") == 2
    with reading(engine) as connection:
        counted = connection.scalar(sa.select(sa.func.sum(deltas.c.n_events)))
    assert counted == metrics.registry.get_sample_value("vedette_events_total")
    engine.dispose()


def test_records_that_retention_deleted_are_counted_and_raise_one_alert(reference, tmp_path) -> None:
    engine = fresh_database(tmp_path / "v.sqlite3", reference)
    source = MemorySource(log_records())
    worker = a_worker(engine, source, Metrics())
    worker.step(0.0)
    worker.step(0.0)
    worker.flush()
    for partition in PARTITIONS:
        source.expire(partition, 700)
    source.assign(*PARTITIONS)
    worker = a_worker(engine, source, Metrics())
    for _ in range(20):
        worker.step(0.0)
        worker.flush()
    with reading(engine) as connection:
        lost = connection.execute(sa.select(partitions.c.partition, partitions.c.lost_total)).all()
        raised = connection.execute(sa.select(alerts.c.kind, alerts.c.subject_id, alerts.c.reason)).all()
    assert sum(row.lost_total for row in lost) == 2 * (700 - 200)
    assert [row.kind for row in raised] == ["pipeline", "pipeline"]
    assert all(f"{row.lost_total:,} records" in " ".join(r.reason for r in raised) for row in lost)
    engine.dispose()


def test_a_partition_whose_start_failed_is_started_by_the_next_step(reference, tmp_path, monkeypatch) -> None:
    engine = fresh_database(tmp_path / "v.sqlite3", reference)
    source = MemorySource(log_records())
    worker = a_worker(engine, source, Metrics())
    real, failures = source.bounds, [TransientError("broker away")]

    def bounds(partition):
        if failures:
            raise failures.pop()
        return real(partition)

    monkeypatch.setattr(source, "bounds", bounds)
    with pytest.raises(TransientError):
        worker.step(0.0)
    for _ in range(20):
        worker.step(0.0)
    assert worker.flush() == 2
    engine.dispose()


def test_a_truncated_log_is_refused_with_what_to_do(reference, tmp_path) -> None:
    engine = fresh_database(tmp_path / "v.sqlite3", reference)
    source = MemorySource(log_records())
    worker = a_worker(engine, source, Metrics())
    for _ in range(20):
        worker.step(0.0)
    worker.flush()
    shorter = MemorySource(log_records()[:50])
    with pytest.raises(PermanentError, match="truncated"):
        a_worker(engine, shorter, Metrics()).step(0.0)
    engine.dispose()


def test_a_new_partition_may_start_at_its_end(reference, tmp_path) -> None:
    engine = fresh_database(tmp_path / "v.sqlite3", reference)
    source = MemorySource(log_records())
    worker = a_worker(engine, source, Metrics(), StartAt.LATEST)
    assert worker.step(0.0).events == 0
    engine.dispose()
