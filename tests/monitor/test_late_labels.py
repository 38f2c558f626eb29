"""A label that comes alone counts once with its answer, whatever the order, the partition, the worker or the crash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from detectors.batch import concatenate
from detectors.sketch import Sketch, total
from detectors.suite import fit_reference
from monitor.backtest import backtest, store_reference
from monitor.config import WorkerSettings
from monitor.formats.native import NativeDecoder
from monitor.history import reference_from_file
from monitor.late_labels import LateLabels, sampling_level
from monitor.sources.base import Partition, Record
from monitor.sources.files import FileSource
from monitor.sources.memory import MemorySource
from monitor.storage.engine import create_engine, reading
from monitor.storage.tables import deltas, models, waiting_labels
from monitor.storage.waiting_labels import FULL
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics
from monitor.worker import Worker
from tests.monitor import labels

pytestmark = pytest.mark.slow

HERE = Partition("memory", "log", 0)
N = 1_200


@pytest.fixture(scope="module")
def reference():
    lines = labels.log(1_500, seed=1)
    records = [Record(HERE, i, line) for i, line in enumerate(lines)]
    fitted = fit_reference(concatenate(NativeDecoder(1 << 20).decode(records).batches), "1", seed=0)
    assert "performance" in fitted.parts, fitted.unfit
    return fitted


@pytest.fixture
def engine(database_url: str, reference) -> Iterator[sa.Engine]:
    engine = create_engine(database_url, role="test")
    store_reference(engine, reference, datetime.now(UTC))
    yield engine
    engine.dispose()


def a_worker(engine: sa.Engine, source: MemorySource, metrics: Metrics, per_poll: int = 200, **settings) -> Worker:
    return Worker(
        source=source,
        decoder=NativeDecoder(1 << 20),
        engine=engine,
        suites=SuiteBook(engine, 1.0),
        settings=WorkerSettings(flush_interval_s=60.0, max_records_per_poll=per_poll, warm_up_records=0, **settings),
        owner="test",
        metrics=metrics,
        clock=lambda: datetime.now(UTC),
    )


def read(engine: sa.Engine, *logs: Sequence[bytes], per_poll: int = 200, **settings) -> Metrics:
    """Read the logs, a partition each, one after the other, committing after each poll."""
    metrics = Metrics()
    for number, lines in enumerate(logs):
        partition = Partition("memory", "log", number)
        source = MemorySource(Record(partition, i, line) for i, line in enumerate(lines))
        worker = a_worker(engine, source, metrics, per_poll, **settings)
        while worker.step(0.0).records or not source.exhausted():
            worker.flush()
        worker.flush()
    return metrics


def counted(engine: sa.Engine) -> dict[str, list]:
    """The exact sum of all that performance has sketched."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(deltas.c.sketch).where(deltas.c.version == "1")).all()
    whole = total(Sketch.from_bytes(row.sketch) for row in rows).part("performance")
    return {name: array.tolist() for name, array in whole.totals.items()}


def outcomes(metrics: Metrics) -> dict[str, float]:
    names = ("joined", "repeated", "too_late", "crowded_out")
    return {n: metrics.registry.get_sample_value("vedette_late_labels_total", {"outcome": n}) or 0.0 for n in names}


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return labels.log(N, seed=2, delay_s=300.0, first=50_000, labelled=0.7)


@pytest.fixture(scope="module")
def n_labels(lines) -> int:
    return len(labels.only_labels(lines))


def expected_right(lines: Sequence[bytes]) -> int:
    """Right answers by a join of our own."""
    events = [json.loads(line) for line in lines]
    answers = {event["event_id"]: event["prediction"] for event in events if "prediction" in event}
    return sum(answers[event["event_id"]] == event["label"] for event in events if "label" in event)


def test_every_label_counts_once_and_every_answer_once(engine, lines, n_labels):
    metrics = read(engine, lines)
    found = counted(engine)
    assert np.sum(found["answers"]) == N
    assert np.sum(found["labelled"]) == n_labels
    assert np.sum(found["right"]) == expected_right(lines)
    assert outcomes(metrics) == {"joined": n_labels, "repeated": 0, "too_late": 0, "crowded_out": 0}


@pytest.mark.parametrize("per_poll", [37, 5_000], ids=["other batches", "one batch"])
@pytest.mark.parametrize("order", ["labels first", "labels last", "as logged"])
def test_neither_order_nor_batches_nor_partitions_change_what_is_counted(engine, lines, n_labels, order, per_poll):
    answers, late = labels.only_answers(lines), labels.only_labels(lines)
    logs = {"labels first": [late, answers], "labels last": [answers, late], "as logged": [lines]}[order]
    read(engine, *logs, per_poll=per_poll)
    found = counted(engine)
    assert np.sum(found["answers"]) == N
    assert np.sum(found["labelled"]) == n_labels
    assert np.sum(found["right"]) == expected_right(lines)


def test_labels_without_a_version_go_to_the_version_that_answered(engine):
    lines = labels.log(300, seed=3, delay_s=60.0, version=None)
    read(engine, lines)
    assert np.sum(counted(engine)["labelled"]) == 300
    with reading(engine) as connection:
        assert list(connection.scalars(sa.select(models.c.version))) == ["1"]
        assert connection.scalar(sa.select(models.c.events_total)) == 300


def test_repeated_labels_and_answers_change_nothing(engine, lines, n_labels):
    once = read(engine, lines)
    first = counted(engine)
    again = read(engine, [], labels.only_labels(lines), labels.only_answers(lines)[:50])
    assert outcomes(once)["joined"] == n_labels
    assert outcomes(again) == {"joined": 0, "repeated": n_labels, "too_late": 0, "crowded_out": 0}
    assert counted(engine)["labelled"] == first["labelled"]


def test_a_joined_label_is_in_the_pane_of_the_label_and_knows_its_delay(engine):
    lines = labels.log(200, seed=4, delay_s=900.0)
    read(engine, lines)
    with reading(engine) as connection:
        rows = connection.execute(sa.select(deltas.c.pane_start, deltas.c.sketch, deltas.c.n_events)).all()
    labelled = {}
    for row in rows:
        sums = Sketch.from_bytes(row.sketch).part("performance").totals
        labelled[row.pane_start] = labelled.get(row.pane_start, 0) + int(sums["labelled"].sum())
    with_labels = [start for start, n in labelled.items() if n]
    assert min(with_labels) >= labels.START + 900.0 - 300.0
    assert sum(row.n_events for row in rows) == 400
    delay = np.array(counted(engine)["delay"])
    assert delay.sum() == 200
    assert np.count_nonzero(delay) == 1


@pytest.mark.parametrize("crash_before", ["partitions", "deltas", "models"])
def test_a_crash_at_any_point_of_a_commit_loses_and_doubles_nothing(engine, lines, n_labels, crash_before):
    """Every third commit dies before one of its writes; a new worker reads from the committed offset."""
    source = MemorySource(Record(HERE, i, line) for i, line in enumerate(lines))
    metrics, n_statements = Metrics(), 0
    starts = {"partitions": "UPDATE partitions", "deltas": "INSERT INTO deltas", "models": "INSERT INTO models"}

    def crash(conn, cursor, statement, parameters, context, executemany):
        nonlocal n_statements
        if statement.startswith(starts[crash_before]):
            n_statements += 1
            if n_statements % 3 == 0:
                raise ConnectionError("killed")

    sa.event.listen(engine, "before_cursor_execute", crash)
    worker, crashes = a_worker(engine, source, metrics, 100), 0
    for _ in range(100):
        try:
            worker.step(0.0)
            worker.flush()
        except ConnectionError:
            crashes += 1
            source.assign(HERE)
            worker = a_worker(engine, source, metrics, 100)
    sa.event.remove(engine, "before_cursor_execute", crash)
    assert crashes > 3
    found = counted(engine)
    assert (np.sum(found["answers"]), np.sum(found["labelled"])) == (N, n_labels)
    assert np.sum(found["right"]) == expected_right(lines)


def test_a_fenced_worker_joins_nothing(engine, lines, n_labels):
    slow_source, fast_source = (MemorySource(Record(HERE, i, x) for i, x in enumerate(lines)) for _ in range(2))
    metrics = Metrics()
    slow, fast = a_worker(engine, slow_source, metrics, 5_000), a_worker(engine, fast_source, metrics, 5_000)
    for worker in (slow, fast):
        worker.step(0.0)
    assert (fast.flush(), slow.flush()) == (1, 0)
    assert np.sum(counted(engine)["labelled"]) == n_labels == outcomes(metrics)["joined"]


def test_labels_that_come_after_the_wait_do_not_count(engine):
    metrics = read(engine, labels.log(100, seed=5, delay_s=2 * 86_400.0), label_wait_days=1.0)
    assert outcomes(metrics)["too_late"] == 100
    assert np.sum(counted(engine)["labelled"]) == 0


def test_a_wait_of_zero_days_stores_nothing(engine, lines):
    read(engine, lines, label_wait_days=0.0)
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(waiting_labels)) == 0
    assert np.sum(counted(engine)["labelled"]) == 0


def test_answers_without_an_id_of_their_own_do_not_wait(engine):
    lines = labels.only_answers(labels.log(100, seed=6))
    nameless = [json.dumps({k: v for k, v in json.loads(x).items() if k != "event_id"}).encode() for x in lines]
    read(engine, nameless)
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(waiting_labels)) == 0


def test_a_model_whose_reference_has_no_labels_asks_nothing_of_the_table(database_url):
    engine = create_engine(database_url, role="test")
    lines = labels.only_answers(labels.log(1_500, seed=1))
    records = [Record(HERE, i, line) for i, line in enumerate(lines)]
    bare = fit_reference(concatenate(NativeDecoder(1 << 20).decode(records).batches), "1", seed=0)
    assert "no labels" in bare.unfit["performance"]
    store_reference(engine, bare, datetime.now(UTC))
    touched = []

    def note(conn, cursor, statement, parameters, context, executemany):
        if "waiting_labels" in statement:
            touched.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    read(engine, labels.log(300, seed=2, delay_s=60.0))
    assert touched == []
    engine.dispose()


def test_the_fuller_the_table_the_thinner_the_sample():
    levels = [sampling_level(n, 1_000) for n in (0, 499, 500, 749, 750, 990, 1_000, 1_001)]
    assert levels == [0, 0, 1, 1, 2, 6, FULL, FULL]


def test_the_room_is_counted_once_a_minute(engine, lines):
    moment = [datetime.now(UTC)]
    desk = LateLabels(SuiteBook(engine, 1.0), 7.0, 1_000, lambda: moment[0])
    batches = NativeDecoder(1 << 20).decode([Record(HERE, i, line) for i, line in enumerate(lines)]).batches
    halves = [half for half in desk.halves(batches, HERE) if half.answer is not None]
    with engine.begin() as connection:
        assert desk.settle(connection, halves[:1_000]).outcomes["crowded_out"] == 0
        assert desk.settle(connection, halves[1_000:1_100]).outcomes["crowded_out"] == 0
        moment[0] += timedelta(minutes=2)
        assert desk.settle(connection, halves[1_100:]).outcomes["crowded_out"] == len(halves) - 1_100


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory):
    """A reference fitted by the command's own path from a log whose labels come an hour later."""
    path = tmp_path_factory.mktemp("learned") / "ordinary.ndjson"
    path.write_bytes(b"\n".join(labels.log(6_000, seed=1, version=None)))
    return reference_from_file([path], labels.MODEL, "1", seed=0)


def replayed(learned, lines: Sequence[bytes], folder: Path):
    path = folder / "log.ndjson"
    path.write_bytes(b"\n".join(lines))
    return backtest(FileSource([path], labels.MODEL), NativeDecoder(1 << 20), learned, labels.MODEL, 1.0)


def test_a_reference_log_with_late_labels_teaches_performance(learned):
    part = learned.parts["performance"]
    assert part.facts["n_labels"] == 6_000
    assert part.facts["classes"] == ["bad", "good"] or part.facts["classes"] == ["good", "bad"]


@pytest.mark.parametrize("version", ["1", None], ids=["versioned labels", "labels without a version"])
def test_an_accuracy_that_drops_raises_one_performance_incident_when_its_labels_come(learned, tmp_path, version):
    worse_from = 6_000
    lines = labels.log(12_000, seed=2, worse_from=worse_from, first=20_000, version=version)
    changes = replayed(learned, lines, tmp_path).changes
    opened = [change for change in changes if change.transition.transition.value == "opened"]
    assert [(change.incident.kind.value, change.incident.detector) for change in opened] == [
        ("performance", "performance")
    ]
    (incident,) = {change.incident.id: change.incident for change in opened}.values()
    onset = labels.START + 20_000 + worse_from + 3_600
    assert onset < opened[0].transition.event_time.timestamp() < onset + 1_800
    assert "Accuracy fell from" in incident.reason
    assert "measured on" in incident.reason


def test_an_honest_log_with_late_labels_raises_nothing(learned, tmp_path):
    assert replayed(learned, labels.log(10_000, seed=3, first=20_000), tmp_path).changes == []
