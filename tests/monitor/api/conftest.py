"""The API as it is served: mounted at /api in another application, over real HTTP, on a real database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from monitor.api.app import ApiSettings, create_api
from monitor.api.health import health_routes
from monitor.api.server import serve
from monitor.storage import tables as t
from monitor.storage.commands import DatabaseCommands, QueueIntake
from monitor.storage.engine import create_engine, transaction
from monitor.storage.reading import DatabaseQueries
from monitor.telemetry import Metrics

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Site:
    """A served application and what is behind it."""

    client: httpx.Client
    engine: sa.Engine
    api: FastAPI
    metrics: Metrics

    def insert(self, table: sa.Table, *rows: dict[str, Any]) -> None:
        with transaction(self.engine) as conn:
            conn.execute(table.insert(), list(rows))

    def scalar(self, statement: sa.Select[Any]) -> Any:
        with self.engine.connect() as conn:
            return conn.scalar(statement)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/api.sqlite3", "test")
    t.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def open_site(engine: sa.Engine) -> Callable[..., Any]:
    @contextmanager
    def opened(settings: ApiSettings | None = None, queries: Any = None) -> Iterator[Site]:
        metrics = Metrics()
        reads = queries or DatabaseQueries(engine, alarms_per_week=1.0)
        commands = DatabaseCommands(engine, (), QueueIntake(engine, lambda: NOW), lambda: NOW)
        api = create_api(reads, commands, metrics, settings or ApiSettings(), clock=lambda: NOW)
        metrics.observe_overview(reads.overview)
        outer = FastAPI()
        outer.include_router(health_routes(metrics, live={}, ready={"database": reads.overview}))
        outer.mount("/api", api)
        server = serve(outer, "127.0.0.1", 0)
        with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as client:
            yield Site(client, engine, api, metrics)
        server.stop()

    return opened


@pytest.fixture
def site(open_site: Callable[..., Any]) -> Iterator[Site]:
    with open_site() as opened:
        yield opened


@pytest.fixture
def stocked(site: Site) -> Site:
    """A site with two versions of a model, seven alerts and three dead letters."""
    site.insert(t.models, *(_model("1", 1), _model("2", 0)))
    site.insert(
        t.references,
        {"id": "r1", "model": "fraud", "version": "", "active": True, "n_events": 900, "pane_s": 10,
         "summary": {"columns": 3}, "data": b"x", "created_at": NOW},
    )  # fmt: skip
    site.insert(t.alerts, *(_alert(i) for i in range(7)))
    site.insert(
        t.dead_letters,
        *(
            {"source": "http", "topic": "events", "partition": 0, "offset": i, "row": 0, "reason": "undecodable",
             "message": "no JSON", "value": None, "value_bytes": 3, "created_at": NOW}
            for i in range(3)
        ),
    )  # fmt: skip
    return site


def _model(version: str, hours_ago: int) -> dict[str, Any]:
    last = NOW - timedelta(hours=hours_ago)
    return {"model": "fraud", "version": version, "first_seen_at": NOW, "last_event_at": last, "events_total": 5}


def _alert(i: int) -> dict[str, Any]:
    return {
        "id": f"a{i}", "model": "fraud", "version": "1", "kind": "ood" if i % 2 else "drift", "detector": "marginals",
        "subject_type": "feature", "subject_id": f"f{i}", "members": ["a"], "status": "open",
        "severity": "critical" if i == 0 else "warning", "title": f"title {i}", "reason": "it moved",
        "opened_at": NOW - timedelta(minutes=i // 2), "last_seen_at": NOW, "resolved_at": None, "onset_at": None,
        "readings_total": 1, "quiet_panes": 0, "log_evidence": 9.0, "log_threshold": 8.0, "effect": 0.5,
        "effect_unit": "σ", "detail": {"top": [1]}, "acknowledged_by": None, "acknowledged_at": None,
        "created_at": NOW,
    }  # fmt: skip
