"""The ingest queue: events posted over HTTP wait here as one ordered log, for setups without Kafka.

Offsets are ids without gaps. Appends are serialised, so that an offset never becomes visible after a higher one: a
reader that has passed it would not come back. The last record stays when everything is read, since it tells the next
offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from monitor.storage.tables import ingest_queue

_APPEND_LOCK = 0x7665_6465_7474_6502
_FIRST = 1


def append(conn: sa.Connection, values: Sequence[bytes], now: datetime) -> int:
    """Append records in the order given; returns how many. Other appends wait until this transaction ends."""
    if not values:
        return 0
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_APPEND_LOCK)))
    _, high = bounds(conn)
    rows = [{"id": high + i, "value": value, "received_at": now} for i, value in enumerate(values)]
    conn.execute(sa.insert(ingest_queue), rows)
    return len(rows)


def read_from(conn: sa.Connection, offset: int, limit: int) -> Sequence[tuple[int, bytes, datetime]]:
    """At most ``limit`` records (offset, value, received_at) from ``offset`` on, in order."""
    c = ingest_queue.c
    statement = sa.select(c.id, c.value, c.received_at).where(c.id >= offset).order_by(c.id).limit(limit)
    return [(row.id, bytes(row.value), row.received_at) for row in conn.execute(statement)]


def bounds(conn: sa.Connection) -> tuple[int, int]:
    """First offset still held and the offset after the last one; equal while nothing was ever appended."""
    c = ingest_queue.c
    low, high = conn.execute(
        sa.select(
            sa.select(sa.func.min(c.id)).scalar_subquery(),
            sa.select(sa.func.max(c.id)).scalar_subquery(),
        )
    ).one()
    return (_FIRST, _FIRST) if high is None else (low, high + 1)


def delete_below(conn: sa.Connection, offset: int) -> None:
    """Forget records before ``offset``, but never the last one."""
    last = sa.select(sa.func.max(ingest_queue.c.id)).scalar_subquery()
    conn.execute(sa.delete(ingest_queue).where(ingest_queue.c.id < offset, ingest_queue.c.id < last))
