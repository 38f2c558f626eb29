"""Answers that wait for their label, and labels that overtook their answer: joined once, whoever brings the other half.

A row is one event id of one model. Either half creates it, the other completes it; the statement that does so gets the
whole row back, in the transaction that moves the offset, so whoever is rolled back has joined nothing. A complete row
stays until it expires: further answers and labels of the same id meet it, and change nothing.

An event id names one answer, so the label's version does not matter: the answer's does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from monitor.alerting.storable import storable_id
from monitor.storage.tables import waiting_labels
from monitor.storage.upsert import insert

Item = TypeVar("Item")
FULL = 64
"""The level at which no new row is made."""
_IN_ONE_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class Half:
    """An answer, a label, or both of one event id.

    Attributes:
        version: of the model that answered; None without an answer.
        answer, label: category, or a number as text; None where this half is missing.
        confidence: probability that the answer was given; None where none was logged.
        answered_at, labelled_at: event time in epoch seconds.
    """

    model: str
    event_id: str
    version: str | None = None
    answer: str | None = None
    confidence: float | None = None
    answered_at: float | None = None
    label: str | None = None
    labelled_at: float | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """An answer and its label; times in epoch seconds of event time."""

    model: str
    version: str
    event_id: str
    answer: str
    confidence: float | None
    answered_at: float
    label: str
    labelled_at: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of halves: ``pairs`` are complete since now; ``repeated`` labels were for answers that had one."""

    pairs: Sequence[Pair] = ()
    repeated: int = 0
    crowded_out: int = 0


def settle(conn: sa.Connection, halves: Iterable[Half], level: int, expires_at: datetime) -> Settled:
    """Store halves that wait, and return the pairs that they complete.

    Two statements a thousand halves at most, in order of their keys, so that two workers cannot deadlock.

    Args:
        level: new rows are made for one event id in ``2 ** level`` alone, chosen by a hash, so that both halves are
            chosen alike; halves of rows that are there already always count.
        expires_at: wall clock at which rows made now may be forgotten.
    """
    given = list(halves)
    merged = _merged(given)
    kept = [half for half in merged if _is_kept(half.event_id, level)]
    if len(kept) < len(merged):
        known = _known(conn, merged)
        kept = [half for half in merged if _is_kept(half.event_id, level) or (half.model, half.event_id) in known]
    kept.sort(key=lambda half: (half.model, half.event_id))
    changed = [row for chunk in _chunks(kept) for row in _upsert(conn, chunk, expires_at)]
    pairs = [_pair(row) for row in changed if row.answer is not None and row.label is not None]
    taken = {(row.model, row.event_id) for row in changed if row.label is not None}
    accepted = [half for half in kept if half.label is not None and (half.model, half.event_id) in taken]
    crowded_labels = _n_labels(merged) - _n_labels(kept)
    return Settled(pairs, _n_labels(given) - len(accepted) - crowded_labels, len(merged) - len(kept))


def count_waiting(conn: sa.Connection, model: str, at_most: int) -> int:
    """Rows of a model, counted up to ``at_most``."""
    some = sa.select(sa.literal(1)).where(waiting_labels.c.model == storable_id(model)).limit(at_most).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def prune_waiting_labels(conn: sa.Connection, now: datetime, limit: int) -> int:
    """Forget rows that have expired, but none that a worker has in hand; returns how many, at most ``limit``."""
    c = waiting_labels.c
    chosen = sa.select(c.model, c.event_id).where(c.expires_at < now).limit(limit).with_for_update(skip_locked=True)
    if conn.dialect.name == "sqlite":
        return conn.execute(sa.delete(waiting_labels).where(sa.tuple_(c.model, c.event_id).in_(chosen))).rowcount
    expired = chosen.cte("expired")
    where = sa.and_(c.model == expired.c.model, c.event_id == expired.c.event_id)
    return conn.execute(sa.delete(waiting_labels).where(where)).rowcount


def _merged(halves: Iterable[Half]) -> list[Half]:
    """One half, or pair, for each event id: the first answer and the first label of each."""
    merged: dict[tuple[str, str], Half] = {}
    for half in halves:
        key = (storable_id(half.model), storable_id(half.event_id))
        known = merged.get(key)
        if known is None:
            merged[key] = replace(half, model=key[0], event_id=key[1])
            continue
        if known.answer is None and half.answer is not None:
            known = replace(
                known,
                version=half.version,
                answer=half.answer,
                confidence=half.confidence,
                answered_at=half.answered_at,
            )
        if known.label is None and half.label is not None:
            known = replace(known, label=half.label, labelled_at=half.labelled_at)
        merged[key] = known
    return list(merged.values())


def _is_kept(event_id: str, level: int) -> bool:
    digest = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return level < FULL and int.from_bytes(digest, "big") % (1 << level) == 0


def _n_labels(halves: Sequence[Half]) -> int:
    return sum(half.label is not None for half in halves)


def _known(conn: sa.Connection, halves: Sequence[Half]) -> set[tuple[str, str]]:
    """The keys of ``halves`` that have a row."""
    c = waiting_labels.c
    found: set[tuple[str, str]] = set()
    for model in sorted({half.model for half in halves}):
        for chunk in _chunks([half.event_id for half in halves if half.model == model]):
            rows = conn.scalars(sa.select(c.event_id).where(c.model == model, c.event_id.in_(chunk)))
            found.update((model, event_id) for event_id in rows)
    return found


def _upsert(conn: sa.Connection, halves: Sequence[Half], expires_at: datetime) -> Sequence[sa.Row[Any]]:
    """Insert or complete rows; returns those that changed, as they are now."""
    c = waiting_labels.c
    statement = insert(conn, waiting_labels)
    new = statement.excluded
    answers = sa.and_(c.answer.is_(None), new.answer.is_not(None))
    labels = sa.and_(c.label.is_(None), new.label.is_not(None))
    of_answer = {
        name: sa.case((answers, new[name]), else_=c[name])
        for name in ("version", "answer", "confidence", "answered_at")
    }
    of_label = {name: sa.case((labels, new[name]), else_=c[name]) for name in ("label", "labelled_at")}
    statement = statement.on_conflict_do_update(
        index_elements=list(waiting_labels.primary_key),
        set_={**of_answer, **of_label},
        where=sa.or_(answers, labels),
    )
    rows = [_row(half, expires_at) for half in halves]
    return conn.execute(statement.returning(*(column for column in c if column.name != "expires_at")), rows).all()


def _row(half: Half, expires_at: datetime) -> dict[str, Any]:
    return {
        "model": half.model,
        "event_id": half.event_id,
        "version": None if half.version is None else storable_id(half.version),
        "answer": None if half.answer is None else storable_id(half.answer),
        "confidence": half.confidence,
        "answered_at": half.answered_at,
        "label": None if half.label is None else storable_id(half.label),
        "labelled_at": half.labelled_at,
        "expires_at": expires_at,
    }


def _pair(row: sa.Row[Any]) -> Pair:
    return Pair(**row._mapping)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[i : i + _IN_ONE_STATEMENT] for i in range(0, len(items), _IN_ONE_STATEMENT))
