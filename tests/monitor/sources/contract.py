"""What every source promises, as test classes to inherit from.

A test module names its source once, as a fixture ``fill`` that puts values into as many partitions as it is given
lists, and inherits the classes that apply: ``SourceContract`` always, ``PartitionedContract`` where there may be
several partitions, ``GrowingContract`` where a log grows while it is read (with a fixture ``append``), and
``FiniteContract`` where it ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import cast

from monitor.sources.base import Assignment, FiniteSource, Partition, Record, Source

DEADLINE_S = 60.0
Fill = Callable[..., Source]
"""``fill(values, values, …)``: a fresh source, one partition per list of values."""
Append = Callable[[Source, Sequence[bytes]], None]
"""Adds values to the first partition of a source that ``fill`` made."""


def values(n: int, first: int = 0) -> list[bytes]:
    """Native events that tell their own number."""
    return [json.dumps({"model": "m", "label": i}).encode() for i in range(first, first + n)]


def numbers(records: Sequence[Record]) -> list[int]:
    return [int(json.loads(record.value or b"")["label"]) for record in records]


def join(source: Source, n: int = 1) -> tuple[Partition, ...]:
    """The partitions assigned, in order of number, once there are ``n``."""
    found: list[Partition] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < n:
        assert time.monotonic() < deadline, f"{len(found)} of {n} partitions assigned"
        found += source.assignment().assigned
        if len(found) < n:
            assert not source.poll(0.1, 1)
    return tuple(sorted(found))


def read(source: Source, n: int, max_records: int = 1_000) -> list[Record]:
    """The next ``n`` records."""
    found: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < n:
        assert time.monotonic() < deadline, f"{len(found)} of {n} records delivered"
        source.assignment()
        for records in source.poll(0.1, max_records).values():
            found += records
    return found


class SourceContract:
    """Facts about any source."""

    def test_partitions_are_assigned_once(self, fill: Fill) -> None:
        source = fill(values(1))
        assert len(join(source)) == 1
        assert source.assignment() == Assignment()
        source.close()

    def test_nothing_is_delivered_before_the_first_seek(self, fill: Fill) -> None:
        source = fill(values(3))
        join(source)
        assert not source.poll(0.0, 10)
        source.close()

    def test_bounds_hold_every_record(self, fill: Fill) -> None:
        source = fill(values(5))
        (partition,) = join(source)
        bounds = source.bounds(partition)
        source.seek(partition, bounds.low)
        offsets = [record.offset for record in read(source, 5)]
        assert (bounds.low, bounds.high) == (offsets[0], offsets[-1] + 1)
        source.close()

    def test_records_come_in_order_with_their_position(self, fill: Fill) -> None:
        source = fill(values(20))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).low)
        records = read(source, 20)
        assert numbers(records) == list(range(20))
        assert {record.partition for record in records} == {partition}
        assert [record.offset for record in records] == sorted({record.offset for record in records})
        source.close()

    def test_one_poll_gives_at_most_what_was_asked_for(self, fill: Fill) -> None:
        source = fill(values(10))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).low)
        found: list[Record] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < 10 and time.monotonic() < deadline:
            source.assignment()
            polled = [record for records in source.poll(0.1, 3).values() for record in records]
            assert len(polled) <= 3
            found += polled
        assert numbers(found) == list(range(10))
        source.close()

    def test_seek_goes_forward_and_back(self, fill: Fill) -> None:
        source = fill(values(10))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).low)
        offsets = [record.offset for record in read(source, 10)]
        source.seek(partition, offsets[7])
        assert numbers(read(source, 3)) == [7, 8, 9]
        source.seek(partition, offsets[2])
        assert numbers(read(source, 8)) == list(range(2, 10))
        source.close()

    def test_seek_takes_effect_in_the_middle_of_reading(self, fill: Fill) -> None:
        source = fill(values(10))
        (partition,) = join(source)
        low = source.bounds(partition).low
        source.seek(partition, low)
        assert numbers(read(source, 2, max_records=2)) == [0, 1]
        source.seek(partition, low)
        assert numbers(read(source, 10)) == list(range(10))
        source.close()

    def test_nothing_comes_after_the_end(self, fill: Fill) -> None:
        source = fill(values(3))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).high)
        assert not source.poll(0.0, 10)
        source.close()

    def test_mirrored_offsets_do_not_move_what_is_delivered(self, fill: Fill) -> None:
        source = fill(values(6))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).low)
        first = read(source, 3, max_records=3)
        source.mirror({partition: first[-1].offset + 1})
        assert numbers(read(source, 3)) == [3, 4, 5]
        source.close()

    def test_an_empty_poll_returns_within_its_timeout(self, fill: Fill) -> None:
        source = fill(values(1))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).high)
        started = time.monotonic()
        assert not source.poll(0.2, 10)
        assert time.monotonic() - started < 5
        source.close()

    def test_close_returns_in_time(self, fill: Fill) -> None:
        source = fill(values(1))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).low)
        started = time.monotonic()
        source.close()
        assert time.monotonic() - started < 10


class PartitionedContract:
    """Facts about a source with several partitions."""

    def test_each_partition_has_its_own_order(self, fill: Fill) -> None:
        source = fill(values(5), values(4, first=100))
        partitions = join(source, 2)
        for partition in partitions:
            source.seek(partition, source.bounds(partition).low)
        records = read(source, 9)
        by_partition = [[r for r in records if r.partition == partition] for partition in partitions]
        assert [numbers(found) for found in by_partition] == [[0, 1, 2, 3, 4], [100, 101, 102, 103]]
        source.close()

    def test_seeking_one_partition_leaves_the_other(self, fill: Fill) -> None:
        source = fill(values(5), values(4, first=100))
        first, second = join(source, 2)
        low = source.bounds(first).low
        source.seek(first, low)
        assert numbers(read(source, 5)) == [0, 1, 2, 3, 4]
        source.seek(second, source.bounds(second).low)
        assert numbers(read(source, 4)) == [100, 101, 102, 103]
        source.close()


class GrowingContract:
    """Facts about a log that grows while it is read."""

    def test_later_records_are_delivered(self, fill: Fill, append: Append) -> None:
        source = fill(values(2))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).low)
        assert numbers(read(source, 2)) == [0, 1]
        assert not source.poll(0.0, 10)
        append(source, values(3, first=2))
        assert numbers(read(source, 3)) == [2, 3, 4]
        source.close()

    def test_bounds_grow(self, fill: Fill, append: Append) -> None:
        source = fill(values(2))
        (partition,) = join(source)
        before = source.bounds(partition)
        append(source, values(3, first=2))
        after = source.bounds(partition)
        assert after.low == before.low
        assert after.high >= before.high + 3
        source.close()


class FiniteContract:
    """Facts about a source that ends."""

    def test_it_is_exhausted_when_all_is_delivered_and_not_before(self, fill: Fill) -> None:
        source = cast("FiniteSource", fill(values(4), values(2, first=4)))
        assert not source.exhausted()
        for partition in join(source, 2):
            source.seek(partition, source.bounds(partition).low)
        found: list[Record] = []
        polls = 0
        while not source.exhausted():
            assert polls < 20
            polls += 1
            for records in source.poll(0.0, 3).values():
                found += records
        assert sorted(numbers(found)) == list(range(6))
        source.close()

    def test_seeking_back_makes_it_unexhausted(self, fill: Fill) -> None:
        source = cast("FiniteSource", fill(values(4)))
        (partition,) = join(source)
        source.seek(partition, source.bounds(partition).high)
        source.poll(0.0, 1)
        assert source.exhausted()
        source.seek(partition, source.bounds(partition).low)
        assert not source.exhausted()
        assert numbers(read(source, 4)) == [0, 1, 2, 3]
        source.close()
