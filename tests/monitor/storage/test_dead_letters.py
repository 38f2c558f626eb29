from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.errors import DeadLetterReason
from monitor.sources.base import Partition
from monitor.storage import ingest
from monitor.storage.dead_letters import delete_dead_letters, list_dead_letters, requeue
from monitor.storage.engine import reading, transaction
from monitor.storage.progress import Commit, DeadLetter, claim, commit

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
LETTER = DeadLetter(7, -1, DeadLetterReason.MISSING_FIELD, "no model", b"{}", 2)


@pytest.fixture
def stored(engine):
    """Store dead letters; returns those in the database."""

    def store(*letters):
        with transaction(engine) as conn:
            held = claim(conn, Partition("kafka", "events", 2), "w", NOW)
            commit(conn, Commit(held.partition, held.epoch, 0, 9, None, None, 0, 0, (), letters), NOW)
            return list_dead_letters(conn, limit=1_000)

    return store


def _queued(engine):
    with reading(engine) as conn:
        return [(value, at) for _, value, at in ingest.read_from(conn, 0, 5_000)]


def test_dead_letters_are_listed_by_id_in_pages(engine, stored):
    stored(*(replace(LETTER, offset=i) for i in range(5)))
    with reading(engine) as conn:
        first = list_dead_letters(conn, limit=3)
        rest = list_dead_letters(conn, after=first[-1].id, limit=3)
    assert [letter.offset for letter in [*first, *rest]] == [0, 1, 2, 3, 4]
    assert (first[0].source, first[0].topic, first[0].partition, first[0].row) == ("kafka", "events", 2, -1)
    assert (first[0].reason, first[0].message) == (DeadLetterReason.MISSING_FIELD, "no model")
    assert (first[0].value, first[0].value_bytes, first[0].created_at) == (b"{}", 2, NOW)


def test_a_retried_record_moves_to_the_queue(engine, stored):
    first, second, third = stored(LETTER, replace(LETTER, value=b"[]"), LETTER)
    with transaction(engine) as conn:
        assert requeue(conn, [second.id, first.id, second.id, 999], LATER) == 2
        assert list_dead_letters(conn) == [third]
    assert _queued(engine) == [(b"{}", LATER), (b"[]", LATER)]


@pytest.mark.parametrize(
    "letter",
    [
        replace(LETTER, value_bytes=3),
        replace(LETTER, value=None),
        replace(LETTER, value=b"", value_bytes=5),
        replace(LETTER, value=b"", value_bytes=0),
        replace(LETTER, row=4),
    ],
    ids=["cut", "not kept", "kept nothing of it", "empty", "one event of a record whose others counted"],
)
def test_what_cannot_be_read_again_whole_stays(engine, stored, letter):
    (kept,) = stored(letter)
    with transaction(engine) as conn:
        assert requeue(conn, [kept.id], LATER) == 0
        assert list_dead_letters(conn) == [kept]
    assert _queued(engine) == []


def test_a_record_that_was_also_set_aside_row_by_row_stays(engine, stored):
    """Its other rows were counted; the same offset of another record does not matter."""
    rest, _, other = stored(replace(LETTER, message="9 more rows"), replace(LETTER, row=3), replace(LETTER, offset=8))
    with transaction(engine) as conn:
        assert requeue(conn, [rest.id, other.id], LATER) == 1
        assert [letter.row for letter in list_dead_letters(conn)] == [-1, 3]


def test_a_retry_that_fails_half_way_leaves_everything(engine, stored):
    (kept,) = stored(LETTER)
    with engine.connect() as conn:
        assert requeue(conn, [kept.id], LATER) == 1
        conn.rollback()
    with reading(engine) as conn:
        assert list_dead_letters(conn) == [kept]
    assert _queued(engine) == []


def test_thousands_are_retried_and_deleted_at_once(engine, stored):
    ids = [1 + i for i in range(2_500)]
    stored(*[LETTER] * 2_100, *[replace(LETTER, offset=8, row=0)] * 200)
    with transaction(engine) as conn:
        assert requeue(conn, ids, LATER) == 2_100
        assert delete_dead_letters(conn, ids) == 200
        assert delete_dead_letters(conn, []) == 0
        assert list_dead_letters(conn) == []
    assert len(_queued(engine)) == 2_100
