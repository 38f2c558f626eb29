import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from detectors.sketch import Sketch
from monitor.errors import DeadLetterReason, Fenced
from monitor.sources.base import Partition
from monitor.storage.engine import create_engine, reading, transaction
from monitor.storage.judging import load_deltas
from monitor.storage.progress import Commit, DeadLetter, Delta, claim, commit
from monitor.storage.tables import dead_letters, deltas, models, partitions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTITION = Partition("kafka", "events", 3, "cluster", "topic-id")
DELTA = Delta("m", "1", "r", 1_000, 10, 5, 1_007.5, Sketch({"n": np.array([5])}).to_bytes())
LETTER = DeadLetter(12, -1, DeadLetterReason.UNDECODABLE, "no JSON", b"{", 1)
COMMIT = Commit(PARTITION, 1, 10, 20, 25, 1_005.0, 5, 0, (DELTA,), (LETTER,))


def _claim(engine, partition=PARTITION, owner="a", now=NOW):
    with transaction(engine) as conn:
        return claim(conn, partition, owner, now)


def _commit(engine, what, now=NOW):
    with transaction(engine) as conn:
        commit(conn, what, now)


def _rows(engine, table):
    with reading(engine) as conn:
        return conn.execute(sa.select(table)).all()


def test_every_claim_raises_the_epoch_and_a_new_partition_has_no_offset(engine):
    assert [_claim(engine).epoch for _ in range(3)] == [1, 2, 3]
    assert _claim(engine).next_offset is None


def test_a_claim_after_a_commit_starts_where_the_commit_ended(engine):
    _claim(engine)
    _commit(engine, COMMIT)
    taken = _claim(engine, owner="b")
    assert (taken.epoch, taken.next_offset) == (2, 20)
    assert _rows(engine, partitions)[0].owner == "b"


def test_a_recreated_topic_is_another_partition(engine):
    _claim(engine)
    _commit(engine, COMMIT)
    assert _claim(engine, replace(PARTITION, topic_id="another")).next_offset is None


def test_a_commit_stores_what_its_records_led_to(engine):
    _claim(engine)
    _commit(engine, COMMIT)
    (row,) = _rows(engine, partitions)
    assert (row.next_offset, row.high_offset, row.watermark, row.events_total) == (20, 25, 1_005.0, 5)
    assert (row.topic, row.updated_at, row.lost_total) == ("events", NOW, 0)
    with reading(engine) as conn:
        (delta,) = load_deltas(conn, "m", "1", 10)
    assert Delta(*(getattr(delta, name) for name in Delta.__slots__)) == DELTA
    (letter,) = _rows(engine, dead_letters)
    assert (letter.topic, letter.partition, letter.offset, letter.row) == ("events", 3, 12, -1)
    assert (letter.reason, letter.message, letter.value, letter.value_bytes) == ("undecodable", "no JSON", b"{", 1)


def test_what_is_unknown_leaves_what_was_known_and_losses_add_up(engine):
    _claim(engine)
    _commit(engine, COMMIT)
    for start, lost in ((20, 3), (21, 4)):
        _commit(engine, Commit(PARTITION, 1, start, start + 1, None, None, 0, lost))
    (row,) = _rows(engine, partitions)
    assert (row.high_offset, row.watermark, row.lost_total, row.next_offset) == (25, 1_005.0, 7, 22)


def test_models_count_their_events_over_commits(engine):
    _claim(engine)
    other = replace(DELTA, version="2", n_events=1)
    _commit(engine, replace(COMMIT, deltas=(DELTA, other, replace(DELTA, pane_start=1_010, last_event_time=1_011.0))))
    later = NOW + timedelta(seconds=1)
    _commit(engine, Commit(PARTITION, 1, 20, 30, None, None, 5, 0, (replace(DELTA, last_event_time=900.0),)), later)
    rows = {row.version: row for row in _rows(engine, models)}
    assert {version: row.events_total for version, row in rows.items()} == {"1": 15, "2": 1}
    assert rows["1"].last_event_at == datetime.fromtimestamp(1_011, UTC)
    assert rows["1"].first_seen_at == NOW


@pytest.mark.parametrize(
    "stale",
    [replace(COMMIT, epoch=1, from_offset=20, next_offset=30), replace(COMMIT, epoch=2), replace(COMMIT, epoch=3)],
    ids=["overtaken", "committed already", "never claimed"],
)
def test_a_commit_that_is_not_next_is_fenced_and_leaves_nothing(engine, stale):
    _claim(engine)
    _commit(engine, COMMIT)
    _claim(engine, owner="b")
    with pytest.raises(Fenced, match=r"events\[3\] is no longer ours"):
        _commit(engine, stale)
    assert [len(_rows(engine, table)) for table in (deltas, dead_letters)] == [1, 1]
    assert [row.next_offset for row in _rows(engine, partitions)] == [20]
    assert [row.events_total for row in _rows(engine, models)] == [5]


def test_a_commit_to_a_partition_nobody_claimed_is_fenced(engine):
    with pytest.raises(Fenced):
        _commit(engine, COMMIT)


def test_names_that_no_database_takes_do_not_stop_a_partition(engine):
    _claim(engine)
    odd = replace(DELTA, model="m\x00\ud800" + "x" * 5_000)
    letter = replace(LETTER, message="bad \x00 byte")
    _commit(engine, replace(COMMIT, deltas=(odd, odd, replace(odd, last_event_time=1e18)), dead_letters=(letter,)))
    (row,) = _rows(engine, models)
    assert (row.events_total, len(row.model)) == (15, 256)
    assert {delta.model for delta in _rows(engine, deltas)} == {row.model}


def test_numpy_numbers_are_stored_as_numbers(engine):
    _claim(engine)
    delta = replace(DELTA, pane_start=np.int64(1_000), n_events=np.int64(5), last_event_time=np.float64(1_007.5))
    _commit(engine, replace(COMMIT, deltas=(delta,)))
    (row,) = _rows(engine, deltas)
    assert (row.pane_start, row.n_events, row.last_event_time) == (1_000, 5, 1_007.5)


class _Writer(threading.Thread):
    """Claims, reads on from the committed offset and commits, until the log ends; an overtaken one starts anew.

    At the first claim it waits until all have claimed, so that at least all but one are overtaken.
    """

    def __init__(self, engine, seed, n_records, all_claimed):
        super().__init__()
        self.all_claimed = all_claimed
        self.engine, self.random, self.n_records = engine, random.Random(seed), n_records
        self.claims, self.refused, self.failure = 0, 0, None

    def run(self):
        try:
            while self._work():
                pass
        except Exception as error:
            self.failure = error

    def _work(self):
        claimed = _claim(self.engine, owner=self.name)
        self.claims += 1
        if self.claims == 1:
            self.all_claimed.wait(30)
        offset = claimed.next_offset or 0
        try:
            for _ in range(self.random.randint(1, 4)):
                if offset >= self.n_records:
                    return False
                until = min(offset + self.random.randint(1, 50), self.n_records)
                one_each = tuple(replace(DELTA, pane_start=i, n_events=1) for i in range(offset, until))
                letters = tuple(replace(LETTER, offset=i) for i in range(offset, until) if i % 10 == 0)
                count = until - offset
                _commit(
                    self.engine,
                    Commit(PARTITION, claimed.epoch, offset, until, self.n_records, None, count, 0, one_each, letters),
                )
                offset = until
        except Fenced:
            self.refused += 1
        return True


def test_four_writers_fighting_over_a_partition_store_every_record_once(database_url, record_property):
    n_records = 2_500
    engine = create_engine(database_url, role="worker")
    all_claimed = threading.Barrier(4)
    writers = [_Writer(engine, seed, n_records, all_claimed) for seed in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stored = sorted(row.pane_start for row in _rows(engine, deltas))
    set_aside = sorted(row.offset for row in _rows(engine, dead_letters))
    (progress,) = _rows(engine, partitions)
    (model,) = _rows(engine, models)
    engine.dispose()
    refused = sum(writer.refused for writer in writers)
    record_property("refused_batches", refused)
    assert [writer.failure for writer in writers] == [None] * 4
    assert stored == list(range(n_records))
    assert set_aside == list(range(0, n_records, 10))
    assert (progress.events_total, progress.next_offset, model.events_total) == (n_records, n_records, n_records)
    assert progress.epoch == sum(writer.claims for writer in writers)
    assert refused >= 3
    print(f"{progress.epoch} claims, {refused} refused batches, {n_records} records stored once each")


@pytest.mark.parametrize("broken_after", ["offset", "deltas", "dead letters"])
def test_a_crash_at_any_point_of_a_commit_leaves_the_log_to_be_read_again(engine, broken_after):
    """The transaction dies after each write in turn; a new owner reads the same records and all count once."""
    tables = {"offset": "UPDATE partitions", "deltas": "INSERT INTO deltas", "dead letters": "INSERT INTO dead_letters"}

    def crash(conn, cursor, statement, parameters, context, executemany):
        if statement.startswith(tables[broken_after]):
            raise ConnectionError("killed")

    _claim(engine)
    sa.event.listen(engine, "after_cursor_execute", crash)
    with pytest.raises(ConnectionError, match="killed"):
        _commit(engine, COMMIT)
    sa.event.remove(engine, "after_cursor_execute", crash)
    taken = _claim(engine, owner="b")
    assert taken.next_offset is None
    _commit(engine, replace(COMMIT, epoch=taken.epoch))
    assert [len(_rows(engine, table)) for table in (deltas, dead_letters, models)] == [1, 1, 1]
