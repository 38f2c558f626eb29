"""Where decoded events are sorted into groups, checked for what makes no sense in any format, and given id and time."""

from __future__ import annotations

from dataclasses import replace

from monitor.errors import DeadLetterReason, InvalidRecord
from monitor.formats.base import Decoded, Rejection
from monitor.formats.columns import Group, batches
from monitor.formats.event import Event, text_of
from monitor.formats.instants import EARLIEST_S, LATEST_S, epoch_seconds
from monitor.sources.base import Partition, Record

MAX_ROW_REJECTIONS = 200
"""Rows of one record that are rejected one by one; those after them share a rejection that counts them."""

_NOTHING = "event: expected at least one of features, embedding, logits, probabilities, prediction, label"


class Tray:
    """Events and rejections of one call of ``decode``.

    Args:
        max_future_s: how far, in seconds, an event's time may be ahead of its record's.
        last_seen: event time last seen per partition whose records have no time; read and kept up to date.
    """

    def __init__(self, max_future_s: float, last_seen: dict[Partition, float]) -> None:
        self._max_future_s = max_future_s
        self._last_seen = last_seen
        self._groups: dict[tuple[str, str], Group] = {}
        self._rejections: list[Rejection] = []
        self._faulty_rows = 0
        self._good_rows = 0

    def add(self, record: Record, row: int, event: Event) -> None:
        """Take the event, or reject it: no model, a bad timestamp, nothing to monitor."""
        try:
            if not event.model:
                raise InvalidRecord(DeadLetterReason.MISSING_FIELD, "model: expected the name of the model, got none")
            timestamp = self._time(record, row, event)
            if not event.monitorable():
                raise InvalidRecord(DeadLetterReason.NOTHING_TO_MONITOR, _NOTHING)
        except InvalidRecord as error:
            self.reject_row(record, row, error)
            return
        group = self._group(event.model, event.version)
        group.event_ids.append(_event_id(record, row, event))
        group.timestamps.append(timestamp)
        group.events.append(event)
        self._good_rows += 1

    def reject(self, record: Record, reason: DeadLetterReason, message: str) -> None:
        """Set the whole record aside."""
        self._rejections.append(Rejection(record, -1, reason, message))

    def reject_row(self, record: Record, row: int, error: InvalidRecord) -> None:
        """Set one row aside."""
        self._faulty_rows += 1
        if self._faulty_rows <= MAX_ROW_REJECTIONS:
            self._rejections.append(Rejection(record, row, error.reason, str(error)))
        elif self._faulty_rows == MAX_ROW_REJECTIONS + 1:
            self._rejections.append(Rejection(record, -1, error.reason, ""))

    def finish(self, record: Record) -> None:
        """Every row of the record has been added or rejected; a record whose only row is bad is bad as a whole."""
        more = self._faulty_rows - MAX_ROW_REJECTIONS
        if (self._faulty_rows, self._good_rows) == (1, 0):
            self._rejections[-1] = replace(self._rejections[-1], row=-1)
        self._faulty_rows = self._good_rows = 0
        if more > 0:
            reason = self._rejections.pop().reason
            self.reject(record, reason, f"{more} more rows of this record were rejected, the first of them for this")

    def decoded(self) -> Decoded:
        return Decoded([batch for group in self._groups.values() for batch in batches(group)], self._rejections)

    def _group(self, model: str, version: str | int | None) -> Group:
        key = (model, "" if version is None else text_of(version))
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key)
        return group

    def _time(self, record: Record, row: int, event: Event) -> float:
        stated = None if event.timestamp is None else epoch_seconds(event.timestamp)
        logged = record.timestamp
        if logged is None or not EARLIEST_S <= logged < LATEST_S:
            return self._carry_on(record, row, stated)
        if stated is None:
            return logged
        if stated > logged + self._max_future_s:
            raise InvalidRecord(
                DeadLetterReason.BAD_TIMESTAMP,
                f"timestamp: expected at most {self._max_future_s:g} s after the record's own time, "
                f"got {stated - logged:.0f} s after it",
            )
        return stated

    def _carry_on(self, record: Record, row: int, stated: float | None) -> float:
        if stated is None:
            return self._last_seen.get(record.partition, float(record.offset + row))
        self._last_seen[record.partition] = stated
        return stated


def _event_id(record: Record, row: int, event: Event) -> str:
    if event.event_id not in (None, ""):
        return text_of(event.event_id)
    return f"{record.partition.topic}-{record.partition.number}-{record.offset}-{row}"
