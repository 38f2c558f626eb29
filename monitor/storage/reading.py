"""The read side, answered from the database: every question bounded, every list paged by a key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from monitor.queries import (
    AlertFilter,
    AlertRow,
    BudgetRow,
    DeadLetterRow,
    DeliveryRow,
    ModelRow,
    OverviewRow,
    Page,
    PartitionRow,
    ReadingRow,
    TransitionRow,
    VolumePoint,
)
from monitor.storage import tables as t
from monitor.storage.cursors import (
    Microseconds,
    RowId,
    TextId,
    decode_cursor,
    encode_cursor,
    from_microseconds,
    to_microseconds,
)
from monitor.storage.engine import reading
from monitor.storage.ledger import budget_of
from monitor.storage.standing import active_references, models_where, serving
from monitor.storage.strange_events import values_of

MAX_PAGE = 1_000
MAX_READINGS = 50_000
MAX_POINTS = 5_000
MAX_COUNT = 100_000
"""Totals of long tables are counted up to here, so that the first page costs the same on any table."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class DatabaseQueries:
    """``monitor.queries.Queries`` over SQLite and PostgreSQL; safe to call from many threads.

    Args:
        alarms_per_week: the alarm budget of each model version.
        clock: wall clock, for "in the last minute" only.
    """

    def __init__(self, engine: sa.Engine, alarms_per_week: float, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._alarms_per_week = alarms_per_week
        self._clock = clock

    def overview(self) -> OverviewRow:
        with reading(self._engine) as conn:
            models, events = conn.execute(
                sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(t.models.c.events_total), 0))
            ).one()
            severities = conn.execute(
                sa.select(t.alerts.c.severity, sa.func.count())
                .where(t.alerts.c.status != "resolved")
                .group_by(t.alerts.c.severity)
            ).all()
            return OverviewRow(
                open_alerts={row[0]: row[1] for row in severities},
                models=models,
                events_total=int(events),
                events_last_minute=_events_since(conn, self._clock() - timedelta(minutes=1)),
                dead_letters_total=_count(conn, t.dead_letters, sa.true()),
                deliveries_owed=_count(conn, t.deliveries, t.deliveries.c.status == "owed"),
                deliveries_dead=_count(conn, t.deliveries, t.deliveries.c.status == "dead"),
                last_commit_at=conn.scalar(sa.select(sa.func.max(t.partitions.c.updated_at))),
            )

    def models(self) -> Sequence[ModelRow]:
        """By name and version, at most ``MAX_PAGE``."""
        with reading(self._engine) as conn:
            return models_where(conn, sa.true(), MAX_PAGE)

    def model(self, model: str, version: str) -> ModelRow | None:
        with reading(self._engine) as conn:
            rows = models_where(conn, _of(t.models, model, version), 1)
        return rows[0] if rows else None

    def alerts(self, where: AlertFilter, limit: int = 100, cursor: str | None = None) -> Page[AlertRow]:
        """Newest first."""
        limit = _bounded(limit, MAX_PAGE)
        statement = (
            sa.select(*_alert_columns())
            .where(*_alert_conditions(where))
            .order_by(t.alerts.c.opened_at.desc(), t.alerts.c.id.desc())
            .limit(limit + 1)
        )
        if cursor is not None:
            opened, alert_id = decode_cursor(cursor, tuple[Microseconds, TextId])
            after = sa.tuple_(sa.literal(from_microseconds(opened), t.Instant()), sa.literal(alert_id))
            statement = statement.where(sa.tuple_(t.alerts.c.opened_at, t.alerts.c.id) < after)
        with reading(self._engine) as conn:
            rows = [_alert(row) for row in conn.execute(statement)]
        return Page(rows[:limit], _alert_key(rows[limit - 1]) if len(rows) > limit else None)

    def alert(self, alert_id: str) -> AlertRow | None:
        with reading(self._engine) as conn:
            return alert_of(conn, alert_id)

    def strange_values(self, alert_id: str) -> Mapping[str, Mapping[str, Any]]:
        with reading(self._engine) as conn:
            row = alert_of(conn, alert_id)
            named = [] if row is None or row.kind != "ood" else row.detail.get("strangest", [])
            ids = [str(item["event_id"]) for item in named]
            return values_of(conn, row.model, row.version, ids, self._clock()) if row is not None and ids else {}

    def transitions(self, alert_id: str) -> Sequence[TransitionRow]:
        """In order, the latest ``MAX_PAGE``."""
        columns = _columns(t.alert_transitions, TransitionRow)
        statement = (
            sa.select(*columns)
            .where(t.alert_transitions.c.alert_id == _storable(alert_id))
            .order_by(t.alert_transitions.c.sequence.desc())
            .limit(MAX_PAGE)
        )
        with reading(self._engine) as conn:
            return [TransitionRow(**row._mapping) for row in conn.execute(statement)][::-1]

    def deliveries(self, alert_id: str) -> Sequence[DeliveryRow]:
        """By transition and destination, the latest ``MAX_PAGE``."""
        with reading(self._engine) as conn:
            rows = conn.execute(_deliveries_of(_storable(alert_id))).all()
        return [DeliveryRow(**row._mapping) for row in rows][::-1]

    def readings(
        self, model: str, version: str, since: datetime, until: datetime, limit: int = 5_000
    ) -> Sequence[ReadingRow]:
        """Of panes that start in [since, until), oldest first; the latest ``limit`` of them."""
        c = t.readings.c
        statement = (
            sa.select(*_columns(t.readings, ReadingRow))
            .where(_of(t.readings, model, version), *_starting_in(c.pane_start, since, until))
            .order_by(c.pane_start.desc(), c.id.desc())
            .limit(_bounded(limit, MAX_READINGS))
        )
        with reading(self._engine) as conn:
            rows = [
                ReadingRow(**{**row._mapping, "pane_start": _instant(row.pane_start)})
                for row in conn.execute(statement)
            ]
        return rows[::-1]

    def volume(
        self, model: str, version: str, since: datetime, until: datetime, points: int = 300
    ) -> Sequence[VolumePoint]:
        """Slices are whole numbers of the widest panes and start at multiples of their width, so they stand still.

        Args:
            points: at least 2.
        """
        c = t.panes.c
        inside = sa.and_(_of(t.panes, model, version), *_starting_in(c.pane_start, since, until))
        with reading(self._engine) as conn:
            pane_s = conn.scalar(sa.select(sa.func.max(c.pane_s)).where(inside))
            if pane_s is None:
                return []
            width = _slice_width(since, until, max(_bounded(points, MAX_POINTS), 2), pane_s)
            bucket = (c.pane_start // sa.literal(width, sa.BigInteger)).label("bucket")
            statement = (
                sa.select(bucket, sa.func.sum(c.n_events)).where(inside).group_by(sa.text("bucket")).order_by(bucket)
            )
            rows = conn.execute(statement).all()
        return [VolumePoint(_instant(int(row[0]) * width), int(row[1])) for row in rows]

    def event_range(self, model: str, version: str) -> tuple[datetime, datetime] | None:
        with reading(self._engine) as conn:
            found = _event_range(conn, model, version)
        return None if found is None else (_instant(found[0]), _instant(found[1]))

    def reference_summary(self, model: str, version: str) -> Mapping[str, Any] | None:
        """Of the active reference that serves the version."""
        with reading(self._engine) as conn:
            chosen = serving(active_references(conn, _storable(model)), _storable(model), _storable(version))
            if chosen is None:
                return None
            summary = conn.scalar(sa.select(t.references.c.summary).where(t.references.c.id == chosen.id))
        return summary or {}

    def budget(self, model: str, version: str) -> BudgetRow | None:
        with reading(self._engine) as conn:
            return budget_of(conn, _storable(model), _storable(version), self._alarms_per_week)

    def partitions(self) -> Sequence[PartitionRow]:
        """By source, topic and number, at most ``MAX_PAGE``."""
        c = t.partitions.c
        names = [field.name for field in fields(PartitionRow) if field.name != "lag"]
        statement = sa.select(*(c[name] for name in names)).order_by(c.source, c.topic, c.partition).limit(MAX_PAGE)
        with reading(self._engine) as conn:
            return [
                PartitionRow(**row._mapping, lag=_lag(row.next_offset, row.high_offset))
                for row in conn.execute(statement)
            ]

    def dead_letters(self, limit: int = 100, cursor: str | None = None) -> Page[DeadLetterRow]:
        """Newest first."""
        limit = _bounded(limit, MAX_PAGE)
        c = t.dead_letters.c
        statement = sa.select(*_columns(t.dead_letters, DeadLetterRow)).order_by(c.id.desc()).limit(limit + 1)
        if cursor is not None:
            (last_id,) = decode_cursor(cursor, tuple[RowId])
            statement = statement.where(c.id < last_id)
        with reading(self._engine) as conn:
            rows = [DeadLetterRow(**row._mapping) for row in conn.execute(statement)]
        return Page(rows[:limit], encode_cursor((rows[limit - 1].id,)) if len(rows) > limit else None)


def alert_of(conn: sa.Connection, alert_id: str) -> AlertRow | None:
    """The alert of this id, as the caller's transaction sees it."""
    row = conn.execute(sa.select(*_alert_columns()).where(t.alerts.c.id == _storable(alert_id))).one_or_none()
    return None if row is None else _alert(row)


def _storable(text: str) -> str:
    """Text as a database can hold it; what it cannot hold matches nothing."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")


def _bounded(wanted: int, most: int) -> int:
    return max(1, min(wanted, most))


def _instant(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def _of(table: sa.Table, model: str, version: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.model == _storable(model), table.c.version == _storable(version))


def _starting_in(column: sa.ColumnElement[int], since: datetime, until: datetime) -> list[sa.ColumnElement[bool]]:
    return [column >= math.ceil(since.timestamp()), column < math.ceil(until.timestamp())]


def _columns(table: sa.Table, row_type: type[Any]) -> list[sa.Column[Any]]:
    return [table.c[field.name] for field in fields(row_type)]


def _count(conn: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
    some = sa.select(table.c.id).where(where).limit(MAX_COUNT).subquery()
    return conn.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def _events_since(conn: sa.Connection, since: datetime) -> int:
    """Events whose event time is later than ``since``, judged or waiting to be."""
    start = math.floor(since.timestamp())
    m, p, d = t.models.c, t.panes.c, t.deltas.c
    of_model = sa.select(sa.func.sum(p.n_events)).where(
        p.model == m.model, p.version == m.version, p.pane_start >= start
    )
    judged = sa.select(sa.func.sum(of_model.scalar_subquery())).select_from(t.models)
    waiting = sa.select(sa.func.sum(d.n_events)).where(d.pane_start >= start)
    return int(conn.scalar(judged) or 0) + int(conn.scalar(waiting) or 0)


def _alert_key(row: AlertRow) -> str:
    return encode_cursor((to_microseconds(row.opened_at), row.id))


def _alert_columns() -> list[sa.Column[Any]]:
    return _columns(t.alerts, AlertRow)


def _alert(row: sa.Row[Any]) -> AlertRow:
    return AlertRow(**{**row._mapping, "members": tuple(row.members or ()), "detail": row.detail or {}})


def _alert_conditions(where: AlertFilter) -> list[sa.ColumnElement[bool]]:
    c = t.alerts.c
    chosen = ((c.model, where.model), (c.kind, where.kind), (c.status, where.status), (c.severity, where.severity))
    conditions: list[sa.ColumnElement[bool]] = [
        column.in_([_storable(value) for value in values]) for column, values in chosen if values
    ]
    if where.verdict:
        conditions.append(sa.func.coalesce(c.verdict, "none").in_([_storable(value) for value in where.verdict]))
    if where.search:
        text = _storable(where.search)
        searched = (c.model, c.subject_id, c.title, c.reason)
        conditions.append(sa.or_(*(column.icontains(text, autoescape=True) for column in searched)))
    return conditions


def _deliveries_of(alert_id: str) -> sa.Select[Any]:
    d, a, s = t.deliveries.c, t.delivery_attempts.c, t.alert_transitions.c
    other = t.delivery_attempts.alias("other")
    last = sa.select(sa.func.max(other.c.attempt)).where(other.c.delivery_id == d.id).correlate(t.deliveries)
    attempted = sa.and_(a.delivery_id == d.id, a.attempt == last.scalar_subquery())
    return (
        sa.select(d.id, d.alert_id, s.transition, d.destination, d.status, d.attempts, d.delivered_at)
        .add_columns(sa.case((d.status == "owed", d.next_attempt_at)).label("next_attempt_at"))
        .add_columns(a.outcome.label("last_outcome"), a.status_code.label("last_status_code"))
        .add_columns(a.answer.label("last_answer"))
        .select_from(
            t.deliveries.join(t.alert_transitions, s.id == d.transition_id).outerjoin(t.delivery_attempts, attempted)
        )
        .where(d.alert_id == alert_id)
        .order_by(d.sequence.desc(), d.destination.desc())
        .limit(MAX_PAGE)
    )


def _slice_width(since: datetime, until: datetime, points: int, pane_s: int) -> int:
    """Seconds, a whole number of panes; one slice is kept back because slices rarely start at ``since``."""
    span = math.ceil(until.timestamp()) - math.ceil(since.timestamp())
    return max(math.ceil(span / max(points - 1, 1) / pane_s), 1) * pane_s


def _event_range(conn: sa.Connection, model: str, version: str) -> tuple[int, int] | None:
    c = t.panes.c
    ends = sa.select(c.pane_start, c.pane_s).where(_of(t.panes, model, version)).limit(1)
    first = conn.execute(ends.order_by(c.pane_start)).one_or_none()
    last = conn.execute(ends.order_by(c.pane_start.desc())).one_or_none()
    if first is None or last is None:
        return None
    return first.pane_start, last.pane_start + last.pane_s


def _lag(next_offset: int, high_offset: int | None) -> int | None:
    return None if high_offset is None or next_offset < 0 else max(high_offset - next_offset, 0)
