"""Retention: what is old is rolled up, then forgotten, a bounded piece a call; repeat until 0 comes back."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from detectors.sketch import Sketch, total
from monitor.storage.judging import save_pane
from monitor.storage.tables import dead_letters, evidence, panes, readings

_ROWS_PER_CALL = 5_000
_PANES_PER_CALL = 500


def prune(conn: sa.Connection, model: str, version: str, *, readings_before: int, panes_before: int) -> int:
    """Delete readings of panes before one epoch second, and panes and evidence last touched before the other.

    Returns:
        Rows deleted, at most 5,000.
    """
    left = _ROWS_PER_CALL
    for table, before in ((readings, readings_before), (panes, panes_before), (evidence, panes_before)):
        c = table.c
        left -= _delete(conn, table, sa.and_(c.model == model, c.version == version, c.pane_start < before), left)
    return _ROWS_PER_CALL - left


def prune_dead_letters(conn: sa.Connection, before: datetime) -> int:
    """Delete dead letters set aside before an instant; returns how many, at most 5,000."""
    return _delete(conn, dead_letters, dead_letters.c.created_at < before, _ROWS_PER_CALL)


def roll_up(conn: sa.Connection, model: str, version: str, older_than: int, width_s: int) -> int:
    """Merge panes into panes of ``width_s``, each the exact sum of those of one reference that start within it.

    Only wide panes that end by ``older_than`` (epoch s) are made; one that is there already is added to.

    Returns:
        Narrow panes merged away, at most 500.

    Raises:
        ValueError: ``width_s`` is not positive, or a stored sketch cannot be read.
    """
    if width_s <= 0:
        raise ValueError(f"panes are rolled up to a positive width, not {width_s} s")
    narrow = _narrow_panes(conn, model, version, older_than // width_s * width_s, width_s)
    for (reference_id, start), group in groupby(narrow, lambda row: (row.reference_id, _slot(row, width_s))):
        rows = list(group)
        n_events = sum(row.n_events for row in rows)
        sketch = total(Sketch.from_bytes(row.sketch) for row in rows).to_bytes()
        save_pane(conn, model, version, reference_id, width_s, start, n_events, sketch)
    if narrow:
        statement = sa.delete(panes).where(*(panes.c[c.name] == sa.bindparam(f"_{c.name}") for c in panes.primary_key))
        conn.execute(statement, [{f"_{c.name}": getattr(row, c.name) for c in panes.primary_key} for row in narrow])
    return len(narrow)


def _narrow_panes(conn: sa.Connection, model: str, version: str, before: int, width_s: int) -> list[sa.Row[Any]]:
    c = panes.c
    statement = (
        sa.select(panes)
        .where(c.model == model, c.version == version, c.pane_s < width_s, c.pane_start < before)
        .order_by(c.reference_id, c.pane_start, c.pane_s)
        .limit(_PANES_PER_CALL)
        .with_for_update()
    )
    return list(conn.execute(statement))


def _slot(row: sa.Row[Any], width_s: int) -> int:
    return int(row.pane_start) // width_s * width_s


def _delete(conn: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool], limit: int) -> int:
    if limit <= 0:
        return 0
    key = list(table.primary_key)
    chosen = sa.select(*key).where(where).limit(limit)
    return conn.execute(sa.delete(table).where(sa.tuple_(*key).in_(chosen))).rowcount
