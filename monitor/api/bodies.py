"""A posted body into events, and which of them can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from monitor.errors import DeadLetterReason, Refused
from monitor.formats.native import NativeDecoder
from monitor.sources.base import Partition, Record

JSON = "application/json"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_POSTED = Partition("http", "events", 0)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_RAW = msgspec.json.Decoder(msgspec.Raw)


class WrongMediaType(Refused):
    """The body is of a kind that is not taken here."""


class MalformedBody(Refused):
    """The body as a whole cannot be read."""


class TooManyEvents(Refused):
    """More events than one request may carry."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """An event that was not taken; ``row`` counts the events of the body from 0."""

    row: int
    reason: DeadLetterReason
    message: str


@dataclass(frozen=True, slots=True)
class Examined:
    """The events worth keeping, in order, and the others."""

    good: Sequence[bytes]
    rejected: Sequence[RejectedRow]


def split_body(body: bytes, content_type: str, content_encoding: str, max_events: int) -> list[bytes]:
    """The events of a JSON object, a JSON array or NDJSON, each as the bytes it was written in.

    Raises:
        WrongMediaType, MalformedBody, TooManyEvents: with what to send instead.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != JSON and media_type not in NDJSON:
        raise WrongMediaType(f"send events as {JSON} (an object or an array) or as {NDJSON[0]} (one object a line)")
    if content_encoding.strip().lower() not in ("", "identity"):
        raise WrongMediaType("compressed bodies are not taken: send it without Content-Encoding")
    body = body.strip(b" \t\r\n")
    if not body:
        raise MalformedBody("the body is empty: send one event, an array of events or one event a line")
    values = _lines(body) if media_type in NDJSON else _values(body)
    if len(values) > max_events:
        raise TooManyEvents(f"{len(values)} events in one request; send at most {max_events} at a time")
    return values


def examine(values: Sequence[bytes], now_s: float, max_event_bytes: int) -> Examined:
    """Decode each event as the worker will, so that its sender hears of a fault at once.

    Args:
        now_s: epoch seconds, the time of an event that names none.
    """
    rejected = {
        row: RejectedRow(row, DeadLetterReason.WRONG_TYPE, "expected a JSON object")
        for row, value in enumerate(values)
        if not value.startswith(b"{")
    }
    records = [Record(_POSTED, row, value, timestamp=now_s) for row, value in enumerate(values) if row not in rejected]
    for rejection in NativeDecoder(max_event_bytes).decode(records).rejections:
        row = rejection.record.offset
        rejected.setdefault(row, RejectedRow(row, rejection.reason, rejection.message))
    good = [value for row, value in enumerate(values) if row not in rejected]
    return Examined(good, [rejected[row] for row in sorted(rejected)])


def _lines(body: bytes) -> list[bytes]:
    return [stripped for line in body.split(b"\n") if (stripped := line.strip(b" \t\r"))]


def _values(body: bytes) -> list[bytes]:
    """Of application/json; lines of objects are taken too, since NDJSON often goes by that name."""
    try:
        if body.startswith(b"["):
            return [bytes(item).strip(b" \t\r\n") for item in _ARRAY.decode(body)]
        return [bytes(_RAW.decode(body))]
    except (msgspec.DecodeError, RecursionError) as error:
        lines = _lines(body)
        if len(lines) > 1 and all(line.startswith(b"{") for line in lines[:2]):
            return lines
        raise MalformedBody(f"the body is not JSON: {error}") from error
