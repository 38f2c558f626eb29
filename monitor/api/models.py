"""What is watched, how it stands, and what was read of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field

from monitor.errors import NotFound
from monitor.queries import BudgetRow, ModelRow, OverviewRow, PartitionRow, Queries, ReadingRow, VolumePoint
from monitor.telemetry import product_version

Model = Annotated[str, Query(max_length=256, description="Name of the model.", examples=["credit-risk"])]
Version = Annotated[str, Query(max_length=256, description="Version of the model; empty where none was logged.")]
Since = Annotated[AwareDatetime, Query(description="Event time, included.", examples=["2026-03-02T11:00:00Z"])]
Until = Annotated[AwareDatetime, Query(description="Event time, not included.", examples=["2026-03-02T12:00:00Z"])]


class ModelList(BaseModel):
    models: Sequence[ModelRow]


class EventRange(BaseModel):
    """First and last judged event time."""

    first: AwareDatetime
    last: AwareDatetime


class ModelDetail(BaseModel):
    """One model version with what it is measured against."""

    model: ModelRow
    versions: list[str] = Field(description="Every version seen of this model.")
    reference: dict[str, Any] | None = Field(description="Summary of the active reference.")
    budget: BudgetRow | None
    event_range: EventRange | None


class ReadingList(BaseModel):
    readings: Sequence[ReadingRow]


class Volume(BaseModel):
    points: Sequence[VolumePoint]


class Health(BaseModel):
    """The version that answers, and how far each partition is read."""

    version: str = Field(examples=["0.1.0"])
    partitions: Sequence[PartitionRow]


def model_routes(queries: Queries) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/overview", operation_id="getOverview")
    def overview() -> OverviewRow:
        """Open alerts, volumes and deliveries in numbers."""
        return queries.overview()

    @router.get("/health", operation_id="getHealth")
    def health() -> Health:
        """What runs, and how far behind the logs it is."""
        return Health(version=product_version(), partitions=queries.partitions())

    @router.get("/models", operation_id="listModels")
    def models() -> ModelList:
        """Every model version seen so far, at most 1,000."""
        return ModelList(models=queries.models())

    @router.get("/models/{model:path}", operation_id="getModel")
    def model(model: str, version: Annotated[str | None, Query(max_length=256)] = None) -> ModelDetail:
        """One model; without a version, the one that had the latest event."""
        found = [row for row in queries.models() if row.model == model]
        chosen = queries.model(model, version) if version is not None else _latest(found)
        if chosen is None:
            raise NotFound("no event of such a model version has been read; GET /api/v1/models lists those there are")
        return _detail(queries, chosen, [row.version for row in found])

    @router.get("/readings", operation_id="listReadings")
    def readings(
        model: Model,
        since: Since,
        until: Until,
        version: Version = "",
        limit: Annotated[int, Query(ge=1, le=5_000)] = 1_000,
    ) -> ReadingList:
        """Verdicts on the panes of a time range, oldest first; the latest ones where there are more than the limit."""
        return ReadingList(readings=queries.readings(model, version, since, until, limit))

    @router.get("/volume", operation_id="getVolume")
    def volume(
        model: Model,
        since: Since,
        until: Until,
        version: Version = "",
        points: Annotated[int, Query(ge=2, le=1_000)] = 300,
    ) -> Volume:
        """Events over event time, in at most so many slices."""
        return Volume(points=queries.volume(model, version, since, until, points))

    return router


def _latest(rows: Sequence[ModelRow]) -> ModelRow | None:
    return max(rows, key=lambda row: row.last_event_at or row.first_seen_at, default=None)


def _detail(queries: Queries, row: ModelRow, versions: list[str]) -> ModelDetail:
    summary = queries.reference_summary(row.model, row.version)
    span = queries.event_range(row.model, row.version)
    return ModelDetail(
        model=row,
        versions=versions,
        reference=None if summary is None else dict(summary),
        budget=queries.budget(row.model, row.version),
        event_range=None if span is None else EventRange(first=span[0], last=span[1]),
    )
