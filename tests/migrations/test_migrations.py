"""The migrations and ``monitor/storage/tables.py`` describe one database, on both dialects."""

import threading

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from monitor.errors import PermanentError
from monitor.storage.engine import create_engine, reading, transaction
from monitor.storage.schema import alembic_config, check_schema, migrate
from monitor.storage.tables import metadata

REVISIONS = [
    script.revision for script in reversed(list(ScriptDirectory.from_config(alembic_config()).walk_revisions()))
]


@pytest.fixture
def engine(database_url):
    engine = create_engine(database_url, role="test")
    yield engine
    engine.dispose()


def _step(engine, verb, revision):
    with transaction(engine) as conn:
        verb(alembic_config(conn), revision)


def _tables(engine):
    with reading(engine) as conn:
        return set(sa.inspect(conn).get_table_names()) - {"alembic_version"}


def _structure(engine):
    """Every table, column, constraint and index, in the database's own words."""
    with reading(engine) as conn:
        if conn.dialect.name == "sqlite":
            rows = conn.exec_driver_sql(
                "select name, sql from sqlite_master where name not like 'sqlite_%' and name <> 'alembic_version'"
            )
            return {name: _clauses(text) for name, text in rows if text}
        return sorted(
            tuple(str(value) for value in row)
            for query in (
                "select table_name, column_name, data_type, is_nullable, column_default, '' "
                "from information_schema.columns where table_schema = 'public'",
                "select tablename, indexname, indexdef, '', '', '' from pg_indexes where schemaname = 'public'",
                "select conrelid::regclass, conname, pg_get_constraintdef(oid), '', '', '' "
                "from pg_constraint where connamespace = 'public'::regnamespace",
                "select oid::regclass, obj_description(oid, 'pg_class'), '', '', '', '' "
                "from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'",
            )
            for row in conn.exec_driver_sql(query)
            if "alembic_version" not in str(row)
        )


def _clauses(statement):
    """A statement of SQLite; the clauses of a table are sorted, for a column that was added later stands last."""
    head, _, body = " ".join(statement.split()).partition("(")
    if not head.startswith("CREATE TABLE"):
        return head, body
    body, _, tail = body.rpartition(")")
    clauses, depth = [""], 0
    for char in body:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            clauses.append("")
        else:
            clauses[-1] += char
    return head, sorted(clause.strip() for clause in clauses), tail


def test_a_migrated_database_differs_in_nothing_from_the_tables(engine):
    with reading(engine) as conn:
        options = {"compare_type": True, "compare_server_default": conn.dialect.name == "postgresql"}
        assert compare_metadata(MigrationContext.configure(conn, opts=options), metadata) == []


def test_migrating_and_creating_all_tables_make_the_same_database(engine):
    migrated = _structure(engine)
    _step(engine, command.downgrade, "base")
    with transaction(engine) as conn:
        metadata.create_all(conn)
    assert migrated == _structure(engine)


def test_every_revision_goes_up_down_and_up_again(engine):
    migrated = _structure(engine)
    _step(engine, command.downgrade, "base")
    assert _tables(engine) == set()
    for revision in REVISIONS:
        _step(engine, command.upgrade, revision)
        _step(engine, command.downgrade, "-1")
        _step(engine, command.upgrade, revision)
    assert _structure(engine) == migrated


def test_there_is_one_head():
    assert len(ScriptDirectory.from_config(alembic_config()).get_heads()) == 1


def test_migrating_twice_changes_nothing(engine):
    before = _structure(engine)
    migrate(engine)
    check_schema(engine)
    assert _structure(engine) == before


def test_several_processes_may_migrate_at_once(engine):
    _step(engine, command.downgrade, "base")
    failures = []

    def run():
        try:
            migrate(engine)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check_schema(engine)


def test_a_migration_that_fails_leaves_the_database_as_it_was(engine, monkeypatch):
    _step(engine, command.downgrade, "base")
    with transaction(engine) as conn:
        conn.exec_driver_sql("create table readings (id integer)")
    with pytest.raises(Exception, match="readings"):
        migrate(engine)
    assert _tables(engine) == {"readings"}


def test_a_database_without_tables_is_refused(engine):
    _step(engine, command.downgrade, "base")
    with pytest.raises(PermanentError, match="no tables yet: run `vedette migrate`"):
        check_schema(engine)
    with transaction(engine) as conn:
        conn.exec_driver_sql("drop table alembic_version")
    with pytest.raises(PermanentError, match="no tables yet: run `vedette migrate`"):
        check_schema(engine)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(engine):
    with transaction(engine) as conn:
        conn.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(PermanentError, match=r"newer version \(revision 9999\).*`vedette migrate`"):
        check_schema(engine)
    with pytest.raises(PermanentError, match="newer version"):
        migrate(engine)


def test_a_database_of_an_older_version_is_refused(engine, monkeypatch):
    monkeypatch.setattr(ScriptDirectory, "get_current_head", lambda self: "9999")
    with pytest.raises(PermanentError, match=f"revision {REVISIONS[-1]}, .* needs 9999: run `vedette migrate`"):
        check_schema(engine)
