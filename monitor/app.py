"""Composition root: the only module that names the concrete parts together."""

from __future__ import annotations

import os
import random
import socket
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
import structlog
from fastapi import FastAPI

from dashboard import DashboardSettings, create_app
from monitor.alerting.book import BookPolicy
from monitor.alerting.routing import routes_of
from monitor.api import ApiSettings, create_api
from monitor.api.commands import EventIntake
from monitor.api.health import Probe, health_routes
from monitor.api.server import RunningServer, serve
from monitor.config import Settings
from monitor.delivery.destinations import build_destinations
from monitor.delivery.loop import DeliveryLoop
from monitor.formats.native import NativeDecoder
from monitor.judge import Judge
from monitor.own_scores import load_own_scores
from monitor.running import Loop, LoopSpec
from monitor.secret import deployment_secret
from monitor.silence import Recording, SilenceJudge
from monitor.sources.base import Source
from monitor.sources.http import QueueSource
from monitor.sources.kafka import KafkaSource
from monitor.sources.kafka_intake import KafkaIntake
from monitor.storage.commands import DatabaseCommands, QueueIntake
from monitor.storage.engine import create_engine, reading
from monitor.storage.housekeeping import Housekeeper
from monitor.storage.reading import DatabaseQueries
from monitor.storage.schema import check_schema
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics
from monitor.worker import StartAt, Worker

LOOPS = ("worker", "judge", "deliver")

log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class WorkerTurn:
    """Loop 1 as the runner sees it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def turn(self) -> bool:
        return self._worker.step().records > 0

    def close(self) -> None:
        self._worker.close()


class JudgeTurn:
    """Loop 2, and the housekeeping that goes with it."""

    def __init__(self, judge: Judge, housekeeper: Housekeeper) -> None:
        self._judge = judge
        self._housekeeper = housekeeper

    def turn(self) -> bool:
        report = self._judge.step()
        for change in report.changes:
            incident = change.incident
            log.info(f"alert {change.transition.transition.value}", alert_id=incident.id, title=incident.title)
        self._housekeeper.step(utc_now())
        return False

    def close(self) -> None:
        return None


class DeliverTurn:
    """Loop 3 as the runner sees it."""

    def __init__(self, loop: DeliveryLoop) -> None:
        self._loop = loop

    def turn(self) -> bool:
        return self._loop.step(utc_now()) > 0

    def close(self) -> None:
        self._loop.close()


class Vedette:
    """Everything one process may run, built from settings on first use."""

    def __init__(self, settings: Settings, role: str) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.engine: sa.Engine = create_engine(settings.database.url, role)
        self.routes = routes_of(settings.destinations)

    def loop_specs(self, names: Sequence[str]) -> list[LoopSpec]:
        """The named loops (of ``LOOPS``), ready to be run."""
        specs = {
            "worker": LoopSpec("worker", self._worker_turn, rest_s=0.05),
            "judge": LoopSpec("judge", self._judge_turn, rest_s=self.settings.judge.interval_s),
            "deliver": LoopSpec("deliver", self._deliver_turn, rest_s=0.5),
        }
        return [specs[name] for name in names]

    def queries(self) -> DatabaseQueries:
        return DatabaseQueries(self.engine, self.settings.alarms_per_week)

    def commands(self) -> DatabaseCommands:
        return DatabaseCommands(self.engine, self.routes, self.intake(), utc_now)

    def web(self, live: Mapping[str, Probe]) -> FastAPI:
        """Dashboard, API, health and metrics as one application; ``live`` is what ``/livez`` asks."""
        queries, commands, web = self.queries(), self.commands(), self.settings.web
        api = create_api(queries, commands, self.metrics, self._api_settings())
        self.metrics.observe_overview(queries.overview)
        health = health_routes(self.metrics, live=live, ready={"database": self._database_answers})
        return create_app(queries, commands, api, DashboardSettings(token=web.token), routes=health)

    def serve_web(self, live: Mapping[str, Probe]) -> RunningServer:
        """Start the web server.

        Raises:
            SettingsError: the address is open to others without a token.
            PermanentError: it is taken.
        """
        web = self.settings.web
        web.refuse_strangers()
        return serve(self.web(live), web.host, web.port)

    def close(self) -> None:
        self.engine.dispose()

    def worker(self, source: Source) -> Worker:
        """Loop 1 over ``source``."""
        return Worker(
            source=source,
            decoder=NativeDecoder(self.settings.worker.max_record_bytes),
            engine=self.engine,
            suites=self._suites(),
            settings=self.settings.worker,
            owner=f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
            metrics=self.metrics,
            clock=utc_now,
            routes=self.routes,
            start_at=StartAt(self.settings.kafka.start) if self.settings.kafka else StartAt.EARLIEST,
            own=load_own_scores({score.name: score.function for score in self.settings.scores}),
        )

    def judge(self) -> Judge:
        """Loop 2."""
        suites, policy = self._suites(), BookPolicy()
        silence = SilenceJudge(
            engine=self.engine,
            suites=suites,
            settings=self.settings.judge,
            recording=Recording(policy, self.routes),
            clock=utc_now,
        )
        return Judge(
            engine=self.engine,
            suites=suites,
            settings=self.settings.judge,
            policy=policy,
            routes=self.routes,
            metrics=self.metrics,
            clock=utc_now,
            silence=silence,
        )

    def delivery(self) -> DeliveryLoop:
        """Loop 3."""
        return DeliveryLoop(
            self.engine,
            build_destinations(self.settings.destinations, self._public_url()),
            chance=random.SystemRandom(),
            metrics=self.metrics,
        )

    def _worker_turn(self) -> Loop:
        check_schema(self.engine)
        return WorkerTurn(self.worker(self._source()))

    def _judge_turn(self) -> Loop:
        check_schema(self.engine)
        return JudgeTurn(self.judge(), Housekeeper(self.engine, self.settings.judge))

    def _deliver_turn(self) -> Loop:
        check_schema(self.engine)
        return DeliverTurn(self.delivery())

    def _api_settings(self) -> ApiSettings:
        return ApiSettings(
            token=self.settings.web.token,
            max_body_bytes=self.settings.web.max_body_bytes,
            max_event_bytes=self.settings.worker.max_record_bytes,
        )

    def _suites(self) -> SuiteBook:
        settings, secret = self.settings, deployment_secret(self.settings, create=True)
        return SuiteBook(
            self.engine,
            settings.alarms_per_week,
            settings.tolerance,
            exposure_limit=settings.exposure_limit,
            secret=secret,
        )

    def _source(self) -> Source:
        kafka = self.settings.kafka
        if kafka is None:
            return QueueSource(self.engine, utc_now)
        return KafkaSource(kafka, self.settings.worker.max_record_bytes)

    def intake(self) -> EventIntake:
        """Where events go that come over HTTP."""
        return QueueIntake(self.engine, utc_now) if self.settings.kafka is None else KafkaIntake(self.settings.kafka)

    def _public_url(self) -> str:
        web = self.settings.web
        return str(web.public_url).rstrip("/") if web.public_url else f"http://{web.host}:{web.port}"

    def _database_answers(self) -> None:
        with reading(self.engine) as connection:
            connection.execute(sa.text("select 1"))
