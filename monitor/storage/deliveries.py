"""Deliveries: the outbox. Rows are owed in the transaction that changes the alert, and claimed by lease.

A claim takes a row for ``lease_s``; whoever dies while sending lets the lease run out and the row is sent again, under
the same id. Rows of one alert to one destination go out in order: a later one waits until the earlier one is
delivered or given up.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from monitor.alerting.incident import Change, Transition, TransitionKind
from monitor.alerting.routing import Route, Routing, route
from monitor.alerting.storable import derived_id, storable_text
from monitor.config import Severity
from monitor.delivery.base import LONGEST_ANSWER, DeliveryOutcome, Receipt
from monitor.delivery.schedule import wait_s
from monitor.storage.incident_rows import incident_of
from monitor.storage.tables import alert_transitions, alerts, deliveries, delivery_attempts
from monitor.storage.upsert import insert

LEASE_S = 60.0
"""Longer than any send may take."""

_TOLD_NOTHING: frozenset[str] = frozenset()


class Status(StrEnum):
    OWED = "owed"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class OwedDelivery:
    """A claimed row. ``change`` holds the alert as it is now and the transition as it was then."""

    id: str
    destination: str
    attempt: int
    change: Change


def owe(conn: sa.Connection, changes: Sequence[Change], routes: Sequence[Route], now: datetime) -> int:
    """Owe each change to every destination that wants it; returns how many rows are new."""
    if not changes or not routes:
        return 0
    told = _told(conn, [change.incident.id for change in changes])
    rows = [
        _owed_row(change, to.destination, now)
        for change in changes
        for to in routes
        if route(change, to, to.destination in told.get(change.incident.id, _TOLD_NOTHING)) is Routing.OWED
    ]
    return sum(_insert_new(conn, row) for row in rows)


def due_destinations(conn: sa.Connection, now: datetime) -> Sequence[str]:
    """Names of destinations that have a row to claim; reads only."""
    c = deliveries.c
    return conn.scalars(sa.select(c.destination).where(*_claimable(now)).distinct().order_by(c.destination)).all()


def claim(conn: sa.Connection, now: datetime, limit: int, lease_s: float, destination: str) -> Sequence[OwedDelivery]:
    """Lease up to ``limit`` rows of ``destination`` that are due, oldest first; each counts as one more attempt."""
    c = deliveries.c
    earlier = deliveries.alias("earlier")
    waits = sa.exists().where(
        earlier.c.destination == c.destination,
        earlier.c.alert_id == c.alert_id,
        earlier.c.status == Status.OWED.value,
        earlier.c.sequence < c.sequence,
    )
    due = (
        sa.select(c.id)
        .where(c.destination == destination, *_claimable(now), ~waits)
        .order_by(c.next_attempt_at, c.created_at, c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=deliveries)
    )
    ids = conn.scalars(due).all()
    if not ids:
        return ()
    lease = {"locked_until": now + timedelta(seconds=lease_s), "attempts": c.attempts + 1}
    conn.execute(sa.update(deliveries).where(c.id.in_(ids)).values(lease))
    rows = {row.delivery_id: row for row in conn.execute(_with_change().where(c.id.in_(ids)))}
    return [_owed_delivery(rows[delivery_id]) for delivery_id in ids]


def finish(
    conn: sa.Connection,
    owed: OwedDelivery,
    receipt: Receipt,
    *,
    started_at: datetime,
    duration_ms: float,
    now: datetime,
    chance: random.Random,
) -> Status:
    """Store the attempt and what becomes of the row.

    A lease that has run out and was claimed anew belongs to the other sender; only a delivery counts whoever made it.
    """
    _insert_attempt(conn, owed, receipt, started_at, duration_ms)
    c = deliveries.c
    mine = sa.and_(c.id == owed.id, c.status == Status.OWED.value)
    if receipt.outcome is DeliveryOutcome.DELIVERED:
        return _settle(conn, mine, status=Status.DELIVERED, delivered_at=now)
    mine = sa.and_(mine, c.attempts == owed.attempt)
    wait = wait_s(owed.attempt, receipt.retry_after_s, chance)
    if receipt.outcome is DeliveryOutcome.PERMANENT or wait is None:
        return _settle(conn, mine, status=Status.DEAD)
    return _settle(conn, mine, status=Status.OWED, next_attempt_at=now + timedelta(seconds=wait))


def _claimable(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    c = deliveries.c
    free = sa.or_(c.locked_until.is_(None), c.locked_until <= now)
    return c.status == Status.OWED.value, c.next_attempt_at <= now, free


def _told(conn: sa.Connection, alert_ids: Sequence[str]) -> dict[str, set[str]]:
    c = deliveries.c
    told: dict[str, set[str]] = {}
    for alert_id, destination in conn.execute(
        sa.select(c.alert_id, c.destination).where(c.alert_id.in_(alert_ids)).distinct()
    ):
        told.setdefault(alert_id, set()).add(destination)
    return told


def _owed_row(change: Change, destination: str, now: datetime) -> dict[str, Any]:
    return {
        "id": derived_id("delivery", change.transition.id, destination),
        "transition_id": change.transition.id,
        "alert_id": change.incident.id,
        "sequence": change.transition.sequence,
        "destination": destination,
        "status": Status.OWED.value,
        "attempts": 0,
        "next_attempt_at": now,
        "created_at": now,
    }


def _insert_new(conn: sa.Connection, row: dict[str, Any]) -> int:
    statement = insert(conn, deliveries).values(row).on_conflict_do_nothing().returning(deliveries.c.id)
    return len(conn.execute(statement).all())


def _insert_attempt(
    conn: sa.Connection, owed: OwedDelivery, receipt: Receipt, started_at: datetime, duration_ms: float
) -> None:
    values = {
        "delivery_id": owed.id,
        "attempt": owed.attempt,
        "started_at": started_at,
        "duration_ms": duration_ms,
        "outcome": receipt.outcome.value,
        "status_code": receipt.status_code,
        "answer": storable_text(receipt.answer, LONGEST_ANSWER),
    }
    conn.execute(insert(conn, delivery_attempts).values(values).on_conflict_do_nothing())


def _settle(conn: sa.Connection, mine: sa.ColumnElement[bool], *, status: Status, **values: datetime) -> Status:
    conn.execute(sa.update(deliveries).where(mine).values(status=status.value, locked_until=None, **values))
    return status


def _with_change() -> sa.Select[Any]:
    d, s = deliveries.c, alert_transitions.c
    return (
        sa.select(
            d.id.label("delivery_id"),
            d.destination,
            d.attempts,
            s.sequence,
            s.transition,
            s.severity.label("severity_then"),
            s.event_time,
            s.actor,
            s.note,
            s.detail.label("detail_then"),
            alerts,
        )
        .join(alert_transitions, s.id == d.transition_id)
        .join(alerts, alerts.c.id == d.alert_id)
    )


def _owed_delivery(row: sa.Row[Any]) -> OwedDelivery:
    transition = Transition(
        alert_id=row.id,
        sequence=row.sequence,
        transition=TransitionKind(row.transition),
        severity=Severity(row.severity_then),
        event_time=row.event_time,
        actor=row.actor,
        note=row.note,
        detail=row.detail_then,
    )
    return OwedDelivery(
        row.delivery_id, row.destination, row.attempts, Change(incident_of(row, row.sequence), transition)
    )
