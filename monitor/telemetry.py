"""What the service says about itself: Prometheus metrics and structured logs.

Every label takes its values from a closed set, except the topic and partition of the lag, which the broker bounds.
Models, clients and alerts are never labels: their number is the user's business, not the scraper's.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from monitor.config import Severity
from monitor.errors import DeadLetterReason, VedetteError
from monitor.queries import OverviewRow

LABEL_OUTCOMES = ("joined", "repeated", "too_late", "crowded_out")
"""Joined with its answer; for an answer that has one; older than ``worker.label_wait_days``; no room to wait."""

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """All metrics of one process, on a registry of their own so that two services can share a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.consumed_records = self._counter("consumed_records", "Records read from sources and committed.")
        self.events = self._counter("events", "Events decoded from records and committed.")
        self.dead_letters = self._counter("dead_letters", "Records or events set aside.", "reason")
        self.late_labels = self._counter("late_labels", "Labels that came alone, and what waits for one.", "outcome")
        self.fenced_commits = self._counter("fenced_commits", "Commits refused: another worker owns the partition.")
        self.commit_seconds = self._histogram("commit_seconds", "Duration of one commit of a worker.")
        self.judged_panes = self._counter("judged_panes", "Panes judged.")
        self.judge_seconds = self._histogram("judge_seconds", "Duration of one turn of the judge over one model.")
        self.alert_transitions = self._counter("alert_transitions", "Transitions of alerts.", "kind", "transition")
        self.deliveries = self._counter("deliveries", "Delivery attempts.", "destination_type", "outcome")
        self.ingested_events = self._counter("ingested_events", "Events posted over HTTP.", "outcome")
        self.http_requests = self._counter("http_requests", "Requests answered by the API.", "operation", "status")
        self.http_request_seconds = self._histogram("http_request_seconds", "Duration of API requests.", "operation")
        self.consumer_lag_records = Gauge(
            "vedette_consumer_lag_records",
            "Records in the log after the last committed one.",
            ("topic", "partition"),
            registry=self.registry,
        )
        for outcome in LABEL_OUTCOMES:
            self.late_labels.labels(outcome)
        for reason in DeadLetterReason:
            self.dead_letters.labels(reason.value)
        Info("vedette_build", "Version of the running service.", registry=self.registry).info(
            {"version": product_version()}
        )

    def set_lag(self, topic: str, partition: int, records: int) -> None:
        self.consumer_lag_records.labels(topic, str(partition)).set(records)

    def forget_lag(self, topic: str, partition: int) -> None:
        """A partition that moved to another worker is that worker's to report."""
        self.consumer_lag_records.remove(topic, str(partition))

    def observe_overview(self, overview: Callable[[], OverviewRow]) -> None:
        """Answer open alerts and owed deliveries from the database at each scrape."""
        self.registry.register(_OverviewCollector(overview))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"vedette_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"vedette_{name}", text, labels, buckets=_SECONDS, registry=self.registry)


class _OverviewCollector(Collector):
    """Reads at scrape time; a database that is away leaves the families out rather than failing the scrape."""

    def __init__(self, overview: Callable[[], OverviewRow]) -> None:
        self._overview = overview

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(_overview_families())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        alerts, deliveries = _overview_families()
        try:
            row = self._overview()
        except VedetteError as error:
            structlog.get_logger(__name__).warning("overview_not_collected", cause=str(error))
            return
        for severity in Severity:
            alerts.add_metric([severity.value], row.open_alerts.get(severity.value, 0))
        deliveries.add_metric(["owed"], row.deliveries_owed)
        deliveries.add_metric(["dead"], row.deliveries_dead)
        yield alerts
        yield deliveries


def _overview_families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily("vedette_alerts_open", "Alerts that are not resolved.", labels=["severity"]),
        GaugeMetricFamily("vedette_deliveries_pending", "Deliveries not received by anyone.", labels=["status"]),
    )


def product_version() -> str:
    """Installed version, ``unknown`` when run from a bare checkout."""
    try:
        return version("vedette")
    except PackageNotFoundError:
        return "unknown"


_MOST_TEMPLATES = 1_000
_MASK = "**********"
_SECRET_KEY = re.compile(r"pass(word|wd)?$|secret|token$|authorization|cookie|api_?key|credential", re.IGNORECASE)
_SECRET_TEXT = (
    (re.compile(r"(://[^/\s:@]*:)[^@\s]+(@)"), rf"\1{_MASK}\2"),
    (re.compile(r"(hooks\.slack(?:-gov)?\.com/)[^\s\"']+"), rf"\1{_MASK}"),
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), f"whsec_{_MASK}"),
    (re.compile(r"(bearer\s+)[A-Za-z0-9._~+/=-]+", re.IGNORECASE), rf"\1{_MASK}"),
)


def redact_text(text: str) -> str:
    """``text`` without passwords of URLs, Slack hook paths, webhook secrets and bearer tokens."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Log processor: masks values under secret-sounding keys and secrets inside any text."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _redacted(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key) and value:
        return _MASK
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {inner: _redacted(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", item) for item in value]
    return value


def configure_logging(log_format: Literal["console", "json"], level: int = logging.INFO) -> None:
    """Send every log line, ours and those of libraries, to stderr in one format. Called once, at start."""
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    handler.addFilter(_KafkaOnceAMinute())
    for chatty in ("kafka", "httpx", "httpcore", "alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


class _KafkaOnceAMinute(logging.Filter):
    """Lets each message of the Kafka client through once a minute: it reports every attempt to connect five times."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("kafka"):
            return True
        template = str(record.msg)
        if record.created < self._next.get(template, 0.0):
            return False
        if len(self._next) >= _MOST_TEMPLATES:
            self._next.clear()
        self._next[template] = record.created + 60.0
        return True


def _renderers(log_format: Literal["console", "json"]) -> list[Any]:
    """Exceptions become text before redaction, so that a secret in a traceback is masked too."""
    if log_format == "json":
        return [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(default=str)]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [structlog.processors.format_exc_info, redact, console]
