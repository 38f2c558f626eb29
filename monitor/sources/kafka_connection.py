"""What every connection to Kafka shares: its options, and the names of its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import errors
from kafka.net.compat import KafkaNetClient

from monitor.config import KafkaSettings
from monitor.errors import PermanentError, TransientError

CONNECT_TIMEOUT_S = 5
_METADATA_AGE_S = 2
"""How soon a topic made anew is noticed: records are fetched by name, so only the metadata tell it from the old one."""

MOVED = (errors.OffsetOutOfRangeError, errors.LogTruncationError)
"""The log no longer has what we are about to read: neither an outage nor a fault."""

_REFUSED = (
    errors.AuthorizationError,
    errors.FencedInstanceIdError,
    errors.InconsistentGroupProtocolError,
    errors.InvalidGroupIdError,
    errors.InvalidTopicError,
    errors.KafkaConfigurationError,
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedCodecError,
    errors.UnsupportedSaslMechanismError,
    errors.UnsupportedVersionError,
)


@contextmanager
def kafka_errors(servers: str, doing: str) -> Iterator[None]:
    """Name the errors of the block: what only a person can change is permanent, the rest transient; ``MOVED`` pass."""
    try:
        yield
    except MOVED:
        raise
    except _REFUSED as error:
        raise PermanentError(f"Kafka at {servers} refused us while {doing}: {error}; correct [kafka]") from error
    except errors.KafkaTimeoutError as error:
        raise TransientError(f"Kafka at {servers} did not answer while {doing}") from error
    except errors.KafkaError as error:
        raise TransientError(f"Kafka at {servers} failed while {doing}: {error}") from error


def connect(make: Callable[..., Any], settings: KafkaSettings, options: dict[str, Any]) -> tuple[Any, Any]:
    """A client made by ``make`` and its view of the cluster; one that fails leaves no thread behind.

    Raises:
        TransientError: no broker answered within five seconds.
        PermanentError: the settings are refused.
    """
    networks: list[Any] = []

    def network(**configuration: Any) -> Any:
        networks.append(KafkaNetClient(**configuration))
        return networks[0]

    try:
        with kafka_errors(settings.bootstrap_servers, "connecting"):
            client = make(kafka_client=network, **_connection_options(settings), **options)
    except BaseException:
        for opened in networks:
            opened.close()
        raise
    return client, networks[0].cluster


def _connection_options(settings: KafkaSettings) -> dict[str, Any]:
    return {
        "bootstrap_servers": [server.strip() for server in settings.bootstrap_servers.split(",")],
        "client_id": "vedette",
        "allow_auto_create_topics": False,
        "bootstrap_timeout_ms": CONNECT_TIMEOUT_S * 1000,
        "reconnect_backoff_max_ms": 2_000,
        "metadata_max_age_ms": _METADATA_AGE_S * 1000,
        "metrics_enabled": False,
        "security_protocol": settings.security_protocol,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": settings.sasl_password.get_secret_value() if settings.sasl_password else None,
        **_files(settings),
    }


def _files(settings: KafkaSettings) -> dict[str, str]:
    named = {
        "ssl_cafile": settings.ssl_cafile,
        "ssl_certfile": settings.ssl_certfile,
        "ssl_keyfile": settings.ssl_keyfile,
    }
    given = {name: path for name, path in named.items() if path is not None}
    for name, path in given.items():
        if not path.is_file():
            raise PermanentError(f"kafka.{name}: there is no file {path}")
    return {name: str(path) for name, path in given.items()}
