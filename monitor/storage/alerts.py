"""Alerts: incidents and their transitions. Every id is derived, so writing the same change again writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import sqlalchemy as sa

from detectors.base import Level, Reading
from monitor.alerting import book
from monitor.alerting.book import BookPolicy, Decision, Outcome
from monitor.alerting.incident import Change, Identity, Incident, PaneRef, Status, Transition, Verdict
from monitor.alerting.routing import Route
from monitor.alerting.storable import storable_text
from monitor.errors import NotFound
from monitor.storage.deliveries import owe
from monitor.storage.incident_rows import incident_of, row_of
from monitor.storage.tables import alert_transitions, alerts
from monitor.storage.upsert import insert

_WRITTEN = frozenset(
    {
        Decision.OPENED,
        Decision.REOPENED,
        Decision.ESCALATED,
        Decision.COUNTED,
        Decision.QUIETING,
        Decision.RESOLVED,
        Decision.UNSETTLED,
    }
)


def record(
    conn: sa.Connection,
    *,
    pane: PaneRef,
    readings: Sequence[Reading],
    policy: BookPolicy,
    destinations: Sequence[Route],
    now: datetime,
) -> Sequence[Change]:
    """Apply one pane's readings to the book: incidents, transitions and owed deliveries, in the caller's transaction.

    Returns:
        What changed. With no alarm and no open incident this costs one indexed look-up.
    """
    leading = book.leading_readings(readings)
    latest = {incident.identity: incident for incident in _open_incidents(conn, pane.model, pane.version)}
    if any(reading.level is Level.ALARM and identity not in latest for identity, reading in leading.items()):
        earliest = pane.end - timedelta(seconds=policy.longest_reopen_s)
        recent = load_incidents(conn, pane.model, pane.version, earliest)
        latest = {incident.identity: incident for incident in sorted(recent, key=_standing)}
    outcomes = list(_outcomes(latest, leading, pane, policy, now))
    changes = save_outcomes(conn, outcomes, now)
    owe(conn, changes, destinations, now)
    return changes


def record_alone(
    conn: sa.Connection,
    *,
    pane: PaneRef,
    readings: Sequence[Reading],
    policy: BookPolicy,
    destinations: Sequence[Route],
    now: datetime,
) -> Sequence[Change]:
    """As ``record``, for a pane that says nothing of what it has no reading for, since it holds no events."""
    leading = book.leading_readings(readings)
    earliest = pane.end - timedelta(seconds=policy.longest_reopen_s)
    known = load_incidents(conn, pane.model, pane.version, earliest)
    latest = {i.identity: i for i in sorted(known, key=_standing) if i.identity in leading}
    changes = save_outcomes(conn, list(_outcomes(latest, leading, pane, policy, now)), now)
    owe(conn, changes, destinations, now)
    return changes


def acknowledge_alert(
    conn: sa.Connection, alert_id: str, by: str, note: str, routes: Sequence[Route], now: datetime
) -> Change:
    """A person takes the alert on.

    Raises:
        NotFound: no alert has this id.
        Conflict: it is resolved, or acknowledged already.
    """
    return _save_change(conn, book.acknowledge(_known(conn, alert_id), by, note, now), routes, now)


def resolve_alert(
    conn: sa.Connection, alert_id: str, by: str, note: str, routes: Sequence[Route], now: datetime
) -> Change:
    """A person closes the alert.

    Raises:
        NotFound: no alert has this id.
        Conflict: it is resolved already.
    """
    return _save_change(conn, book.resolve(_known(conn, alert_id), by, note), routes, now)


def mark_alert(
    conn: sa.Connection,
    alert_id: str,
    verdict: Verdict | None,
    by: str,
    note: str,
    routes: Sequence[Route],
    now: datetime,
) -> Change:
    """A person says what the alert was; None takes it back.

    Raises:
        NotFound: no alert has this id.
        Conflict: that is what it is marked already.
    """
    return _save_change(conn, book.mark(_known(conn, alert_id), verdict, by, note, now), routes, now)


def dismiss_alert(
    conn: sa.Connection, alert_id: str, by: str, note: str, routes: Sequence[Route], now: datetime
) -> Change:
    """A person calls the alert a false alarm and is done with it: marked, and resolved where it was not.

    Raises:
        NotFound: no alert has this id.
        Conflict: it is resolved and marked a false alarm already.
    """
    known = _known(conn, alert_id)
    if known.verdict is Verdict.FALSE_ALARM and known.status is not Status.RESOLVED:
        return _save_change(conn, book.resolve(known, by, note), routes, now)
    marked = _save_change(conn, book.mark(known, Verdict.FALSE_ALARM, by, note, now), routes, now)
    if known.status is Status.RESOLVED:
        return marked
    return _save_change(conn, book.resolve(marked.incident, by, ""), routes, now)


def load_incidents(conn: sa.Connection, model: str, version: str, resolved_after: datetime) -> Sequence[Incident]:
    """Incidents of a model version that are open, or were resolved at or after that event time; locked, by id."""
    recent = sa.and_(alerts.c.status == Status.RESOLVED.value, alerts.c.resolved_at >= resolved_after)
    return [*_open_incidents(conn, model, version), *_select(conn, _of(model, version), recent)]


def incident(conn: sa.Connection, alert_id: str) -> Incident | None:
    """The incident of that id, locked until the transaction ends."""
    return next(iter(_select(conn, alerts.c.id == alert_id)), None)


def save_outcomes(conn: sa.Connection, outcomes: Iterable[Outcome], now: datetime) -> Sequence[Change]:
    """Write what the outcomes changed; returns the changes that were not stored yet."""
    written = [outcome for outcome in outcomes if outcome.decision in _WRITTEN]
    opened = [o.incident for o in written if o.incident and o.decision is Decision.OPENED]
    changed = [o.incident for o in written if o.incident and o.decision is not Decision.OPENED]
    if opened:
        conn.execute(insert(conn, alerts).on_conflict_do_nothing(), [row_of(item) for item in opened])
    _update(conn, changed)
    changes = [Change(o.incident, step) for o in written if o.incident for step in o.transitions]
    return [change for change in changes if _save_transition(conn, change.transition, now)]


def _outcomes(
    latest: dict[Identity, Incident], leading: dict[Identity, Reading], pane: PaneRef, policy: BookPolicy, now: datetime
) -> Iterable[Outcome]:
    for identity, reading in leading.items():
        yield book.apply(latest.get(identity), reading, pane, policy, now)
    for identity, known in latest.items():
        if identity not in leading:
            yield book.absent(known, pane, policy)


def _standing(known: Incident) -> tuple[bool, datetime]:
    """Sorts the incident that speaks for its identity last: the open one, else the one resolved last."""
    return known.status is not Status.RESOLVED, known.resolved_at or known.last_seen_at


def _save_change(conn: sa.Connection, change: Change, routes: Sequence[Route], now: datetime) -> Change:
    _update(conn, [change.incident])
    _save_transition(conn, change.transition, now)
    owe(conn, [change], routes, now)
    return change


def _known(conn: sa.Connection, alert_id: str) -> Incident:
    found = incident(conn, alert_id) if storable_text(alert_id) == alert_id else None
    if found is None:
        raise NotFound(f"there is no alert {alert_id[:64]!r}; list the alerts to find its id")
    return found


def _open_incidents(conn: sa.Connection, model: str, version: str) -> Sequence[Incident]:
    return _select(conn, _of(model, version), alerts.c.status != sa.literal_column("'resolved'"))


def _of(model: str, version: str) -> sa.ColumnElement[bool]:
    return sa.and_(alerts.c.model == model, alerts.c.version == version)


def _select(conn: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Incident]:
    """Locks first and counts transitions in a second statement, which sees what the lock had to wait for."""
    rows = conn.execute(sa.select(alerts).where(*where).order_by(alerts.c.id).with_for_update()).all()
    if not rows:
        return []
    steps = alert_transitions.c
    counts = conn.execute(
        sa.select(steps.alert_id, sa.func.max(steps.sequence).label("total"))
        .where(steps.alert_id.in_([row.id for row in rows]))
        .group_by(steps.alert_id)
    )
    totals = {row.alert_id: row.total for row in counts}
    return [incident_of(row, totals.get(row.id, 0)) for row in rows]


def _update(conn: sa.Connection, items: Sequence[Incident]) -> None:
    if not items:
        return
    columns = [column.name for column in alerts.columns if column.name != "id"]
    statement = (
        sa.update(alerts)
        .where(alerts.c.id == sa.bindparam("b_id"))
        .values({name: sa.bindparam(f"b_{name}") for name in columns})
    )
    conn.execute(statement, [{f"b_{name}": value for name, value in row_of(item).items()} for item in items])


def _save_transition(conn: sa.Connection, step: Transition, now: datetime) -> bool:
    values = {**asdict(step), "id": step.id, "created_at": now}
    values["transition"] = step.transition.value
    values["severity"] = step.severity.value
    statement = insert(conn, alert_transitions).values(values).on_conflict_do_nothing()
    return conn.execute(statement.returning(alert_transitions.c.id)).one_or_none() is not None
