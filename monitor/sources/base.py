"""What a source of records is: an ordered log in partitions, read from any offset.

The truth about progress is not here but in the ``partitions`` table, written in the same transaction as what the
records led to. A source is told where to start and is never asked where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One ordered log. ``cluster_id`` and ``topic_id`` tell a re-created topic from the old one of the same name."""

    source: str
    topic: str
    number: int
    cluster_id: str = ""
    topic_id: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Bytes with a position. ``timestamp`` is the record's own time, epoch seconds; None where it has none."""

    partition: Partition
    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """Change of ownership since the last call: partitions to start on, and partitions to let go of.

    ``lost`` partitions are already somebody else's: write nothing more for them. ``revoked`` ones may still be
    committed once, now.
    """

    assigned: tuple[Partition, ...] = ()
    revoked: tuple[Partition, ...] = ()
    lost: tuple[Partition, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """First offset still held and the offset after the last one."""

    low: int
    high: int


class Source(Protocol):
    """Six methods; calls come from one thread.

    Raises (all methods):
        TransientError: the log cannot be reached for now.
    """

    def assignment(self) -> Assignment:
        """What changed since the last call; drives rebalancing, so call it before every poll."""
        ...

    def bounds(self, partition: Partition) -> Bounds: ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Deliver from ``offset`` on. Until the first seek a partition delivers nothing."""
        ...

    def poll(self, timeout_s: float, max_records: int) -> Mapping[Partition, Sequence[Record]]:
        """Records in offset order per partition; empty after ``timeout_s`` without any."""
        ...

    def mirror(self, offsets: Mapping[Partition, int]) -> None:
        """Tell the log's own tools how far we are; best effort, never the truth."""
        ...

    def close(self) -> None:
        """Leave, within ten seconds."""
        ...


class FiniteSource(Source, Protocol):
    """A source that ends, such as a file."""

    def exhausted(self) -> bool:
        """Everything up to the end has been delivered."""
        ...
