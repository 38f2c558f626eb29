"""``vedette check``: what can be known before the first event: versions, database, schema, broker, destinations."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from monitor.config import KafkaSettings, Settings
from monitor.errors import VedetteError
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
    engine = create_engine(settings.database.url, "check")
    findings = [
        Finding("versions", True, f"vedette {product_version()} on Python {platform.python_version()}"),
        Finding("settings", True, f"alarm budget {settings.alarm_budget}, {len(settings.destinations)} destinations"),
        _try("database", lambda: _database(engine)),
        _try("schema", lambda: _schema(engine)),
    ]
    if settings.kafka is None:
        findings.append(Finding("kafka", True, "not set: events come over HTTP (POST /api/v1/events)"))
    else:
        kafka = settings.kafka
        findings.append(_try("kafka", lambda: _kafka(kafka)))
        fast = importlib.util.find_spec("crc32c") is not None
        findings.append(Finding("crc32c", fast, "installed" if fast else "missing: reading Kafka is 7 times slower"))
    engine.dispose()
    return findings


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except VedetteError as error:
        return Finding(what, False, str(error))


def _database(engine: sa.Engine) -> str:
    with reading(engine) as connection:
        connection.execute(sa.text("select 1"))
    return f"{engine.dialect.name} answers"


def _schema(engine: sa.Engine) -> str:
    check_schema(engine)
    return "up to date"


def _kafka(settings: KafkaSettings) -> str:
    counts = describe_topics(settings)
    return ", ".join(f"{topic}: {n} partitions" for topic, n in counts.items())
