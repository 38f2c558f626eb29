"""Progress: who reads a partition, how far it is, and the fence that makes every record count exactly once.

A worker that starts on a partition adds one to its epoch. Every commit names the epoch it was made under and the
offset it began at, and stores what the records led to in the transaction that moves the offset. A worker that has
been overtaken matches no row, so its whole transaction rolls back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from monitor.alerting.storable import storable_id, storable_text
from monitor.errors import DeadLetterReason, Fenced
from monitor.sources.base import Partition
from monitor.storage.strange_events import NamedEvent, name_events
from monitor.storage.tables import dead_letters, deltas, models, partitions
from monitor.storage.upsert import insert

_NEVER = -1
_LAST_SECOND = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to commit to a partition until somebody else claims it; ``next_offset`` None: never committed."""

    partition: Partition
    epoch: int
    next_offset: int | None


@dataclass(frozen=True, slots=True)
class Delta:
    """What one commit adds to one pane of one model version; ``pane_start`` and ``last_event_time`` in epoch s."""

    model: str
    version: str
    reference_id: str
    pane_start: int
    pane_s: int
    n_events: int
    last_event_time: float
    sketch: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record, or its row ``row``, that was set aside.

    Attributes:
        row: −1 is the whole record.
        value: what is kept of the record, perhaps only its beginning; None keeps nothing.
        value_bytes: length of the whole record.
    """

    offset: int
    row: int
    reason: DeadLetterReason
    message: str
    value: bytes | None
    value_bytes: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that records ``from_offset`` to ``next_offset`` (exclusive) led to.

    Attributes:
        high_offset: offset after the last record the source holds; None leaves what is stored.
        watermark: event time (epoch s) up to which this partition is complete; None leaves what is stored.
        n_events: events counted, over all deltas.
        lost: records that the source dropped before they were read.
    """

    partition: Partition
    epoch: int
    from_offset: int
    next_offset: int
    high_offset: int | None
    watermark: float | None
    n_events: int
    lost: int
    deltas: Sequence[Delta] = ()
    dead_letters: Sequence[DeadLetter] = ()
    strange: Sequence[NamedEvent] = ()


def claim(conn: sa.Connection, partition: Partition, owner: str, now: datetime) -> Claim:
    """Take the partition over: every earlier claim of it is void once this transaction commits."""
    row = {"owner": owner, "topic": partition.topic, "updated_at": now}
    statement = (
        insert(conn, partitions)
        .values(**_key(partition), **row, epoch=1, next_offset=_NEVER)
        .on_conflict_do_update(
            index_elements=list(partitions.primary_key), set_={**row, "epoch": partitions.c.epoch + 1}
        )
        .returning(partitions.c.epoch, partitions.c.next_offset)
    )
    epoch, next_offset = conn.execute(statement).one()
    return Claim(partition, epoch, None if next_offset == _NEVER else next_offset)


def commit(conn: sa.Connection, commit: Commit, now: datetime) -> None:
    """Move the offset and store what its records led to.

    Raises:
        Fenced: somebody else has claimed the partition, or committed these records, since. Let it leave the
            transaction's block, so that nothing of the commit stays.
    """
    _move_offset(conn, commit, now)
    if commit.deltas:
        conn.execute(sa.insert(deltas), [_delta_row(delta, now) for delta in commit.deltas])
    if commit.dead_letters:
        rows = [_dead_letter_row(commit.partition, letter, now) for letter in commit.dead_letters]
        conn.execute(sa.insert(dead_letters), rows)
    name_events(conn, commit.strange, now)
    _count_models(conn, commit.deltas, now)


def caught_up(conn: sa.Connection, held: Claim, at: datetime) -> None:
    """Say that all the partition held at ``at`` is committed; says nothing when somebody else has claimed it."""
    c = partitions.c
    conn.execute(
        sa.update(partitions)
        .where(*(c[name] == value for name, value in _key(held.partition).items()))
        .where(c.epoch == held.epoch)
        .values(caught_up_at=at)
    )


def _move_offset(conn: sa.Connection, commit: Commit, now: datetime) -> None:
    c = partitions.c
    moved = conn.execute(
        sa.update(partitions)
        .where(*(c[name] == value for name, value in _key(commit.partition).items()))
        .where(c.epoch == commit.epoch, c.next_offset.in_((commit.from_offset, _NEVER)))
        .values(
            next_offset=commit.next_offset,
            high_offset=sa.func.coalesce(commit.high_offset, c.high_offset),
            watermark=sa.func.coalesce(commit.watermark, c.watermark),
            events_total=c.events_total + commit.n_events,
            lost_total=c.lost_total + commit.lost,
            updated_at=now,
        )
    )
    if moved.rowcount != 1:
        where = f"{commit.partition.topic}[{commit.partition.number}]"
        raise Fenced(
            f"{where} is no longer ours at offset {commit.from_offset} (epoch {commit.epoch}): "
            "another worker has it; what was read since the last commit is dropped"
        )


def _count_models(conn: sa.Connection, added: Sequence[Delta], now: datetime) -> None:
    """In order of name, so that two commits that touch the same models cannot deadlock; last, to hold them briefly."""
    events: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], float] = {}
    for delta in added:
        key = (storable_id(delta.model), storable_id(delta.version))
        events[key] = events.get(key, 0) + delta.n_events
        last[key] = max(last.get(key, delta.last_event_time), delta.last_event_time)
    if not events:
        return
    statement = insert(conn, models)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=list(models.primary_key),
        set_={
            "events_total": models.c.events_total + new.events_total,
            "last_event_at": sa.case(
                (models.c.last_event_at > new.last_event_at, models.c.last_event_at), else_=new.last_event_at
            ),
        },
    )
    rows = [_model_row(key, events[key], last[key], now) for key in sorted(events)]
    conn.execute(statement, rows)


def _key(partition: Partition) -> dict[str, Any]:
    return {
        "source": partition.source,
        "cluster_id": partition.cluster_id,
        "topic_id": partition.topic_id,
        "partition": partition.number,
    }


def _delta_row(delta: Delta, now: datetime) -> dict[str, Any]:
    return {
        "model": storable_id(delta.model),
        "version": storable_id(delta.version),
        "reference_id": delta.reference_id,
        "pane_start": int(delta.pane_start),
        "pane_s": int(delta.pane_s),
        "n_events": int(delta.n_events),
        "last_event_time": float(delta.last_event_time),
        "sketch": delta.sketch,
        "created_at": now,
    }


def _dead_letter_row(partition: Partition, letter: DeadLetter, now: datetime) -> dict[str, Any]:
    return {
        "source": partition.source,
        "topic": partition.topic,
        "partition": partition.number,
        "offset": int(letter.offset),
        "row": int(letter.row),
        "reason": letter.reason.value,
        "message": storable_text(letter.message),
        "value": letter.value,
        "value_bytes": int(letter.value_bytes),
        "created_at": now,
    }


def _model_row(key: tuple[str, str], n_events: int, last_event_time: float, now: datetime) -> dict[str, Any]:
    return {
        "model": key[0],
        "version": key[1],
        "first_seen_at": now,
        "last_event_at": datetime.fromtimestamp(min(max(last_event_time, 0.0), _LAST_SECOND), UTC),
        "events_total": int(n_events),
    }
