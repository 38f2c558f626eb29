"""Settings: defaults < TOML file < environment (``VEDETTE_…``, nested by ``__``). Unknown keys are errors.

All faults are reported together, each with its key and what is allowed. Secrets print as a mask.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from detectors.budget import DEFAULT_EXPOSURE_LIMIT, DEFAULT_TOLERANCE, parse_alarm_budget
from monitor.errors import SettingsError
from monitor.settings_faults import Variable, faults_of

_PREFIX = "VEDETTE_"
_NO_SETTING = re.compile(
    # Kubernetes links services through the environment: one named vedette gives VEDETTE_SERVICE_HOST and more.
    rf"{_PREFIX}(CONFIG|TEST_\w+|([A-Z0-9]+_)*(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?))"
)


def _listed(value: object) -> object:
    """Text with commas is a list: in the environment there is nothing else."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


AlertKind = Literal["drift", "ood", "extraction", "evasion", "privacy", "abuse", "quality", "performance", "pipeline"]
"""``detectors.base.Kind``, whose module needs numpy, which settings can be read without."""

_SERVER = r"\s*[^\s,:/]+(:\d{1,5})?\s*"
_Text = Annotated[str, Field(min_length=1)]
_Secret = Annotated[SecretStr, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DatabaseSettings(_Section):
    url: Annotated[str, Field(repr=False)] = "sqlite:///vedette.sqlite3"
    """SQLAlchemy URL: ``sqlite:///PATH`` (embedded) or ``postgresql://USER:PASSWORD@HOST/NAME``."""

    @field_validator("url")
    @classmethod
    def _readable_url(cls, value: str) -> str:
        """Says nothing of what is in the URL: where a password is not escaped, any part may hold some of it."""
        if not value.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:/// or postgresql://")
        try:
            parts = urlsplit(value)
            readable = parts.port != 0 and "@" not in parts.netloc.rpartition("@")[0]
        except ValueError:
            readable = False
        if not readable:
            raise ValueError(
                "must name host, port and database as in postgresql://HOST:5432/NAME, and special characters of user "
                "name and password as %40 for @, %2F for /, %3A for :"
            )
        return value


class KafkaSettings(_Section):
    bootstrap_servers: Annotated[
        str, Field(pattern=rf"^{_SERVER}(,{_SERVER})*$", description="HOST:PORT, several with commas between")
    ]
    topics: Annotated[tuple[_Text, ...], Field(min_length=1), BeforeValidator(_listed)] = ("inference-logs",)
    group_id: _Text = "vedette"
    group_instance_id: _Text | None = None
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: _Text | None = None
    sasl_password: _Secret | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    start: Literal["earliest", "latest"] = "earliest"
    """Where a partition starts that Vedette has never read."""

    @model_validator(mode="after")
    def _complete_sasl(self) -> Self:
        names = ("sasl_mechanism", "sasl_username", "sasl_password")
        missing = [name for name in names if getattr(self, name) is None]
        if self.security_protocol.startswith("SASL") and missing:
            raise ValueError(f"security_protocol {self.security_protocol} needs {', '.join(missing)} too")
        return self


class WorkerSettings(_Section):
    flush_interval_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    max_records_per_poll: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    max_record_bytes: Annotated[int, Field(ge=1_024, le=64 << 20)] = 1 << 20
    warm_up_records: Annotated[int, Field(ge=0, le=100_000)] = 2_000
    """How many records before the committed offset are read again, uncounted, to warm per-client memory."""
    dead_letter_value_bytes: Annotated[int, Field(ge=0, le=1 << 20)] = 8_192
    """How much of a bad record is kept; 0 keeps none of it."""
    label_wait_days: Annotated[float, Field(ge=0, le=90)] = 7.0
    """How long an answer waits for a label that comes alone, and such a label for its answer; 0 waits for none."""
    most_waiting_labels: Annotated[int, Field(ge=1_000, le=100_000_000)] = 500_000
    """How many event ids of one model may wait; when half of that is taken, a sample of new ones waits."""
    name_strange_events: bool = True
    """Whether out-of-distribution alerts name their strangest events: id, client, distances of columns, no values."""
    strange_value_hours: Annotated[float, Field(ge=0, le=720)] = 0.0
    """How long the features of named events are kept, for the alert's page; 0 keeps none of them."""


class JudgeSettings(_Section):
    lateness_s: Annotated[float, Field(ge=0, le=86_400)] = 5.0
    max_wait_s: Annotated[float, Field(gt=0, le=3_600)] = 15.0
    """A delta that has waited this long (wall clock) is judged even if the watermark has not passed it."""
    interval_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    keep_readings_days: Annotated[int, Field(ge=1)] = 30
    keep_panes_days: Annotated[int, Field(ge=1)] = 90
    keep_dead_letters_days: Annotated[int, Field(ge=1)] = 30


class WebSettings(_Section):
    host: _Text = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8_050
    public_url: AnyHttpUrl | None = None
    """Where people reach the dashboard; used for links in notifications."""
    token: _Secret | None = None
    """When set, the API wants it as a bearer token and the dashboard asks for it once."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=256 << 20)] = 8 << 20

    def refuse_strangers(self) -> None:
        """Return when nobody but this machine gets in without a token.

        Raises:
            SettingsError: the dashboard would be open to the network.
        """
        if self.token is None and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise SettingsError(
                [
                    f"web.host: {self.host} lets others in, and there is no web.token: set {_PREFIX}WEB__TOKEN, or "
                    "keep web.host at 127.0.0.1 behind a proxy that signs people in"
                ]
            )


class ScoreSettings(_Section):
    """A score of your own for single events; see ``monitor/own_scores.py``."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$", description="a-z, 0-9, - and _, up to 41")]
    function: Annotated[
        str,
        Field(pattern=r"^[^:]+:[A-Za-z_][A-Za-z0-9_.]*$", description="MODULE:FUNCTION or path/to/file.py:FUNCTION"),
    ]


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class _Destination(_Section):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="a-z, 0-9, - and _, up to 63")]
    min_severity: Severity = Severity.INFO
    send_resolved: bool = True
    kinds: Annotated[tuple[AlertKind, ...], BeforeValidator(_listed)] = ()
    """Alert kinds to send; empty sends all."""
    allow_private_addresses: bool = False
    """Let this destination be on a loopback, private or link-local address."""
    allow_http: bool = False


class WebhookSettings(_Destination):
    type: Literal["webhook"]
    url: Annotated[AnyHttpUrl, Field(repr=False)]
    secret: _Secret | None = None
    """Standard Webhooks secret: ``whsec_`` and base64 of 24 to 64 bytes."""


class SlackSettings(_Destination):
    type: Literal["slack"]
    url: _Secret
    """Incoming-webhook URL; a secret, since whoever has it can post."""


DestinationSettings = Annotated[WebhookSettings | SlackSettings, Field(discriminator="type")]


class Settings(_Section):
    """Everything that can be set, with defaults that work on one machine without any service."""

    alarm_budget: str = "1/week"
    """Expected false alarms per model version: ``1/week``, ``0.5/day``, …"""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = DEFAULT_TOLERANCE
    """Share of traffic that may change (0.02: two events in a hundred) without being worth an alarm."""
    exposure_limit: Annotated[float, Field(gt=0, le=1)] = DEFAULT_EXPOSURE_LIMIT
    """Share of what can be copied of a model from which a client that could have copied it is told to be exposed."""
    database: DatabaseSettings = DatabaseSettings()
    kafka: KafkaSettings | None = None
    """Without it, events come over HTTP (``POST /api/v1/events``)."""
    worker: WorkerSettings = WorkerSettings()
    judge: JudgeSettings = JudgeSettings()
    web: WebSettings = WebSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    scores: tuple[ScoreSettings, ...] = ()
    """Scores of your own for out-of-distribution inputs, beside Vedette's."""
    log_format: Literal["console", "json"] = "console"
    secret: Annotated[SecretStr, Field(min_length=32)] | None = None
    """What seeds and hash keys are derived from, the same in every process: 64 random hexadecimal characters, say.

    With an embedded database a file beside it is made at first start where nothing is set here.
    """
    secret_file: Path | None = None
    """The file that holds it, instead."""

    @field_validator("alarm_budget")
    @classmethod
    def _readable_budget(cls, value: str) -> str:
        parse_alarm_budget(value)
        return value

    @field_validator("destinations", "scores")
    @classmethod
    def _unique_names(cls, value: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        names = [item.name for item in value]
        if len(set(names)) != len(names):
            raise ValueError(f"each {str(info.field_name).removesuffix('s')} needs a name of its own")
        return value

    @property
    def alarms_per_week(self) -> float:
        return parse_alarm_budget(self.alarm_budget)


def load_settings(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings once, at start.

    Args:
        path: TOML file; None reads ``$VEDETTE_CONFIG`` or, failing that, ``vedette.toml`` if it is there.

    Raises:
        SettingsError: the file cannot be read, or any value is wrong; lists every fault, quotes no value.
    """
    named = environment.get(f"{_PREFIX}CONFIG")
    chosen = path or (Path(named) if named else None)
    if chosen is None and Path("vedette.toml").is_file():
        chosen = Path("vedette.toml")
    variables = _variables(environment)
    values: Any = _file_values(chosen) if chosen else {}
    for variable in variables:
        values = _with(values, variable.keys, variable.value)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(faults_of(error, Settings.model_json_schema(), variables)) from None


def _file_values(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError([f"{path}: no such file; check --config or {_PREFIX}CONFIG"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}; check the file and its permissions"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not UTF-8 ({error.reason}); save it as UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None


def _variables(environment: Mapping[str, str]) -> list[Variable]:
    """Variables that are settings, those of whole sections before those of single keys."""
    ours = [
        Variable(name, tuple(name.removeprefix(_PREFIX).lower().split("__")), _decoded(text))
        for name, text in environment.items()
        if name.startswith(_PREFIX) and not _is_foreign(name, text)
    ]
    return sorted(ours, key=lambda variable: (len(variable.keys), variable.name))


def _is_foreign(name: str, text: str) -> bool:
    linked = name.endswith("_PORT") and "__" not in name and "://" in text
    return linked or _NO_SETTING.fullmatch(name) is not None


def _decoded(text: str) -> Any:
    """Lists and tables as JSON; what is none stays text, and is named as a fault where text is not allowed."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _with(given: Any, keys: Sequence[str], value: Any) -> Any:
    """``given`` with ``value`` at ``keys``; a number chooses among the items of a list that is there."""
    if not keys:
        return {**given, **value} if isinstance(given, Mapping) and isinstance(value, Mapping) else value
    key, *rest = keys
    if isinstance(given, list) and key.isdecimal() and int(key) < len(given):
        return [_with(item, rest, value) if i == int(key) else item for i, item in enumerate(given)]
    table = dict(given) if isinstance(given, Mapping) else {}
    return {**table, key: _with(table.get(key), rest, value)}
