"""``vedette dlq``: list and retry, on SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from monitor.errors import DeadLetterReason
from monitor.sources.base import Partition
from monitor.storage import ingest
from monitor.storage.engine import create_engine, reading, transaction
from monitor.storage.progress import Commit, DeadLetter, claim, commit

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WHOLE = DeadLetter(7, -1, DeadLetterReason.MISSING_FIELD, "no model\x1b[2J", b'{"features": {}}', 16)
CUT = DeadLetter(8, -1, DeadLetterReason.UNDECODABLE, "not JSON", b"xx", 900_000)


@pytest.fixture
def engine(database: str) -> Iterator[sa.Engine]:
    """Holds two dead letters: 1 was kept whole, 2 was cut."""
    made = create_engine(database, "test")
    with transaction(made) as connection:
        held = claim(connection, Partition("kafka", "events", 2), "worker", NOW)
        commit(connection, Commit(held.partition, held.epoch, 0, 9, None, None, 0, 0, (), [WHOLE, CUT]), NOW)
    yield made
    made.dispose()


def test_dead_letters_are_listed_with_position_and_reason(vedette, engine: sa.Engine) -> None:
    found = json.loads(vedette("dlq", "list", "--json").stdout)
    assert found[0] == {
        "id": 1,
        "topic": "events",
        "partition": 2,
        "offset": 7,
        "row": -1,
        "reason": "missing_field",
        "message": "no model\x1b[2J",
        "value_bytes": 16,
        "retriable": True,
    }
    assert [(letter["id"], letter["retriable"]) for letter in found] == [(1, True), (2, False)]


def test_the_table_is_harmless_and_whole(vedette, engine: sa.Engine) -> None:
    header, first, second = vedette("dlq", "list").stdout.splitlines()
    assert header.split() == ["id", "position", "reason", "message", "bytes", "retriable"]
    assert first.split() == ["1", "events-2-7", "missing_field", "no", "model\\x1b[2J", "16", "yes"]
    assert second.split() == ["2", "events-2-8", "undecodable", "not", "JSON", "900,000", "no"]


def test_the_list_goes_on_where_it_ended(vedette, engine: sa.Engine) -> None:
    assert [x["id"] for x in json.loads(vedette("dlq", "list", "--json", "--limit", 1).stdout)] == [1]
    assert [x["id"] for x in json.loads(vedette("dlq", "list", "--json", "--after", 1).stdout)] == [2]
    assert json.loads(vedette("dlq", "list", "--json", "--after", 2).stdout) == []


def test_a_whole_record_is_queued_again_once(vedette, engine: sa.Engine) -> None:
    assert vedette("dlq", "retry", 1, 1).stderr == "1 of 1 records queued again.\n"
    with reading(engine) as connection:
        assert [value for _, value, _ in ingest.read_from(connection, 0, 10)] == [WHOLE.value]
    assert "0 of 1 records" in vedette("dlq", "retry", 1, exit_code=1).stderr


def test_a_record_that_cannot_be_read_again_is_told_of(vedette, engine: sa.Engine) -> None:
    shown = vedette("dlq", "retry", 1, 2, 99, exit_code=1)
    assert "1 of 3 records queued again." in shown.stderr
    assert "not kept whole" in shown.stderr
    assert [x["id"] for x in json.loads(vedette("dlq", "list", "--json").stdout)] == [2]


@pytest.mark.parametrize("command", [("dlq", "list"), ("dlq", "retry", "1")], ids=" ".join)
def test_without_tables_the_next_step_is_named(vedette, command: tuple[str, ...]) -> None:
    assert "run `vedette migrate`" in vedette(*command, exit_code=1).stderr
