"""Connections and transactions: where SQLite and PostgreSQL are set up, and where their errors get names.

On SQLite the driver's own transaction control is switched off, because it begins late and never IMMEDIATE: two threads
that read and then write would then fail with "database is locked" instead of waiting. Here every transaction begins
explicitly: IMMEDIATE to write (writers queue for up to ``BUSY_TIMEOUT_S``), DEFERRED to read (never waits, thanks to
the write-ahead log).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import sqlalchemy as sa
from sqlalchemy import event

from monitor.errors import PermanentError, SettingsError, TransientError, VedetteError

BUSY_TIMEOUT_S = 30
_POSTGRES_SETTINGS = {
    "statement_timeout": "60s",
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "300s",
    "timezone": "UTC",
}
_BEGIN = "vedette_sqlite_begin"
_NO_SUCH_TABLE = {"42P01", "42703", "3F000"}


def create_engine(url: str, role: str) -> sa.Engine:
    """An engine for SQLite (a file, its folder made if need be) or PostgreSQL; nothing connects yet on PostgreSQL.

    Args:
        url: as in the settings; a PostgreSQL URL may carry ``?options=-c…``, which wins over what is set here.
        role: who connects, such as ``worker``; PostgreSQL shows it as ``vedette-worker``.

    Raises:
        SettingsError: neither of the two, or SQLite without a file.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError(["database.url: not a database URL"]) from None
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return _postgres(parsed.set(drivername="postgresql+psycopg"), role)
    raise SettingsError(["database.url: must start with sqlite:/// or postgresql://"])


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One write transaction: committed when the block ends, rolled back when it raises.

    Raises:
        TransientError: the database is away, busy, or gave up waiting; whether a commit under way took is not known.
        PermanentError: its tables are missing, or the file is no database or cannot be written.
    """
    with _named_errors(engine), engine.begin() as conn:
        yield conn


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for reading alone, which the database enforces; same errors as ``transaction``."""
    options = {_BEGIN: "DEFERRED"} if engine.dialect.name == "sqlite" else {"postgresql_readonly": True}
    with _named_errors(engine), engine.connect() as conn, conn.execution_options(**options).begin():
        yield conn


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise SettingsError(["database.url: SQLite needs a file, such as sqlite:///vedette.sqlite3"])
    if url.query:
        raise SettingsError(["database.url: SQLite takes no parameters after ?"])
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError([f"database.url: cannot make the folder of {url.database}: {error.strerror}"]) from error
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.QueuePool,
        pool_size=16,
        max_overflow=48,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        hide_parameters=True,
        json_serializer=_to_json,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1_000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")


def _begin_sqlite(conn: sa.Connection) -> None:
    mode = conn.get_execution_options().get(_BEGIN, "IMMEDIATE")
    conn.exec_driver_sql(f"PRAGMA query_only = {'ON' if mode == 'DEFERRED' else 'OFF'}")
    conn.exec_driver_sql(f"BEGIN {mode}")


def _postgres(url: sa.URL, role: str) -> sa.Engine:
    own = " ".join(f"-c {name}={value}" for name, value in _POSTGRES_SETTINGS.items())
    given = url.query.get("options", "")
    return sa.create_engine(
        url,
        pool_size=5,
        max_overflow=15,
        pool_timeout=20,
        pool_pre_ping=True,
        connect_args={
            "application_name": f"vedette-{role}",
            "connect_timeout": 10,
            "options": " ".join([own, *([given] if isinstance(given, str) else given)]),
        },
        hide_parameters=True,
        json_serializer=_to_json,
    )


def _to_json(value: object) -> str:
    """JSON that both databases take: no NaN (null), no U+0000 in text (PostgreSQL has no such character)."""
    text = msgspec.json.encode(value, enc_hook=_plain).decode()
    return text.replace("\\u0000", "\\ufffd")


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON-ready")


@contextmanager
def _named_errors(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise TransientError(f"{_name(engine)}: every connection is in use") from error
    except sa.exc.DBAPIError as error:
        named = _translated(engine, error)
        if named is None:
            raise
        raise named from error


def _translated(engine: sa.Engine, error: sa.exc.DBAPIError) -> VedetteError | None:
    """What to make of a driver's error; None for one that is a fault of ours, which stays as it is."""
    cause = " ".join(str(error.orig).split())
    if engine.url.password:
        cause = cause.replace(str(engine.url.password), "***")
    sqlite_error = getattr(error.orig, "sqlite_errorname", "")
    if _lacks_tables(error.orig):
        return PermanentError(f"{_name(engine)} lacks a table or column ({cause}): run `vedette migrate`")
    if _refuses_options(error.orig):
        return SettingsError([f"database.url: {cause}"])
    if sqlite_error.startswith("SQLITE_CANTOPEN"):
        return PermanentError(f"{_name(engine)} cannot be opened ({cause}): check its path and permissions")
    if sqlite_error in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}:
        return PermanentError(
            f"{_name(engine)} cannot be read ({cause}): restore it from a backup or name another file"
        )
    if sqlite_error.startswith("SQLITE_READONLY"):
        return PermanentError(f"{_name(engine)} cannot be written ({cause}): allow it, or name another file")
    away = error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
    if away and sqlite_error != "SQLITE_ERROR":
        return TransientError(f"{_name(engine)} is away or busy ({cause})")
    return None


def _refuses_options(cause: BaseException | None) -> bool:
    """Whether the driver itself, not the server, found fault with the URL."""
    return isinstance(cause, psycopg.ProgrammingError) and str(cause).startswith("invalid connection option")


def _lacks_tables(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.OperationalError):
        return str(cause).startswith(("no such table", "no such column"))
    return getattr(cause, "sqlstate", None) in _NO_SUCH_TABLE


def _name(engine: sa.Engine) -> str:
    if engine.dialect.name == "sqlite":
        return f"SQLite file {engine.url.database}"
    return f"PostgreSQL database {engine.url.database} at {engine.url.host or 'the local socket'}"
