"""Settings: defaults < TOML file < environment (``VEDETTE_…``, nested by ``__``). Unknown keys are errors.

All faults are reported together, each with its key and what is allowed. Secrets print as a mask.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from detectors.budget import parse_alarm_budget
from monitor.errors import SettingsError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Section):
    url: str = "sqlite:///vedette.sqlite3"
    """SQLAlchemy URL: ``sqlite:///PATH`` (embedded) or ``postgresql://USER:PASSWORD@HOST/NAME``."""

    @field_validator("url")
    @classmethod
    def _known_dialect(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:/// or postgresql://")
        return value


class KafkaSettings(_Section):
    bootstrap_servers: str
    topics: tuple[str, ...] = ("inference-logs",)
    group_id: str = "vedette"
    group_instance_id: str | None = None
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    start: Literal["earliest", "latest"] = "earliest"
    """Where a partition starts that Vedette has never read."""


class WorkerSettings(_Section):
    flush_interval_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    max_records_per_poll: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    max_record_bytes: Annotated[int, Field(ge=1_024, le=64 << 20)] = 1 << 20
    warm_up_records: Annotated[int, Field(ge=0, le=100_000)] = 2_000
    """How many records before the committed offset are read again, uncounted, to warm per-client memory."""
    dead_letter_value_bytes: Annotated[int, Field(ge=0, le=1 << 20)] = 8_192
    """How much of a bad record is kept; 0 keeps none of it."""


class JudgeSettings(_Section):
    lateness_s: Annotated[float, Field(ge=0, le=86_400)] = 5.0
    max_wait_s: Annotated[float, Field(gt=0, le=3_600)] = 15.0
    """A delta that has waited this long (wall clock) is judged even if the watermark has not passed it."""
    interval_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    keep_readings_days: Annotated[int, Field(ge=1)] = 30
    keep_panes_days: Annotated[int, Field(ge=1)] = 90
    keep_dead_letters_days: Annotated[int, Field(ge=1)] = 30


class WebSettings(_Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_050
    public_url: AnyHttpUrl | None = None
    """Where people reach the dashboard; used for links in notifications."""
    token: SecretStr | None = None
    """When set, the API wants it as a bearer token and the dashboard asks for it once."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=256 << 20)] = 8 << 20


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class _Destination(_Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    min_severity: Severity = Severity.INFO
    send_resolved: bool = True
    kinds: tuple[str, ...] = ()
    """Alert kinds to send; empty sends all."""
    allow_private_addresses: bool = False
    """Let this destination be on a loopback, private or link-local address."""
    allow_http: bool = False


class WebhookSettings(_Destination):
    type: Literal["webhook"]
    url: AnyHttpUrl
    secret: SecretStr | None = None
    """Standard Webhooks secret: ``whsec_`` and base64 of 24 to 64 bytes."""


class SlackSettings(_Destination):
    type: Literal["slack"]
    url: SecretStr
    """Incoming-webhook URL; a secret, since whoever has it can post."""


DestinationSettings = Annotated[WebhookSettings | SlackSettings, Field(discriminator="type")]


class Settings(BaseSettings):
    """Everything that can be set, with defaults that work on one machine without any service."""

    model_config = SettingsConfigDict(
        env_prefix="VEDETTE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    alarm_budget: str = "1/week"
    """Expected false alarms per model version: ``1/week``, ``0.5/day``, …"""
    database: DatabaseSettings = DatabaseSettings()
    kafka: KafkaSettings | None = None
    """Without it, events come over HTTP (``POST /api/v1/events``)."""
    worker: WorkerSettings = WorkerSettings()
    judge: JudgeSettings = JudgeSettings()
    web: WebSettings = WebSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    log_format: Literal["console", "json"] = "console"

    @field_validator("alarm_budget")
    @classmethod
    def _readable_budget(cls, value: str) -> str:
        parse_alarm_budget(value)
        return value

    @field_validator("destinations")
    @classmethod
    def _unique_names(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [item.name for item in value]
        if len(set(names)) != len(names):
            raise ValueError("each destination needs a name of its own")
        return value

    @property
    def alarms_per_week(self) -> float:
        return parse_alarm_budget(self.alarm_budget)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load_settings(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings once, at start.

    Args:
        path: TOML file; None reads ``$VEDETTE_CONFIG`` or, failing that, ``vedette.toml`` if it is there.

    Raises:
        SettingsError: the file cannot be read, or any value is wrong; lists every fault.
    """
    values: dict[str, Any] = {}
    chosen = path or (Path(os.environ["VEDETTE_CONFIG"]) if os.environ.get("VEDETTE_CONFIG") else None)
    if chosen is None and Path("vedette.toml").is_file():
        chosen = Path("vedette.toml")
    if chosen is not None:
        try:
            values = tomllib.loads(chosen.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError([f"{chosen}: {error}"]) from error
    try:
        return Settings(**{**values, **(overrides or {})})
    except ValidationError as error:
        raise SettingsError([_fault(item) for item in error.errors()]) from error


def _fault(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "settings"
    return f"{key}: {item['msg']}"
