"""From the worker to the alert: strange events are named, and their values kept only where the settings say so."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from detectors.base import StrangeEvent
from detectors.batch import EventBatch, concatenate
from detectors.ood.detector import OodDetector
from detectors.reference import Reference
from detectors.sketch import Sketch
from detectors.suite import PaneSketch, fit_reference
from monitor.alerting.book import BookPolicy
from monitor.backtest import store_reference
from monitor.config import JudgeSettings, WorkerSettings
from monitor.formats.native import NativeDecoder
from monitor.judge import Judge
from monitor.naming import MOST_VALUE_BYTES, named
from monitor.sources.base import Partition, Record
from monitor.sources.memory import MemorySource
from monitor.storage.engine import create_engine, reading
from monitor.storage.reading import DatabaseQueries
from monitor.storage.schema import migrate
from monitor.storage.tables import alerts, strange_events
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics
from monitor.worker import Worker
from tests.monitor import streams

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTITION = Partition("memory", "log", 0)


def batch(**columns: object) -> EventBatch:
    ids = np.array(["a", "b"], dtype=object)
    values = {"numeric_names": ("x", "y"), "numeric": np.array([[1.0, np.inf], [np.nan, 2.0]])} | columns
    return EventBatch("m", "1", ids, np.array([10.0, 11.0]), **values)


def pane(*events: StrangeEvent) -> PaneSketch:
    return PaneSketch(10, 2, 11.0, Sketch(), events)


def strange(position: int, *columns: tuple[str, float | None, str]) -> StrangeEvent:
    return StrangeEvent(position, "ab"[position], 9.0, 1e-4, True, "so", columns, ("embedding",))


def test_by_default_nothing_of_an_events_own_values_is_written() -> None:
    (row,) = named(batch(), pane(strange(0, ("x", 4.0, "4.0 sd above"))), 0.0, NOW)
    assert row.values is None
    assert row.values_until is None
    assert row.facts["columns"] == [{"name": "x", "z": 4.0, "words": "4.0 sd above"}]
    assert row.facts["p_from"] == "tail model"
    assert row.facts["missing"] == ["embedding"]


def test_values_come_with_an_end_the_blamed_columns_first() -> None:
    mixed = {"kind": np.array(["red", None], dtype=object), "ok": np.array([True, False], dtype=object)}
    first, second = named(batch(mixed=mixed), pane(strange(0, ("kind", None, "never seen")), strange(1)), 6.0, NOW)
    assert list(first.values.items()) == [("kind", "red"), ("x", 1.0), ("y", "inf"), ("ok", True)]
    assert second.values == {"x": None, "y": 2.0, "kind": None, "ok": False}
    assert first.values_until == NOW + timedelta(hours=6)


def test_values_are_bounded() -> None:
    names = tuple(f"column-{i:05d}" for i in range(5_000))
    wide = batch(numeric_names=names, numeric=np.ones((2, 5_000)))
    (row,) = named(wide, pane(strange(0, ("column-04999", 9.0, "9.0 sd above"))), 1.0, NOW)
    assert len(json.dumps(dict(row.values))) <= MOST_VALUE_BYTES * 1.2
    assert next(iter(row.values)) == "column-04999"


@pytest.fixture(scope="module")
def reference() -> Reference:
    records = [Record(PARTITION, i, line) for i, line in enumerate(streams.events(1_500, seed=1))]
    ordinary = concatenate(NativeDecoder(1 << 20).decode(records).batches)
    return fit_reference(ordinary, "1", seed=0, detectors=(OodDetector,))


def played(path: Path, reference: Reference, **settings: object) -> sa.Engine:
    """A stream whose second half holds one event in five that is far out, read and judged to its end."""
    engine = create_engine(f"sqlite:///{path / 'v.sqlite3'}", "test")
    migrate(engine)
    store_reference(engine, reference, NOW)
    lines = streams.events(1_200, seed=2, first=50_000)
    for i in range(600, 1_200, 5):
        event = json.loads(lines[i])
        event["features"]["x1"], event["client_id"] = 60.0 + i, "c-odd"
        lines[i] = json.dumps(event).encode()
    source = MemorySource([Record(PARTITION, i, line) for i, line in enumerate(lines)])
    source.assign(PARTITION)
    worker = Worker(
        source=source,
        decoder=NativeDecoder(1 << 20),
        engine=engine,
        suites=SuiteBook(engine, 1.0),
        settings=WorkerSettings(max_records_per_poll=150, **settings),
        owner="test",
        metrics=Metrics(),
        clock=lambda: NOW,
    )
    judge = Judge(
        engine=engine,
        suites=SuiteBook(engine, 1.0),
        settings=JudgeSettings(lateness_s=0.0),
        policy=BookPolicy(),
        routes=(),
        metrics=Metrics(),
        clock=lambda: NOW,
    )
    for _ in range(10):
        worker.step(0.0)
        worker.flush()
        judge.step()
    judge.drain()
    return engine


def ood_alert(engine: sa.Engine) -> sa.Row:
    with reading(engine) as conn:
        return conn.execute(sa.select(alerts).where(alerts.c.kind == "ood")).one()


def test_an_alert_names_its_strangest_events(tmp_path: Path, reference: Reference) -> None:
    engine = played(tmp_path, reference)
    alert = ood_alert(engine)
    assert "x1 is" in alert.reason
    assert "client c-odd" in alert.reason
    named_events = alert.detail["strangest"]
    assert 1 <= len(named_events) <= 10
    assert {item["client_id"] for item in named_events} == {"c-odd"}
    assert all(item["columns"][0]["name"] == "x1" for item in named_events)
    assert [item["score"] for item in named_events] == sorted((i["score"] for i in named_events), reverse=True)
    with reading(engine) as conn:
        rows = conn.execute(sa.select(strange_events)).all()
    assert {item["event_id"] for item in named_events} <= {row.event_id for row in rows}
    assert all(row.event_values is None for row in rows)
    assert len(rows) < 120, "quiet panes leave nothing"
    engine.dispose()


def test_values_can_be_asked_for_and_end(tmp_path: Path, reference: Reference) -> None:
    engine = played(tmp_path, reference, strange_value_hours=2.0)
    alert = ood_alert(engine)
    first = alert.detail["strangest"][0]["event_id"]
    values = DatabaseQueries(engine, 1.0, clock=lambda: NOW + timedelta(hours=1)).strange_values(alert.id)
    assert values[first]["x1"] > 60
    assert "600" not in json.dumps(alert.detail["strangest"][0]["columns"])
    assert DatabaseQueries(engine, 1.0, clock=lambda: NOW + timedelta(hours=2)).strange_values(alert.id) == {}
    engine.dispose()


def test_naming_can_be_turned_off(tmp_path: Path, reference: Reference) -> None:
    engine = played(tmp_path, reference, name_strange_events=False)
    assert "strangest" not in ood_alert(engine).detail
    with reading(engine) as conn:
        assert conn.execute(sa.select(strange_events)).all() == []
    engine.dispose()
