"""Dead letters: what was set aside, and giving it another chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from monitor.errors import DeadLetterReason
from monitor.storage.ingest import append
from monitor.storage.tables import dead_letters

_IN_ONE_STATEMENT = 1_000
_WHOLE_RECORD = -1


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """A stored dead letter; ``value`` is what was kept of the record's ``value_bytes``."""

    id: int
    source: str
    topic: str
    partition: int
    offset: int
    row: int
    reason: DeadLetterReason
    message: str
    value: bytes | None
    value_bytes: int
    created_at: datetime

    @property
    def kept_whole(self) -> bool:
        """Whether it is about a whole record, all of whose bytes were kept."""
        return self.row == _WHOLE_RECORD and bool(self.value) and len(self.value or b"") == self.value_bytes

    @property
    def position(self) -> tuple[str, str, int, int]:
        """Where the record was: source, topic, partition, offset."""
        return self.source, self.topic, self.partition, self.offset


def list_dead_letters(conn: sa.Connection, after: int = 0, limit: int = 100) -> Sequence[DeadLetterRecord]:
    """At most ``limit`` dead letters with an id above ``after``, oldest first."""
    c = dead_letters.c
    return _records(conn, sa.select(dead_letters).where(c.id > after).order_by(c.id).limit(limit))


def requeue(conn: sa.Connection, ids: Sequence[int], now: datetime) -> int:
    """Move those of ``ids`` that can be read again to the end of the ingest queue; returns how many.

    The others stay: of a record that was cut nothing complete is left, and one that was set aside row by row has
    other rows that were counted and would count twice.
    """
    moved = 0
    for chunk in _chunks(ids):
        letters = retriable(conn, chunk)
        moved += append(conn, [letter.value for letter in letters if letter.value is not None], now)
        delete_dead_letters(conn, [letter.id for letter in letters])
    return moved


def retriable(conn: sa.Connection, ids: Sequence[int]) -> Sequence[DeadLetterRecord]:
    """Those of at most 1,000 ``ids`` whose record was kept whole and not read in part; locked until the commit."""
    c = dead_letters.c
    chosen = sa.select(dead_letters).where(c.id.in_(ids)).order_by(c.id).with_for_update(skip_locked=True)
    whole = [letter for letter in _records(conn, chosen) if letter.kept_whole]
    read_in_part = _set_aside_by_row(conn, [letter.offset for letter in whole])
    return [letter for letter in whole if letter.position not in read_in_part]


def delete_dead_letters(conn: sa.Connection, ids: Sequence[int]) -> int:
    """Forget dead letters; returns how many there were."""
    chunks = _chunks(ids)
    return sum(conn.execute(sa.delete(dead_letters).where(dead_letters.c.id.in_(chunk))).rowcount for chunk in chunks)


def _records(conn: sa.Connection, statement: sa.Select[tuple[int]]) -> list[DeadLetterRecord]:
    rows = conn.execute(statement).mappings()
    return [DeadLetterRecord(**{**row, "reason": DeadLetterReason(row["reason"])}) for row in rows]


def _set_aside_by_row(conn: sa.Connection, offsets: Sequence[int]) -> set[tuple[str, str, int, int]]:
    c = dead_letters.c
    by_row = sa.select(c.source, c.topic, c.partition, c.offset).where(c.row > _WHOLE_RECORD, c.offset.in_(offsets))
    return {(row.source, row.topic, row.partition, row.offset) for row in conn.execute(by_row.distinct())}


def _chunks(ids: Sequence[int]) -> list[Sequence[int]]:
    unique = sorted(set(ids))
    return [unique[i : i + _IN_ONE_STATEMENT] for i in range(0, len(unique), _IN_ONE_STATEMENT)]
