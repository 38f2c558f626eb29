"""Commands change the database as the read side then shows it, on SQLite and PostgreSQL."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from monitor.alerting.routing import Route
from monitor.errors import Conflict, NotFound, TransientError
from monitor.storage import ingest
from monitor.storage import tables as t
from monitor.storage.commands import DatabaseCommands, QueueIntake
from monitor.storage.engine import create_engine, reading, transaction
from monitor.storage.reading import DatabaseQueries

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class BusyIntake:
    def append(self, values: Sequence[bytes]) -> None:
        raise TransientError("the broker is away")


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(database_url, "test")
    values = {column.name: "" for column in t.alerts.columns if isinstance(column.type, sa.Text)}
    values |= {"id": "a1", "kind": "drift", "subject_type": "model", "status": "open", "severity": "warning"}
    numbers = {"readings_total": 1, "quiet_panes": 0, "log_evidence": 9.0, "log_threshold": 8.0, "effect": 0.1}
    times = {"opened_at": NOW, "last_seen_at": NOW, "created_at": NOW}
    nothing = {"acknowledged_by": None, "verdict": None, "verdict_by": None, "members": [], "detail": {}}
    with transaction(engine) as conn:
        conn.execute(t.alerts.insert().values({**values, **numbers, **times, **nothing}))
    yield engine
    engine.dispose()


@pytest.fixture
def commands(engine: sa.Engine) -> DatabaseCommands:
    return DatabaseCommands(engine, [Route("hook")], QueueIntake(engine, lambda: NOW), lambda: NOW)


def test_a_decision_answers_with_the_alert_as_it_is_then_read(engine: sa.Engine, commands: DatabaseCommands) -> None:
    queries = DatabaseQueries(engine, 1.0)
    taken = commands.acknowledge("a1", "ada", "looking")
    assert (taken.status, taken.acknowledged_by, taken.acknowledged_at) == ("acknowledged", "ada", NOW)
    assert taken == queries.alert("a1")
    closed = commands.resolve("a1", "bob", "")
    assert closed.status == "resolved"
    assert closed == queries.alert("a1")
    assert [(row.transition, row.actor) for row in queries.transitions("a1")] == [
        ("acknowledged", "ada"),
        ("resolved", "bob"),
    ]


def test_what_cannot_be_decided_is_named_and_changes_nothing(engine: sa.Engine, commands: DatabaseCommands) -> None:
    for missing in ("none", "\x00"):
        with pytest.raises(NotFound, match="no alert"):
            commands.acknowledge(missing, "ada", "")
    commands.resolve("a1", "ada", "")
    before = DatabaseQueries(engine, 1.0).alert("a1")
    for decide in (commands.acknowledge, commands.resolve):
        with pytest.raises(Conflict):
            decide("a1", "bob", "")
    assert DatabaseQueries(engine, 1.0).alert("a1") == before


def test_a_verdict_answers_with_the_alert_as_it_is_then_read(engine: sa.Engine, commands: DatabaseCommands) -> None:
    queries = DatabaseQueries(engine, 1.0)
    marked = commands.mark("a1", "real", "ada", "seen upstream")
    assert (marked.verdict, marked.verdict_by, marked.verdict_at, marked.status) == ("real", "ada", NOW, "open")
    assert marked == queries.alert("a1")
    unmarked = commands.mark("a1", None, "ada", "")
    assert (unmarked.verdict, unmarked.verdict_by, unmarked.verdict_at) == (None, None, None)
    dismissed = commands.dismiss("a1", "bob", "a load test")
    assert (dismissed.verdict, dismissed.verdict_by, dismissed.status) == ("false_alarm", "bob", "resolved")
    assert dismissed == queries.alert("a1")
    assert [(row.transition, row.note) for row in queries.transitions("a1")] == [
        ("marked_real", "seen upstream"),
        ("unmarked", ""),
        ("marked_false_alarm", "a load test"),
        ("resolved", ""),
    ]


def test_a_verdict_that_cannot_be_is_named_and_changes_nothing(engine: sa.Engine, commands: DatabaseCommands) -> None:
    with pytest.raises(NotFound, match="no alert"):
        commands.mark("none", "real", "ada", "")
    commands.dismiss("a1", "ada", "")
    before = DatabaseQueries(engine, 1.0).alert("a1")
    with pytest.raises(Conflict, match="already marked false_alarm by ada"):
        commands.mark("a1", "false_alarm", "bob", "")
    with pytest.raises(Conflict, match="already marked"):
        commands.dismiss("a1", "bob", "")
    assert DatabaseQueries(engine, 1.0).alert("a1") == before


def test_events_wait_in_the_queue_in_their_order(engine: sa.Engine, commands: DatabaseCommands) -> None:
    commands.ingest([b"one", b"two"])
    commands.ingest([b"three"])
    with reading(engine) as conn:
        low, _ = ingest.bounds(conn)
        rows = ingest.read_from(conn, low, 10)
    assert [(value, at) for _, value, at in rows] == [(b"one", NOW), (b"two", NOW), (b"three", NOW)]


def test_an_intake_that_is_busy_is_told(engine: sa.Engine) -> None:
    with pytest.raises(TransientError, match="broker"):
        DatabaseCommands(engine, (), BusyIntake(), lambda: NOW).ingest([b"x"])
