import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
import sqlalchemy as sa

from monitor.errors import Fenced, PermanentError, SettingsError, TransientError
from monitor.storage.engine import create_engine, reading, transaction
from monitor.storage.tables import ingest_queue, models, references

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _add_model(conn, name, **values):
    row = {"model": name, "version": "", "first_seen_at": NOW, **values}
    conn.execute(sa.insert(models), row)


def _names(engine):
    with reading(engine) as conn:
        return set(conn.scalars(sa.select(models.c.model)))


def test_a_transaction_commits_when_its_block_ends(engine):
    with transaction(engine) as conn:
        _add_model(conn, "a")
    assert _names(engine) == {"a"}


def test_a_transaction_rolls_back_when_its_block_raises(engine):
    def add_and_fail():
        with transaction(engine) as conn:
            _add_model(conn, "a")
            raise Fenced("mine")

    with pytest.raises(Fenced, match="mine"):
        add_and_fail()
    assert _names(engine) == set()


def test_reading_cannot_write(engine):
    with pytest.raises(Exception, match=r"(?i)read.?only"), reading(engine) as conn:
        _add_model(conn, "a")
    with transaction(engine) as conn:
        _add_model(conn, "b")
    assert _names(engine) == {"b"}


def test_a_reader_sees_one_state_and_does_not_wait_for_a_writer(engine):
    with transaction(engine) as writing:
        _add_model(writing, "a")
        assert _names(engine) == set()
    assert _names(engine) == {"a"}


def test_threads_that_read_and_then_write_do_not_trip_over_each_other(engine):
    """With the driver's own transaction control this fails at once on SQLite with "database is locked"."""
    with transaction(engine) as conn:
        _add_model(conn, "counter", events_total=0)
    failures = []

    def add():
        try:
            for _ in range(25):
                with transaction(engine) as conn:
                    total = conn.scalar(sa.select(models.c.events_total).with_for_update())
                    conn.execute(sa.update(models).values(events_total=total + 1))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as conn:
        assert (failures, conn.scalar(sa.select(models.c.events_total))) == ([], 150)


def test_instants_come_back_aware_and_in_utc(engine):
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with transaction(engine) as conn:
        _add_model(conn, "a", last_event_at=elsewhere)
    with reading(engine) as conn:
        row = conn.execute(sa.select(models)).one()
    assert (row.first_seen_at, row.last_event_at, row.last_event_at.tzinfo) == (NOW, NOW, UTC)


def test_naive_instants_are_refused(engine):
    with pytest.raises(sa.exc.StatementError, match="instants are aware"), transaction(engine) as conn:
        _add_model(conn, "a", last_event_at=NOW.replace(tzinfo=None))


def test_json_takes_numpy_values_and_what_postgresql_refuses(engine):
    summary = {"nan": float("nan"), "nul": "a\x00b", "n": np.int64(3), "array": np.arange(2.0), "text": "ü"}
    with transaction(engine) as conn:
        row = {"id": "r", "model": "m", "version": "", "active": False, "n_events": 1, "pane_s": 10}
        conn.execute(sa.insert(references), {**row, "summary": summary, "data": b"", "created_at": NOW})
    with reading(engine) as conn:
        stored = conn.scalar(sa.select(references.c.summary))
    assert stored == {"nan": None, "nul": "a\ufffdb", "n": 3, "array": [0.0, 1.0], "text": "ü"}


def test_a_lack_of_tables_is_permanent_and_says_what_to_run(engine):
    with pytest.raises(PermanentError, match="vedette migrate"), reading(engine) as conn:
        conn.exec_driver_sql("select 1 from nowhere")
    with pytest.raises(PermanentError, match="vedette migrate"), reading(engine) as conn:
        conn.exec_driver_sql("select absent from models")


def test_a_wrong_statement_is_not_taken_for_an_outage(engine):
    with pytest.raises(sa.exc.DBAPIError, match="syntax"), reading(engine) as conn:
        conn.exec_driver_sql("select from where")


def test_a_broken_constraint_is_not_taken_for_an_outage(engine):
    with pytest.raises(sa.exc.IntegrityError), transaction(engine) as conn:
        conn.execute(sa.insert(models), [{"model": "a", "version": "", "first_seen_at": NOW}] * 2)


def test_a_full_pool_is_transient(engine):
    small = sa.create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=0.01, poolclass=sa.pool.QueuePool)
    with small.connect(), pytest.raises(TransientError, match="every connection is in use"), reading(small):
        pass
    small.dispose()


def test_sqlite_is_durable_waits_for_its_turn_and_checks_foreign_keys(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/new/folder/v.sqlite3", role="test")
    with reading(engine) as conn:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [conn.exec_driver_sql(f"pragma {name}").scalar() for name in pragmas]
    engine.dispose()
    assert values == ["wal", 2, 1, 30_000]


def test_a_locked_sqlite_file_is_transient(tmp_path):
    path = tmp_path / "v.sqlite3"
    engine = create_engine(f"sqlite:///{path}", role="test")
    with reading(engine) as conn:
        conn.exec_driver_sql("select 1")
    with engine.connect() as conn:
        conn.exec_driver_sql("pragma busy_timeout = 1")
        conn.rollback()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    with (
        pytest.raises(TransientError, match=f"SQLite file {path} is away or busy .database is locked"),
        transaction(engine),
    ):
        pass
    other.close()
    engine.dispose()


def test_a_file_that_is_no_database_is_permanent(tmp_path):
    path = tmp_path / "v.sqlite3"
    path.write_bytes(b"not a database, by far" * 50)
    engine = create_engine(f"sqlite:///{path}", role="test")
    with pytest.raises(PermanentError, match="not a database"), reading(engine):
        pass
    engine.dispose()


def test_an_absent_postgresql_is_transient_and_its_password_is_not_told():
    engine = create_engine("postgresql://vedette:tOp-sEcret@127.0.0.1:1/events", role="test")
    with (
        pytest.raises(TransientError, match=r"PostgreSQL database events at 127\.0\.0\.1 is away") as caught,
        reading(engine),
    ):
        pass
    engine.dispose()
    assert "tOp-sEcret" not in str(caught.value) + str(caught.value.__cause__)


@pytest.mark.services
def test_postgresql_knows_who_connects_and_gives_up_waiting(postgres_url):
    url = sa.make_url(postgres_url).update_query_dict({"options": "-c lock_timeout=7s"})
    engine = create_engine(url.render_as_string(hide_password=False), role="judge")
    with reading(engine) as conn:
        names = ("application_name", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        values = [conn.exec_driver_sql(f"show {name}").scalar() for name in (*names, "timezone")]
    engine.dispose()
    assert values == ["vedette-judge", "7s", "1min", "5min", "UTC"]


@pytest.mark.services
def test_a_statement_that_takes_too_long_and_a_killed_session_are_transient(postgres_url):
    engine = create_engine(postgres_url, role="test")
    with pytest.raises(TransientError, match="statement timeout"), transaction(engine) as conn:
        conn.exec_driver_sql("set local statement_timeout = 20; select pg_sleep(5)")
    with pytest.raises(TransientError, match="away or busy"), transaction(engine) as conn:
        conn.exec_driver_sql("select pg_terminate_backend(pg_backend_pid())")
    with reading(engine) as conn:
        assert conn.exec_driver_sql("select 1").scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://localhost/x", "no url at all", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused_as_settings(url):
    with pytest.raises(SettingsError, match=r"database\.url"):
        create_engine(url, role="test")


def test_values_are_not_told_in_errors(engine):
    with pytest.raises(sa.exc.IntegrityError) as caught, transaction(engine) as conn:
        conn.execute(sa.insert(ingest_queue), [{"id": 1, "value": b"customer-data", "received_at": NOW}] * 2)
    assert "customer-data" not in str(caught.value)
