"""How Alembic runs here: on the connection it is handed, else on the database of the settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from monitor.config import load_settings
from monitor.errors import PermanentError
from monitor.storage.engine import create_engine, transaction
from monitor.storage.tables import metadata


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
        compare_type=True,
        # On SQLite, Alembic takes the default '' for a change each time.
        compare_server_default=connection.dialect.name == "postgresql",
    )
    context.run_migrations()


if context.is_offline_mode():
    raise PermanentError("migrations read the database while they run: run them on a connection, without --sql")
given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with transaction(create_engine(load_settings(None).database.url, "migrate")) as own:
        _run(own)
