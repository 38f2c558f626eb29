"""What the budget ledger is made of, as the database tells it: time watched, alerts opened, what people called them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from detectors.base import Kind
from detectors.budget import DEFAULT_SHARES, WEEK_S, shares_of
from monitor.alerting.incident import Verdict
from monitor.ledger import Tally, ledger
from monitor.queries import BudgetRow, LedgerRow
from monitor.storage import tables as t
from monitor.storage.standing import active_references, serving

LONG_WEEKS = 4


def budget_of(conn: sa.Connection, model: str, version: str, alarms_per_week: float) -> BudgetRow | None:
    """The budget and its ledger over the last week, and the last four, of the model's event time.

    An incident counts once, in the period in which it opened; those of the pipeline are no detector's and do not.
    """
    known = conn.execute(
        sa.select(t.models.c.judged_until, t.models.c.last_event_at).where(_of(t.models, model, version))
    ).one_or_none()
    if known is None:
        return None
    until = _end_of_event_time(known.judged_until, known.last_event_at)
    shares = _shares(conn, model, version)

    def over(weeks: int) -> LedgerRow:
        since = until - weeks * WEEK_S
        watched_s = min(_watched_s(conn, model, version, since), weeks * WEEK_S)
        tallies = _tallies(conn, model, version, since)
        return ledger(_instant(since), _instant(until), watched_s, alarms_per_week, shares, tallies)

    return BudgetRow(
        model=model,
        version=version,
        alarms_per_week=alarms_per_week,
        shares=shares,
        last_week=over(1),
        last_4_weeks=over(LONG_WEEKS),
    )


def _shares(conn: sa.Connection, model: str, version: str) -> Mapping[str, float]:
    """How the detectors that the serving reference fitted divide the budget; empty while nothing watches."""
    chosen = serving(active_references(conn, model), model, version)
    if chosen is None:
        return {}
    summary = conn.scalar(sa.select(t.references.c.summary).where(t.references.c.id == chosen.id)) or {}
    fitted: Sequence[Any] = summary.get("detectors") or ()
    return shares_of([name for name in fitted if name in DEFAULT_SHARES])


def _tallies(conn: sa.Connection, model: str, version: str, since: float) -> dict[str, Tally]:
    c = t.alerts.c

    def marked(verdict: Verdict) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((c.verdict == verdict.value, 1), else_=0))

    statement = (
        sa.select(c.detector, sa.func.count(), marked(Verdict.FALSE_ALARM), marked(Verdict.REAL))
        .where(_of(t.alerts, model, version), c.kind != Kind.PIPELINE.value, c.opened_at > _instant(since))
        .group_by(c.detector)
    )
    return {row[0]: Tally(int(row[1]), int(row[2]), int(row[3])) for row in conn.execute(statement)}


def _watched_s(conn: sa.Connection, model: str, version: str, since: float) -> float:
    """Event time judged against a reference, in seconds; gaps are not watched.

    A rolled-up pane counts with its whole width, and a slice that two references judged counts once.
    """
    c = t.panes.c
    judged = sa.and_(_of(t.panes, model, version), c.reference_id != "", c.pane_start >= math.floor(since))
    slices = sa.select(sa.func.max(c.pane_s).label("width_s")).where(judged).group_by(c.pane_start).subquery()
    return float(conn.scalar(sa.select(sa.func.sum(slices.c.width_s))) or 0)


def _end_of_event_time(judged_until: int | None, last_event_at: datetime | None) -> float:
    if judged_until is not None:
        return float(judged_until)
    return last_event_at.timestamp() if last_event_at is not None else LONG_WEEKS * WEEK_S


def _of(table: sa.Table, model: str, version: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.model == model, table.c.version == version)


def _instant(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
