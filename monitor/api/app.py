"""The API as one application, to be mounted at /api. Nothing in it relies on being the outermost one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer
from pydantic import SecretStr
from pydantic.json_schema import models_json_schema

from monitor.api.alerts import alert_routes
from monitor.api.commands import Commands
from monitor.api.dead_letters import dead_letter_routes
from monitor.api.events import IngestLimits, event_routes
from monitor.api.gate import Gate
from monitor.api.models import model_routes
from monitor.api.problems import MEDIA_TYPE, Fault, Problem, handle_problems
from monitor.queries import Queries
from monitor.telemetry import Metrics, product_version

_SCHEMAS = "#/components/schemas/"
_PROBLEM = {"description": "A problem.", "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Problem"}}}}
_TOKEN = HTTPBearer(
    scheme_name="token", auto_error=False, description="The setting web.token; not asked for while that is unset."
)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the API is told.

    Attributes:
        token: every request must carry it as a bearer token; None lets everybody in.
        max_body_bytes: larger bodies are answered with 413, and so are bodies of more than ``max_events`` events.
        max_event_bytes: what workers read of one record; larger events are rejected.
    """

    token: SecretStr | None = None
    max_body_bytes: int = 8 << 20
    max_event_bytes: int = 1 << 20
    max_events: int = 50_000


class Api(FastAPI):
    """FastAPI whose description also names the problem that every error is."""

    def openapi(self) -> dict[str, Any]:
        description = super().openapi()
        _, found = models_json_schema(
            [(Problem, "serialization"), (Fault, "serialization")], ref_template=_SCHEMAS + "{model}"
        )
        description["components"]["schemas"].update(found["$defs"])
        return description


def utc_now() -> datetime:
    return datetime.now(UTC)


def create_api(
    queries: Queries,
    commands: Commands,
    metrics: Metrics,
    settings: ApiSettings,
    clock: Callable[[], datetime] = utc_now,
) -> FastAPI:
    """Routes under /v1; the application that mounts this at /api gives the addresses their first part."""
    app = Api(
        title="Vedette",
        summary="Runtime monitoring and anomaly detection for AI models.",
        version=product_version(),
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": "/api"}],
        root_path_in_servers=False,
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
    )
    token = None if settings.token is None else settings.token.get_secret_value()
    app.add_middleware(Gate, token=token, max_body_bytes=settings.max_body_bytes, metrics=metrics)
    handle_problems(app)
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(_TOKEN)])
    v1.include_router(
        event_routes(commands, metrics, IngestLimits(settings.max_event_bytes, settings.max_events), clock)
    )
    v1.include_router(model_routes(queries))
    v1.include_router(alert_routes(queries, commands))
    v1.include_router(dead_letter_routes(queries))
    app.include_router(v1)
    return app
