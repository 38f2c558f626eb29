"""Events posted over HTTP, written to the topic that the workers read."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from kafka import KafkaProducer, errors

from monitor.config import KafkaSettings
from monitor.errors import DeadLetterReason, InvalidRecord
from monitor.sources.kafka_connection import connect, kafka_errors

_APPEND_TIMEOUT_S = 10
_CLOSE_TIMEOUT_S = 5
_MAX_REQUEST_BYTES = 64 << 20


class _Keyed(msgspec.Struct):
    client_id: str | None = None


class KafkaIntake:
    """``EventIntake`` into the first of the settings' topics; connects at the first event.

    Events of one client go to one partition, where its queries keep their order. Safe to call from many threads.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topic = settings.topics[0]
        self._lock = threading.Lock()
        self._producer: Any = None

    def append(self, values: Sequence[bytes]) -> None:
        """Return once every in-sync replica has all values.

        Raises:
            TransientError: not known to be kept within ten seconds; some may be.
            InvalidRecord: one is larger than the broker takes.
            PermanentError: the broker refuses us.
        """
        producer = self._connected()
        deadline = time.monotonic() + _APPEND_TIMEOUT_S
        with kafka_errors(self._settings.bootstrap_servers, f"writing to {self._topic}"):
            try:
                sent = [producer.send(self._topic, value=value, key=_key(value)) for value in values]
                for future in sent:
                    future.get(timeout=max(0.0, deadline - time.monotonic()))
            except (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError) as error:
                raise InvalidRecord(DeadLetterReason.OVERSIZED, "an event is larger than the broker takes") from error

    def close(self) -> None:
        """Let go of the broker within five seconds."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            with kafka_errors(self._settings.bootstrap_servers, "closing"):
                producer.close(timeout=_CLOSE_TIMEOUT_S)

    def _connected(self) -> Any:
        with self._lock:
            if self._producer is None:
                self._producer, _ = connect(KafkaProducer, self._settings, _options())
            return self._producer


def _options() -> dict[str, Any]:
    return {
        "acks": "all",
        "compression_type": "lz4",
        "delivery_timeout_ms": _APPEND_TIMEOUT_S * 1000,
        "request_timeout_ms": _APPEND_TIMEOUT_S * 1000 - 1000,
        "max_block_ms": _APPEND_TIMEOUT_S * 500,
        "max_request_size": _MAX_REQUEST_BYTES,
    }


def _key(value: bytes) -> bytes | None:
    try:
        client_id = msgspec.json.decode(value, type=_Keyed).client_id
    except msgspec.MsgspecError:
        return None  # whatever is wrong with it, the worker says so
    return client_id.encode() if client_id else None
