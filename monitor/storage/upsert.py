"""``INSERT … ON CONFLICT`` in the words of whichever database is connected."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(conn: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An insert into ``table`` that knows ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    return postgresql.insert(table) if conn.dialect.name == "postgresql" else sqlite.insert(table)
