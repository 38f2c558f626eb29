"""Events posted over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, Field

from monitor.api.bodies import JSON, NDJSON, RejectedRow, examine, split_body
from monitor.api.commands import Commands
from monitor.telemetry import Metrics

_EVENT = {
    "model": "credit-risk",
    "version": "3",
    "client_id": "branch-12",
    "timestamp": "2026-03-02T12:00:00Z",
    "features": {"age": 41, "income": 52000.0, "region": "north"},
    "prediction": "approve",
    "probabilities": {"approve": 0.91, "decline": 0.09},
}
_BODY: dict[str, Any] = {
    "required": True,
    "description": "One native event, an array of them, or one a line (NDJSON).",
    "content": {
        JSON: {
            "schema": {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]},
            "example": _EVENT,
        },
        NDJSON[0]: {"schema": {"type": "string"}},
    },
}


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """The most that one request may carry; ``max_event_bytes`` is what workers read of one record."""

    max_event_bytes: int
    max_events: int


class Accepted(BaseModel):
    """What became of a posted body."""

    accepted: int = Field(description="Events kept; they will be judged.", examples=[2])
    rejected: list[RejectedRow] = Field(description="Events that were not kept, and why.")


async def _body(request: Request) -> bytes:
    return await request.body()


def event_routes(
    commands: Commands, metrics: Metrics, limits: IngestLimits, clock: Callable[[], datetime]
) -> APIRouter:
    router = APIRouter(tags=["events"])

    @router.post("/events", status_code=202, operation_id="postEvents", openapi_extra={"requestBody": _BODY})
    def post_events(
        body: Annotated[bytes, Depends(_body)],
        content_type: Annotated[str, Header(include_in_schema=False)] = "",
        content_encoding: Annotated[str, Header(include_in_schema=False)] = "identity",
    ) -> Accepted:
        """Keep inference events. A bad event is reported with its row and the good ones are kept all the same."""
        events = split_body(body, content_type, content_encoding, limits.max_events)
        examined = examine(events, clock().timestamp(), limits.max_event_bytes)
        if examined.good:
            commands.ingest(examined.good)
        metrics.ingested_events.labels("accepted").inc(len(examined.good))
        metrics.ingested_events.labels("rejected").inc(len(examined.rejected))
        return Accepted(accepted=len(examined.good), rejected=list(examined.rejected))

    return router
