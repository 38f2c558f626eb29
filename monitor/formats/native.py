"""Vedette's own event format: one JSON object, NDJSON, or a JSON array of objects in a record.

msgspec reads a record straight into ``Event``; what it turns away is looked at again, row by row, by
``monitor.formats.examination``, which either reads it after all or says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from monitor.errors import DeadLetterReason, InvalidRecord
from monitor.formats.base import Decoded
from monitor.formats.event import Event
from monitor.formats.examination import examine, parse
from monitor.formats.tray import Tray
from monitor.sources.base import Partition, Record

_ANY = msgspec.json.Decoder(Event | list[Event])
_ONE = msgspec.json.Decoder(Event)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NativeDecoder:
    """Decodes native events. A bad row is rejected alone; never raises on a bad record.

    An event without a timestamp gets its record's. Where the record has none either (a file), it gets the time of
    the event before it in that partition and, before any time was seen, ``offset + row`` seconds after 1970: one
    second per line. The time last seen is kept per partition: soft state, bounded by their number, back again as
    soon as a few records before the offset are read again.

    Args:
        max_record_bytes: longer records are rejected unread.
        max_future_s: how far, in seconds, an event's time may be ahead of its record's; a client whose clock runs
            ahead would otherwise close the panes of all others.

    >>> record = Record(Partition("doc", "t", 0), 7, b'{"model": "m", "features": {"age": 41, "plan": "pro"}}')
    >>> batch = NativeDecoder(max_record_bytes=1_000).decode([record]).batches[0]
    >>> batch.numeric_names, batch.numeric.tolist(), list(batch.mixed["plan"]), batch.event_id[0]
    (('age',), [[41.0]], ['pro'], 't-0-7-0')
    """

    def __init__(self, max_record_bytes: int, max_future_s: float = 600.0) -> None:
        self._max_record_bytes = max_record_bytes
        self._max_future_s = max_future_s
        self._last_seen: dict[Partition, float] = {}

    def decode(self, records: Sequence[Record]) -> Decoded:
        tray = Tray(self._max_future_s, self._last_seen)
        for record in records:
            value = record.value
            if not value or value.isspace():
                expected = "empty: expected a JSON object, NDJSON or a JSON array of objects"
                tray.reject(record, DeadLetterReason.UNDECODABLE, expected)
            elif len(value) > self._max_record_bytes:
                message = f"{len(value)} bytes: expected at most {self._max_record_bytes} (worker.max_record_bytes)"
                tray.reject(record, DeadLetterReason.OVERSIZED, message)
            else:
                _add(record, value, tray)
                tray.finish(record)
        return tray.decoded()


def _add(record: Record, value: bytes, tray: Tray) -> None:
    events = _read(value)
    if events is None:
        _read_carefully(record, value, tray)
        return
    for row, event in enumerate(events):
        tray.add(record, row, event)


def _read(value: bytes) -> Sequence[Event] | None:
    """Events of a record without a fault; None if anything in it needs a closer look."""
    if b"\\u0000" in value:
        return None
    try:
        if b"\n" in value and (lines := _lines(value))[1:] and lines[0].endswith(b"}"):
            return [_ONE.decode(line) for line in lines]
        events = _ANY.decode(value)
    except _UNREADABLE:
        return None
    return events if isinstance(events, list) else (events,)


def _lines(value: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, value.split(b"\n")) if line]


def _read_carefully(record: Record, value: bytes, tray: Tray) -> None:
    """Row by row: of an array, or of lines if any line is an object; else the whole record is one fault."""
    rows: Sequence[Any]
    try:
        document = parse(value)
        rows = document if isinstance(document, list) else [document]
    except InvalidRecord as error:
        rows = [_parsed(line) for line in _lines(value)]
        if len(rows) < 2 or not any(isinstance(row, dict) for row in rows):
            tray.reject(record, error.reason, str(error))
            return
    for row, document in enumerate(rows):
        _examine(record, row, document, tray)


def _parsed(line: bytes) -> Any:
    try:
        return parse(line)
    except InvalidRecord as error:
        return error


def _examine(record: Record, row: int, document: Any, tray: Tray) -> None:
    try:
        if isinstance(document, InvalidRecord):
            raise document
        event = examine(document)
    except InvalidRecord as error:
        tray.reject_row(record, row, error)
    else:
        tray.add(record, row, event)
