from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.errors import TransientError
from monitor.sources.base import Bounds, Source
from monitor.sources.http import PARTITION, QueueSource
from monitor.storage import ingest
from monitor.storage.engine import create_engine, transaction
from tests.monitor.sources.contract import Append, Fill, GrowingContract, SourceContract, numbers, read, values

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(database_url, role="test")
    yield engine
    engine.dispose()


def _post(engine: sa.Engine, more: Sequence[bytes], now: datetime = NOW) -> None:
    with transaction(engine) as conn:
        ingest.append(conn, more, now)


@pytest.fixture
def fill(engine: sa.Engine) -> Fill:
    def make(log: Sequence[bytes]) -> QueueSource:
        _post(engine, log)
        return QueueSource(engine, lambda: NOW, keep_records=0)

    return make


@pytest.fixture
def append(engine: sa.Engine) -> Append:
    def add(_source: Source, more: Sequence[bytes]) -> None:
        _post(engine, more)

    return add


class TestQueueSource(SourceContract, GrowingContract):
    """The ingest queue keeps the contracts of a source with one growing partition."""


def test_what_was_mirrored_is_deleted_except_for_what_is_kept(engine: sa.Engine) -> None:
    _post(engine, values(10))
    source = QueueSource(engine, lambda: NOW, keep_records=2)
    low = source.bounds(PARTITION).low
    source.seek(PARTITION, low)
    records = read(source, 10)
    source.mirror({PARTITION: records[6].offset})
    assert source.bounds(PARTITION) == Bounds(records[4].offset, records[-1].offset + 1)
    source.seek(PARTITION, low)
    assert numbers(read(source, 6)) == [4, 5, 6, 7, 8, 9]


def test_offsets_go_on_when_all_was_read_and_mirrored(engine: sa.Engine) -> None:
    _post(engine, values(3))
    source = QueueSource(engine, lambda: NOW, keep_records=0)
    high = source.bounds(PARTITION).high
    source.mirror({PARTITION: high})
    bounds = source.bounds(PARTITION)
    assert bounds.low <= high == bounds.high
    source.seek(PARTITION, high)
    _post(engine, values(1, first=3))
    (record,) = source.poll(0.0, 10)[PARTITION]
    assert record.offset >= high


def test_a_record_has_the_time_it_was_received_and_never_a_later_one_than_now(engine: sa.Engine) -> None:
    _post(engine, values(1), NOW - timedelta(seconds=90))
    _post(engine, values(1), NOW + timedelta(hours=1))
    source = QueueSource(engine, lambda: NOW)
    source.seek(PARTITION, source.bounds(PARTITION).low)
    assert [record.timestamp for record in read(source, 2)] == [NOW.timestamp() - 90, NOW.timestamp()]


def test_a_poll_waits_for_a_record_that_comes(engine: sa.Engine) -> None:
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        _post(engine, values(1))

    source = QueueSource(engine, lambda: NOW, pause=pause)
    source.seek(PARTITION, 0)
    assert numbers(source.poll(30.0, 10)[PARTITION]) == [0]
    assert len(waited) == 1


@pytest.mark.parametrize("how", ["assignment", "mirror"])
def test_assignment_and_needless_mirroring_touch_no_database(how: str, tmp_path: Path) -> None:
    source = QueueSource(create_engine(f"sqlite:///{tmp_path / 'none.sqlite3'}", role="test"), lambda: NOW)
    if how == "assignment":
        assert source.assignment().assigned == (PARTITION,)
    else:
        source.mirror({PARTITION: 5})
    assert not (tmp_path / "none.sqlite3").exists()


def test_mirroring_is_best_effort_while_the_database_is_away(engine: sa.Engine) -> None:
    _post(engine, values(3))
    source = QueueSource(engine, lambda: NOW, keep_records=0)
    high = source.bounds(PARTITION).high
    away = create_engine("postgresql://nobody@127.0.0.1:1/none", role="test")
    broken = QueueSource(away, lambda: NOW, keep_records=0)
    broken.mirror({PARTITION: high})
    broken.seek(PARTITION, 0)
    with pytest.raises(TransientError, match="PostgreSQL database none"):
        broken.poll(0.0, 1)
    source.mirror({PARTITION: high})
    assert source.bounds(PARTITION).low == high - 1
