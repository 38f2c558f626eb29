"""Alerts, and what a person may do to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from detectors.base import Kind
from monitor.api.commands import Commands
from monitor.api.paging import Cursor, Limit, NextCursor
from monitor.config import Severity
from monitor.errors import NotFound
from monitor.queries import AlertFilter, AlertRow, DeliveryRow, Queries, TransitionRow

Status = Literal["open", "acknowledged", "resolved"]
AlertId = Annotated[str, Path(max_length=200, description="Id of the alert, as in the list.")]
Text = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")]


class AlertPage(BaseModel):
    """Alerts, newest first."""

    alerts: Sequence[AlertRow]
    next_cursor: NextCursor


class AlertDetail(BaseModel):
    """One alert with its life so far and who was told of it."""

    alert: AlertRow
    transitions: Sequence[TransitionRow]
    deliveries: Sequence[DeliveryRow]
    strange_values: Mapping[str, Mapping[str, Any]]
    """Features of the events in ``alert.detail.strangest`` by event id, while ``worker.strange_value_hours`` lasts."""


class Decision(BaseModel, extra="forbid"):
    """Who decides, and why."""

    by: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$", examples=["ada"])]
    note: Text = Field(default="", examples=["a new upstream version; the owners know"])


class Mark(Decision):
    """What the alert was, who says so, and why."""

    verdict: Annotated[
        Literal["false_alarm", "real"] | None, Field(description="Null takes back what was said before.")
    ]


def alert_routes(queries: Queries, commands: Commands) -> APIRouter:
    router = APIRouter(tags=["alerts"])

    @router.get("/alerts", operation_id="listAlerts")
    def alerts(
        model: Annotated[list[str] | None, Query(max_length=50)] = None,
        kind: Annotated[list[Kind] | None, Query(max_length=50)] = None,
        status: Annotated[list[Status] | None, Query(max_length=50)] = None,
        severity: Annotated[list[Severity] | None, Query(max_length=50)] = None,
        verdict: Annotated[
            list[Literal["false_alarm", "real", "none"]] | None,
            Query(max_length=50, description="What people say it was; none where nobody has said."),
        ] = None,
        search: Annotated[str, Query(max_length=200, description="In model, subject, title and reason.")] = "",
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> AlertPage:
        """Alerts that match every filter given; a filter given more than once matches any of its values."""
        where = AlertFilter(
            model=tuple(model or ()),
            kind=tuple(kind or ()),
            status=tuple(status or ()),
            severity=tuple(severity or ()),
            search=search,
            verdict=tuple(verdict or ()),
        )
        page = queries.alerts(where, limit, cursor)
        return AlertPage(alerts=page.rows, next_cursor=page.next_cursor)

    @router.get("/alerts/{alert_id}", operation_id="getAlert")
    def alert(alert_id: AlertId) -> AlertDetail:
        """One alert with its transitions and deliveries."""
        found = queries.alert(alert_id)
        if found is None:
            raise NotFound("there is no alert of this id; GET /api/v1/alerts lists those there are")
        return AlertDetail(
            alert=found,
            transitions=queries.transitions(alert_id),
            deliveries=queries.deliveries(alert_id),
            strange_values=queries.strange_values(alert_id),
        )

    @router.post("/alerts/{alert_id}/acknowledge", operation_id="acknowledgeAlert")
    def acknowledge(alert_id: AlertId, decision: Decision) -> AlertRow:
        """Take an open alert on; nobody is reminded of it until it escalates or comes back."""
        return commands.acknowledge(alert_id, decision.by, decision.note)

    @router.post("/alerts/{alert_id}/resolve", operation_id="resolveAlert")
    def resolve(alert_id: AlertId, decision: Decision) -> AlertRow:
        """Close an alert by hand."""
        return commands.resolve(alert_id, decision.by, decision.note)

    @router.post("/alerts/{alert_id}/mark", operation_id="markAlert")
    def mark(alert_id: AlertId, mark: Mark) -> AlertRow:
        """Say what an alert was, at any time, also long after it is resolved.

        Marking is for the record and the alarm budget alone: it neither resolves an alert nor tells a destination. An
        alert marked a false alarm and then resolved, by whomever, does not reopen; a further alarm is a new alert.
        """
        return commands.mark(alert_id, mark.verdict, mark.by, mark.note)

    @router.post("/alerts/{alert_id}/dismiss", operation_id="dismissAlert")
    def dismiss(alert_id: AlertId, decision: Decision) -> AlertRow:
        """Call an alert a false alarm and be done with it: it is marked so and, unless it was, resolved.

        Both happen or neither. Destinations hear that it is resolved, as if by hand.
        """
        return commands.dismiss(alert_id, decision.by, decision.note)

    return router
