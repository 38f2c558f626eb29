"""How each model version stands: its reference, its open alerts and its last readings, in one query each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from monitor.queries import ModelRow
from monitor.storage import tables as t

_STATUSES = ("ok", "warning", "alarm")
_LEVEL_RANK = {"warning": 1, "alarm": 2}
_SEVERITY_RANK = {"warning": 1, "critical": 2}

Reference = sa.Row[Any]
"""An active row of ``references`` without its data."""


def models_where(conn: sa.Connection, where: sa.ColumnElement[bool], limit: int) -> list[ModelRow]:
    """Model versions by name, each ``warming`` without a reference, else the worst of its alerts and readings."""
    m = t.models.c
    statement = (
        sa.select(m.model, m.version, m.events_total, m.first_seen_at, m.last_event_at)
        .add_columns(_open_alerts().label("open_alerts"), _alert_rank().label("alert_rank"))
        .add_columns(_reading_rank().label("reading_rank"))
        .where(where)
        .order_by(m.model, m.version)
        .limit(limit)
    )
    rows = conn.execute(statement).all()
    active = active_references(conn, rows[0].model if len(rows) == 1 else None)
    return [_model(row, serving(active, row.model, row.version)) for row in rows]


def _model(row: sa.Row[Any], reference: Reference | None) -> ModelRow:
    rank = max(row.alert_rank or 0, row.reading_rank or 0)
    return ModelRow(
        model=row.model,
        version=row.version,
        status="warming" if reference is None else _STATUSES[rank],
        events_total=row.events_total,
        first_seen_at=row.first_seen_at,
        last_event_at=row.last_event_at,
        open_alerts=row.open_alerts,
        reference_id=reference and reference.id,
        reference_events=reference and reference.n_events,
        reference_created_at=reference and reference.created_at,
        pane_s=reference and reference.pane_s,
    )


def _open_alerts() -> sa.ScalarSelect[Any]:
    return (
        sa.select(sa.func.count()).select_from(t.alerts).where(_same_model(t.alerts), _unresolved()).scalar_subquery()
    )


def _alert_rank() -> sa.ScalarSelect[Any]:
    rank = sa.case(_SEVERITY_RANK, value=t.alerts.c.severity, else_=0)
    return sa.select(sa.func.max(rank)).where(_same_model(t.alerts), _unresolved()).scalar_subquery()


def _reading_rank() -> sa.ScalarSelect[Any]:
    """Worst level among the readings of the last judged pane."""
    r = t.readings.c
    earlier = t.readings.alias("earlier")
    last = sa.select(sa.func.max(earlier.c.pane_start)).where(_same_model(earlier)).correlate(t.models)
    rank = sa.case(_LEVEL_RANK, value=r.level, else_=0)
    worst = sa.select(sa.func.max(rank)).where(_same_model(t.readings), r.pane_start == last.scalar_subquery())
    return worst.correlate(t.models).scalar_subquery()


def _same_model(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.model == t.models.c.model, table.c.version == t.models.c.version)


def _unresolved() -> sa.ColumnElement[bool]:
    return t.alerts.c.status != "resolved"


def active_references(conn: sa.Connection, model: str | None) -> dict[tuple[str, str], Reference]:
    """By (model, version); of one model or of all."""
    c = t.references.c
    statement = sa.select(c.id, c.model, c.version, c.n_events, c.pane_s, c.created_at).where(c.active)
    if model is not None:
        statement = statement.where(c.model == model)
    rows: list[Reference] = list(conn.execute(statement))
    return {(row.model, row.version): row for row in rows}


def serving(active: Mapping[tuple[str, str], Reference], model: str, version: str) -> Reference | None:
    """A version's own reference, else the one without a version."""
    return active.get((model, version)) or active.get((model, ""))
