"""Strange events: the few inputs that an out-of-distribution alert names, until nobody needs them.

Workers write the strangest of every pane in the transaction that moves the offset. A judge lets go of them when the
pane it judges is quiet, and keeps those that an alarm names. Of an event's own values nothing is here unless the
settings ask for it, and then with an hour at which they are erased; from then on nobody is shown them either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from monitor.alerting.storable import storable_id, storable_number, storable_text
from monitor.storage.tables import strange_events

MOST_OF_A_PANE = 20
_ERASED_PER_CALL = 5_000


@dataclass(frozen=True, slots=True)
class NamedEvent:
    """One strange event.

    Attributes:
        pane_start, event_time: epoch seconds of event time.
        facts: JSON-ready: why it is strange, distances of columns, inputs that are missing.
        values: its own values, JSON-ready; None where they are not kept.
    """

    model: str
    version: str
    pane_start: int
    event_time: float
    event_id: str
    client_id: str
    score: float
    p_value: float
    facts: Mapping[str, Any]
    values: Mapping[str, Any] | None = None
    values_until: datetime | None = None


def name_events(conn: sa.Connection, events: Sequence[NamedEvent], now: datetime) -> None:
    """Write events that a judge may name."""
    rows = [
        {
            "model": storable_id(event.model),
            "version": storable_id(event.version),
            "pane_start": int(event.pane_start),
            "event_time": float(event.event_time),
            "event_id": storable_id(event.event_id),
            "client_id": storable_id(event.client_id),
            "score": storable_number(event.score),
            "p_value": storable_number(event.p_value),
            "facts": dict(event.facts),
            "event_values": None if event.values is None else dict(event.values),
            "values_until": event.values_until,
            "named": False,
            "created_at": now,
        }
        for event in events
    ]
    if rows:
        conn.execute(sa.insert(strange_events), rows)


def strangest(
    conn: sa.Connection, model: str, version: str, first_pane: int, last_pane: int, limit: int
) -> list[dict[str, Any]]:
    """The strangest events of these panes, JSON-ready and without their values; they are kept from now on."""
    c = strange_events.c
    found = conn.execute(
        sa.select(c.id, c.event_id, c.client_id, c.event_time, c.score, c.p_value, c.facts)
        .where(_of(model, version), c.pane_start >= first_pane, c.pane_start <= last_pane)
        .order_by(c.score.desc(), c.event_time, c.event_id, c.id)
        .limit(limit)
    ).all()
    if found:
        named = [row.id for row in found]
        conn.execute(sa.update(strange_events).where(c.id.in_(named)).values(named=True))
    return [
        {
            "event_id": row.event_id,
            "client_id": row.client_id,
            "event_time": row.event_time,
            "score": row.score,
            "p_value": row.p_value,
            **row.facts,
        }
        for row in found
    ]


def let_go(conn: sa.Connection, model: str, version: str, last_pane: int, rising_since: int | None) -> None:
    """Forget events up to a judged pane that no alarm named.

    Args:
        rising_since: pane at which the evidence began to rise: what came since may yet be named, the strangest of each
            pane; None while all is quiet.
    """
    c = strange_events.c
    unnamed = sa.and_(_of(model, version), c.named.is_(sa.false()))
    before = last_pane + 1 if rising_since is None else rising_since
    conn.execute(sa.delete(strange_events).where(unnamed, c.pane_start < before))
    if rising_since is not None:
        of_pane = sa.and_(unnamed, c.pane_start == last_pane)
        kept = sa.select(c.id).where(of_pane).order_by(c.score.desc(), c.id).limit(MOST_OF_A_PANE)
        ids = [row.id for row in conn.execute(kept)]
        conn.execute(sa.delete(strange_events).where(of_pane, c.id.not_in(ids)))


def prune_strange_events(conn: sa.Connection, model: str, version: str, before: int) -> int:
    """Forget the events of panes before an epoch second; at most 5,000 a call."""
    c = strange_events.c
    old = sa.select(c.id).where(_of(model, version), c.pane_start < before).limit(_ERASED_PER_CALL)
    return conn.execute(sa.delete(strange_events).where(c.id.in_(old))).rowcount


def erase_values(conn: sa.Connection, now: datetime) -> int:
    """Erase the values whose hour has come; the events stay. At most 5,000 a call."""
    c = strange_events.c
    due = sa.select(c.id).where(c.values_until <= now).limit(_ERASED_PER_CALL)
    return conn.execute(
        sa.update(strange_events).where(c.id.in_(due)).values(event_values=sa.null(), values_until=None)
    ).rowcount


def values_of(
    conn: sa.Connection, model: str, version: str, event_ids: Sequence[str], now: datetime
) -> dict[str, Mapping[str, Any]]:
    """Event id → its own values, for those that are kept and whose hour has not come."""
    c = strange_events.c
    statement = sa.select(c.event_id, c.event_values).where(
        _of(model, version), c.event_id.in_(list(event_ids)), c.values_until > now, c.named.is_(sa.true())
    )
    return {row.event_id: row.event_values for row in conn.execute(statement) if row.event_values is not None}


def _of(model: str, version: str) -> sa.ColumnElement[bool]:
    c = strange_events.c
    return sa.and_(c.model == storable_text(model), c.version == storable_text(version))
