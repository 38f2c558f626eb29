"""The schema's version: bringing a database up to date, and refusing one of another version."""

from __future__ import annotations

from importlib import resources

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError

from monitor.errors import PermanentError
from monitor.storage.engine import reading, transaction

_MIGRATION_LOCK = 0x7665_6465_7474_6501


def migrate(engine: sa.Engine) -> None:
    """Bring the database to the schema of this version: one transaction, all or nothing; one migrator at a time.

    Raises:
        TransientError: the database is away or busy.
        PermanentError: it was made by a newer version.
    """
    with transaction(engine) as conn:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("SET LOCAL lock_timeout = 0")
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        _refuse_newer(_current(conn))
        command.upgrade(alembic_config(conn), "head")


def check_schema(engine: sa.Engine) -> None:
    """Return when the database has exactly the schema of this version.

    Raises:
        PermanentError: no schema yet, an older or a newer one; says which, and what to run.
        TransientError: the database is away or busy.
    """
    with reading(engine) as conn:
        current = _current(conn)
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if current is None:
        raise PermanentError("the database has no tables yet: run `vedette migrate`")
    _refuse_newer(current)
    if current != head:
        raise PermanentError(f"the database is at revision {current}, this version needs {head}: run `vedette migrate`")


def alembic_config(conn: sa.Connection | None = None) -> Config:
    """Alembic's settings, with the migrations that were installed beside this package."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config


def _current(conn: sa.Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()


def _refuse_newer(current: str | None) -> None:
    if current is None:
        return
    try:
        ScriptDirectory.from_config(alembic_config()).get_revision(current)
    except (CommandError, ResolutionError) as error:
        raise PermanentError(
            f"the database was made by a newer version (revision {current}): "
            "install that version, then run `vedette migrate`"
        ) from error
