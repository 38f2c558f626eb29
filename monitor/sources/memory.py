"""A source that is a list per partition: for tests, demonstrations and embedding; it can do whatever a broker does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from monitor.errors import TransientError
from monitor.sources.base import Assignment, Bounds, Partition, Record


@dataclass(slots=True)
class _Log:
    records: list[Record] = field(default_factory=list)
    low: int = 0
    high: int = 0
    position: int | None = None


class MemorySource:
    """Records held in memory, delivered per partition in the order of their offsets.

    Everything a broker may do is a method: ``append``, ``assign``, ``revoke``, ``lose``, ``expire``, ``interrupt``.
    Never waits: a poll without records returns at once.

    >>> source = MemorySource.of([b"a", b"b"])
    >>> (partition,) = source.assignment().assigned
    >>> source.seek(partition, 1)
    >>> [record.value for record in source.poll(0.0, 10)[partition]], source.exhausted()
    ([b'b'], True)
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._logs: dict[Partition, _Log] = {}
        self._held: dict[Partition, None] = {}
        self._change = Assignment()
        self._failures = 0
        self.mirrored: dict[Partition, int] = {}
        self.closed = False
        for record in records:
            self.append(record)

    @classmethod
    def of(cls, *logs: Iterable[bytes | None], topic: str = "memory") -> MemorySource:
        """One partition per list of values, numbered from 0; offsets count from 0, records carry no time."""
        source = cls()
        for number, values in enumerate(logs):
            partition = Partition("memory", topic, number)
            source.assign(partition)
            for offset, value in enumerate(values):
                source.append(Record(partition, offset, value))
        return source

    def append(self, record: Record) -> None:
        """Add a record at the end of its partition, which is assigned if it is new.

        Raises:
            ValueError: the offset is not above the last one.
        """
        if record.partition not in self._logs:
            self.assign(record.partition)
        log = self._logs[record.partition]
        if record.offset < log.high:
            raise ValueError(f"offset {record.offset} is not above the last one, {log.high - 1}")
        if not log.records and log.high == 0:
            log.low = record.offset
        log.records.append(record)
        log.high = record.offset + 1

    def assign(self, *partitions: Partition) -> None:
        """Give partitions to this member; told at the next ``assignment``."""
        for partition in partitions:
            log = self._logs.setdefault(partition, _Log())
            log.position = None
            self._held[partition] = None
        self._change = replace(self._change, assigned=self._change.assigned + partitions)

    def revoke(self, *partitions: Partition) -> None:
        """Take partitions away in order; what was read of them may still be committed once."""
        self._drop(partitions)
        self._change = replace(self._change, revoked=self._change.revoked + partitions)

    def lose(self, *partitions: Partition) -> None:
        """Take partitions away without notice; somebody else has them."""
        self._drop(partitions)
        self._change = replace(self._change, lost=self._change.lost + partitions)

    def expire(self, partition: Partition, low: int) -> None:
        """Forget records below ``low``, as retention does."""
        log = self._logs[partition]
        log.low = max(log.low, low)
        log.high = max(log.high, log.low)
        log.records = [record for record in log.records if record.offset >= log.low]

    def interrupt(self, times: int) -> None:
        """Let the next ``times`` polls fail, as a broker does that is away."""
        self._failures = times

    def assignment(self) -> Assignment:
        change, self._change = self._change, Assignment()
        return change

    def bounds(self, partition: Partition) -> Bounds:
        log = self._logs[partition]
        return Bounds(log.low, log.high)

    def seek(self, partition: Partition, offset: int) -> None:
        self._logs[partition].position = offset

    def poll(self, timeout_s: float, max_records: int) -> Mapping[Partition, Sequence[Record]]:
        if self._failures:
            self._failures -= 1
            raise TransientError("the log in memory is interrupted; tried again")
        found: dict[Partition, Sequence[Record]] = {}
        for partition in list(self._held):
            records = self._take(self._logs[partition], max_records)
            if records:
                found[partition] = records
                max_records -= len(records)
        self._rotate()
        return found

    def mirror(self, offsets: Mapping[Partition, int]) -> None:
        self.mirrored.update(offsets)

    def close(self) -> None:
        self.closed = True

    def exhausted(self) -> bool:
        """Every partition held has been read to its present end."""
        logs = [self._logs[partition] for partition in self._held]
        return all(log.position is not None and log.position >= log.high for log in logs)

    def _take(self, log: _Log, most: int) -> Sequence[Record]:
        if log.position is None or most <= 0 or log.position >= log.high:
            return ()
        start = bisect_left(log.records, log.position, key=attrgetter("offset"))
        records = log.records[start : start + most]
        log.position = records[-1].offset + 1 if records else log.high
        return records

    def _drop(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._held.pop(partition, None)
            self._logs[partition].position = None
        kept = tuple(p for p in self._change.assigned if p not in partitions)
        self._change = replace(self._change, assigned=kept)

    def _rotate(self) -> None:
        """Start the next poll with another partition, so that none starves."""
        if self._held:
            first = next(iter(self._held))
            self._held[first] = self._held.pop(first)
