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
    def retriable(self) -> bool:
        """Whether the record can be read again: it was kept whole, and nothing of it has been counted."""
        return self.row == _WHOLE_RECORD and bool(self.value) and len(self.value or b"") == self.value_bytes


def list_dead_letters(conn: sa.Connection, after: int = 0, limit: int = 100) -> Sequence[DeadLetterRecord]:
    """At most ``limit`` dead letters with an id above ``after``, oldest first."""
    c = dead_letters.c
    return _records(conn, sa.select(dead_letters).where(c.id > after).order_by(c.id).limit(limit))


def requeue(conn: sa.Connection, ids: Sequence[int], now: datetime) -> int:
    """Move those of ``ids`` that are ``retriable`` to the end of the ingest queue; returns how many.

    The others stay: of a record that was cut nothing complete is left, and one of whose events some were counted
    would count those twice.
    """
    statement = sa.select(dead_letters).order_by(dead_letters.c.id).with_for_update(skip_locked=True)
    moved = 0
    for chunk in _chunks(ids):
        letters = [r for r in _records(conn, statement.where(dead_letters.c.id.in_(chunk))) if r.retriable]
        moved += append(conn, [letter.value for letter in letters if letter.value is not None], now)
        delete_dead_letters(conn, [letter.id for letter in letters])
    return moved


def delete_dead_letters(conn: sa.Connection, ids: Sequence[int]) -> int:
    """Forget dead letters; returns how many there were."""
    chunks = _chunks(ids)
    return sum(conn.execute(sa.delete(dead_letters).where(dead_letters.c.id.in_(chunk))).rowcount for chunk in chunks)


def _records(conn: sa.Connection, statement: sa.Select[tuple[int]]) -> list[DeadLetterRecord]:
    rows = conn.execute(statement).mappings()
    return [DeadLetterRecord(**{**row, "reason": DeadLetterReason(row["reason"])}) for row in rows]


def _chunks(ids: Sequence[int]) -> list[Sequence[int]]:
    unique = sorted(set(ids))
    return [unique[i : i + _IN_ONE_STATEMENT] for i in range(0, len(unique), _IN_ONE_STATEMENT)]
