from __future__ import annotations

from collections.abc import Sequence

import pytest

from monitor.errors import TransientError
from monitor.sources.base import Assignment, Bounds, Partition, Record, Source
from monitor.sources.memory import MemorySource
from tests.monitor.sources.contract import (
    Append,
    Fill,
    FiniteContract,
    GrowingContract,
    PartitionedContract,
    SourceContract,
    numbers,
    values,
)

A, B = Partition("memory", "t", 0), Partition("memory", "t", 1)


@pytest.fixture
def fill() -> Fill:
    return MemorySource.of


@pytest.fixture
def append() -> Append:
    def add(source: Source, more: Sequence[bytes]) -> None:
        assert isinstance(source, MemorySource)
        partition = Partition("memory", "memory", 0)
        for value in more:
            source.append(Record(partition, source.bounds(partition).high, value))

    return add


class TestMemorySource(SourceContract, PartitionedContract, GrowingContract, FiniteContract):
    """The memory source keeps every contract."""


def _filled(*partitions: Partition) -> MemorySource:
    return MemorySource(Record(p, offset, v) for p in partitions for offset, v in enumerate(values(4)))


def test_revoked_and_lost_partitions_are_told_once_and_deliver_nothing_more() -> None:
    source = _filled(A, B)
    source.assignment()
    source.seek(A, 0)
    source.seek(B, 0)
    source.revoke(A)
    source.lose(B)
    assert source.assignment() == Assignment(revoked=(A,), lost=(B,))
    assert source.assignment() == Assignment()
    assert not source.poll(0.0, 10)


def test_a_partition_given_again_waits_for_a_seek() -> None:
    source = _filled(A)
    source.assignment()
    source.seek(A, 0)
    source.revoke(A)
    source.assign(A)
    assert source.assignment() == Assignment(assigned=(A,), revoked=(A,))
    assert not source.poll(0.0, 10)
    source.seek(A, 2)
    assert numbers(source.poll(0.0, 10)[A]) == [2, 3]


def test_expired_records_are_gone_and_the_low_bound_says_so() -> None:
    source = _filled(A)
    source.expire(A, 3)
    assert source.bounds(A) == Bounds(3, 4)
    source.seek(A, 0)
    assert numbers(source.poll(0.0, 10)[A]) == [3]


def test_offsets_may_start_anywhere_and_have_gaps() -> None:
    source = MemorySource([Record(A, 10, b"a"), Record(A, 20, None)])
    assert source.bounds(A) == Bounds(10, 21)
    source.seek(A, 11)
    assert [record.offset for record in source.poll(0.0, 10)[A]] == [20]


def test_offsets_only_go_up() -> None:
    source = MemorySource([Record(A, 10, b"a")])
    with pytest.raises(ValueError, match="not above the last one, 10"):
        source.append(Record(A, 10, b"b"))


def test_an_interrupted_poll_fails_and_loses_nothing() -> None:
    source = _filled(A)
    source.seek(A, 0)
    source.interrupt(2)
    for _ in range(2):
        with pytest.raises(TransientError, match="interrupted"):
            source.poll(0.0, 10)
    assert numbers(source.poll(0.0, 10)[A]) == [0, 1, 2, 3]


def test_no_partition_starves_when_polls_are_small() -> None:
    source = _filled(A, B)
    source.seek(A, 0)
    source.seek(B, 0)
    seen = {partition for _ in range(2) for partition in source.poll(0.0, 1)}
    assert seen == {A, B}
