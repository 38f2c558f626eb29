"""``vedette check``: what can be known before the first event: versions, database, schema, broker, destinations."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from monitor.config import DatabaseSettings, DestinationSettings, KafkaSettings, Settings, WebSettings
from monitor.delivery.destinations import build_destinations
from monitor.errors import SettingsError, VedetteError
from monitor.secret import deployment_secret, secret_path
from monitor.sources.kafka import describe_topics
from monitor.storage.engine import create_engine, reading
from monitor.storage.schema import check_schema
from monitor.telemetry import product_version


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    what: str
    ok: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_installation(settings: Settings) -> list[Finding]:
    """Every check, those after a failed one included."""
    findings = [
        Finding("versions", True, f"vedette {product_version()} on Python {platform.python_version()}"),
        Finding("settings", True, f"alarm budget {settings.alarm_budget}"),
        _try("secret", lambda: _secret(settings)),
        *_database_findings(settings.database),
        _try("web", lambda: _web(settings.web)),
        _try("destinations", lambda: _destinations(settings.destinations)),
    ]
    if settings.kafka is None:
        return [*findings, Finding("kafka", True, "not set: events come over HTTP (POST /api/v1/events)")]
    kafka = settings.kafka
    fast = importlib.util.find_spec("crc32c") is not None
    return [
        *findings,
        _try("kafka", lambda: _kafka(kafka)),
        Finding("crc32c", fast, "installed" if fast else "missing: reading Kafka is 7 times slower without it"),
    ]


def _database_findings(settings: DatabaseSettings) -> list[Finding]:
    try:
        engine = create_engine(settings.url, "check")
    except SettingsError as error:
        return [Finding("database", False, str(error))]
    try:
        answers = _try("database", lambda: _database(engine))
        return [answers, _try("schema", lambda: _schema(engine))] if answers.ok else [answers]
    finally:
        engine.dispose()


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except SettingsError as error:
        return Finding(what, False, "; ".join(error.faults))
    except VedetteError as error:
        return Finding(what, False, str(error))


def _database(engine: sa.Engine) -> str:
    with reading(engine) as connection:
        connection.execute(sa.text("select 1"))
    return f"{engine.dialect.name} answers"


def _schema(engine: sa.Engine) -> str:
    check_schema(engine)
    return "up to date"


def _secret(settings: Settings) -> str:
    if deployment_secret(settings, create=False) is not None:
        return "there"
    if secret_path(settings) is not None:
        return "made at first start"
    return "not set: seeds are those that anybody with this code knows; set VEDETTE_SECRET"


def _web(settings: WebSettings) -> str:
    settings.refuse_strangers()
    return f"http://{settings.host}:{settings.port}, {'with' if settings.token else 'without'} a token"


def _destinations(settings: Sequence[DestinationSettings]) -> str:
    return ", ".join(build_destinations(settings, None)) or "none"


def _kafka(settings: KafkaSettings) -> str:
    counts = describe_topics(settings)
    return ", ".join(f"{topic}: {n} partitions" for topic, n in counts.items())
