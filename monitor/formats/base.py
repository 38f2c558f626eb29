"""What a decoder is: records in, event batches and rejections out. It never raises on a bad record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from detectors.batch import EventBatch
from monitor.errors import DeadLetterReason
from monitor.sources.base import Record


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record, or row ``row`` of one, that is set aside; row −1 is the whole record."""

    record: Record
    row: int
    reason: DeadLetterReason
    message: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """Events by model version, in arrival order, and what could not be read; together they are every event."""

    batches: Sequence[EventBatch]
    rejections: Sequence[Rejection]


class Decoder(Protocol):
    def decode(self, records: Sequence[Record]) -> Decoded: ...
