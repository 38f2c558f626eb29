"""What the judge works on: deltas to fold, panes, evidence, readings, and its claim on a model version.

On PostgreSQL the claim is an advisory lock of the transaction and not the row lock of ``models``: workers count their
events in that row, and would otherwise wait in every commit until the judge is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.base import Arrays, Reading, Subject
from detectors.sketch import Sketch, total
from monitor.alerting.storable import derived_id, storable_detail, storable_id, storable_number, storable_text
from monitor.storage.progress import Delta
from monitor.storage.tables import deltas, evidence, models, panes, partitions, readings
from monitor.storage.upsert import insert

Item = TypeVar("Item")
_IN_ONE_STATEMENT = 1_000
_IN_USE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Delay:
    """How long after the end of their pane (wall clock) a model's events come; believed ``until`` an event time."""

    seconds: float
    until: int


@dataclass(frozen=True, slots=True)
class ModelClaim:
    """The right to judge a model version until the transaction ends; ``judged_until`` in epoch s, None: never."""

    model: str
    version: str
    judged_until: int | None
    delay: Delay | None = None


@dataclass(frozen=True, slots=True)
class StillModel:
    """A model version that was judged, and of which nothing waits to be."""

    model: str
    version: str
    judged_until: int
    delay: Delay | None

    @property
    def key(self) -> tuple[str, str]:
        return self.model, self.version


@dataclass(frozen=True, slots=True)
class StoredDelta(Delta):
    id: int
    created_at: datetime


def models_with_deltas(conn: sa.Connection) -> Sequence[tuple[str, str]]:
    """Model versions that wait for a judge, by name."""
    c = deltas.c
    rows = conn.execute(sa.select(c.model, c.version).distinct().order_by(c.model, c.version))
    return [(row.model, row.version) for row in rows]


def claim_model(conn: sa.Connection, model: str, version: str) -> ModelClaim | None:
    """Claim a model version without waiting; None when another judge has it or it was never seen."""
    if conn.dialect.name == "postgresql":
        lock = sa.func.pg_try_advisory_xact_lock(_lock_key(model, version))
        if not conn.execute(sa.select(lock)).scalar_one():
            return None
    c = models.c
    row = conn.execute(
        sa.select(c.judged_until, c.delay_s, c.delay_until).where(_is(models, model, version))
    ).one_or_none()
    return None if row is None else ModelClaim(model, version, row.judged_until, _delay(row.delay_s, row.delay_until))


def load_deltas(conn: sa.Connection, model: str, version: str, limit: int) -> Sequence[StoredDelta]:
    """At most ``limit`` deltas by (pane_start, id)."""
    c = deltas.c
    statement = sa.select(deltas).where(_is(deltas, model, version)).order_by(c.pane_start, c.id).limit(limit)
    return [StoredDelta(**row) for row in conn.execute(statement).mappings()]


def delete_deltas(conn: sa.Connection, ids: Sequence[int]) -> None:
    """Forget deltas that were folded into panes."""
    for chunk in _chunks(ids):
        conn.execute(sa.delete(deltas).where(deltas.c.id.in_(chunk)))


def watermark(conn: sa.Connection, now: datetime, idle_s: float) -> float | None:
    """Event time up to which every live partition is complete; None when none has said.

    A partition is live when it was claimed or committed within ``idle_s`` before ``now``.
    """
    since = now - timedelta(seconds=idle_s)
    mark: float | None = conn.execute(
        sa.select(sa.func.min(partitions.c.watermark)).where(partitions.c.updated_at >= since)
    ).scalar_one()
    return mark


def save_pane(
    conn: sa.Connection,
    model: str,
    version: str,
    reference_id: str,
    pane_s: int,
    pane_start: int,
    n_events: int,
    sketch: bytes,
) -> None:
    """Store a pane; when it is there already, the two are added.

    Raises:
        ValueError: the sketches cannot be added, or are not sketches.
    """
    key = {
        "model": model,
        "version": version,
        "reference_id": reference_id,
        "pane_s": int(pane_s),
        "pane_start": int(pane_start),
    }
    new = insert(conn, panes).values(**key, n_events=int(n_events), sketch=sketch).on_conflict_do_nothing()
    if conn.execute(new.returning(panes.c.pane_start)).first() is not None:
        return
    same = sa.and_(*(panes.c[name] == value for name, value in key.items()))
    known = conn.execute(sa.select(panes.c.sketch).where(same).with_for_update()).scalar_one()
    both = total((Sketch.from_bytes(known), Sketch.from_bytes(sketch))).to_bytes()
    conn.execute(sa.update(panes).where(same).values(n_events=panes.c.n_events + int(n_events), sketch=both))


def load_evidence(
    conn: sa.Connection, model: str, version: str, reference_id: str, detector: str, subjects: Sequence[Subject]
) -> dict[Subject, dict[str, NDArray[np.generic]]]:
    """The evidence states of those of ``subjects`` that have one.

    Raises:
        ValueError: a state is not packed arrays.
    """
    c = evidence.c
    wanted: dict[str, dict[str, Subject]] = {}
    for subject in subjects:
        wanted.setdefault(subject.type.value, {})[storable_id(subject.id)] = subject
    states: dict[Subject, dict[str, NDArray[np.generic]]] = {}
    for type_, by_id in wanted.items():
        for ids in _chunks(list(by_id)):
            rows = conn.execute(
                sa.select(c.subject_id, c.state)
                .where(_is(evidence, model, version), c.reference_id == reference_id, c.detector == detector)
                .where(c.subject_type == type_, c.subject_id.in_(ids))
            )
            states.update({by_id[row.subject_id]: unpack_arrays(row.state) for row in rows})
    return states


def save_evidence(
    conn: sa.Connection,
    model: str,
    version: str,
    reference_id: str,
    detector: str,
    evidence_by_subject: Mapping[Subject, Arrays],
    pane_start: int,
) -> None:
    """Put the evidence states, new or not; ``pane_start`` is the pane they were judged up to."""
    shared = {"model": model, "version": version, "reference_id": reference_id, "detector": detector}
    rows = [
        {
            **shared,
            "subject_type": subject.type.value,
            "subject_id": storable_id(subject.id),
            "state": pack_arrays(arrays),
            "pane_start": int(pane_start),
        }
        for subject, arrays in sorted(evidence_by_subject.items(), key=lambda item: item[0])
    ]
    statement = insert(conn, evidence)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=list(evidence.primary_key), set_={"state": new.state, "pane_start": new.pane_start}
    )
    if rows:
        conn.execute(statement, rows)


def save_readings(
    conn: sa.Connection, model: str, version: str, pane_start: int, pane_s: int, found: Sequence[Reading]
) -> None:
    """Append readings; one that is there already (same model version, detector, subject, pane) stays as it was."""
    rows = [_reading_row(model, version, int(pane_start), int(pane_s), reading) for reading in found]
    if rows:
        conn.execute(insert(conn, readings).on_conflict_do_nothing(index_elements=[readings.c.id]), rows)


def set_judged_until(conn: sa.Connection, model: str, version: str, until: int, delay: Delay | None = None) -> None:
    """Say that panes before ``until`` (epoch s) are judged; last in the transaction, since workers wait for the row."""
    values: dict[str, Any] = {"judged_until": int(until)}
    if delay is not None:
        values.update(delay_s=delay.seconds, delay_until=delay.until)
    conn.execute(sa.update(models).where(_is(models, model, version)).values(values))


def complete_until(conn: sa.Connection, now: datetime) -> datetime | None:
    """Wall clock until which every partition in use was read to its end and committed; None when one has not said.

    A partition is in use when it was claimed, committed or caught up with in the day before ``now``.
    """
    c = partitions.c
    in_use = sa.or_(c.updated_at >= now - _IN_USE, c.caught_up_at >= now - _IN_USE)
    moments = list(conn.scalars(sa.select(c.caught_up_at).where(in_use)))
    said = [moment for moment in moments if moment is not None]
    return min(said) if said and len(said) == len(moments) else None


def still_models(conn: sa.Connection) -> Sequence[StillModel]:
    """Model versions that were judged and have no deltas waiting, by name."""
    c = models.c
    waiting = sa.select(deltas.c.id).where(deltas.c.model == c.model, deltas.c.version == c.version)
    statement = (
        sa.select(c.model, c.version, c.judged_until, c.delay_s, c.delay_until)
        .where(c.judged_until.is_not(None), ~waiting.exists())
        .order_by(c.model, c.version)
    )
    return [
        StillModel(row.model, row.version, row.judged_until, _delay(row.delay_s, row.delay_until))
        for row in conn.execute(statement)
    ]


def has_deltas(conn: sa.Connection, model: str, version: str) -> bool:
    """Whether something of a model version waits to be judged."""
    return conn.execute(sa.select(deltas.c.id).where(_is(deltas, model, version)).limit(1)).first() is not None


def other_version_served_after(conn: sa.Connection, claim: ModelClaim, event_time: int) -> bool:
    """Whether another version of the claimed model has had events since ``event_time`` (epoch s)."""
    c = models.c
    since = datetime.fromtimestamp(event_time, UTC)
    statement = sa.select(c.version).where(c.model == claim.model, c.version != claim.version, c.last_event_at > since)
    return conn.execute(statement.limit(1)).first() is not None


def judged_models(conn: sa.Connection) -> Sequence[tuple[str, str, int]]:
    """Model versions that were ever judged, by name, each with the epoch second up to which it was."""
    c = models.c
    statement = sa.select(c.model, c.version, c.judged_until).where(c.judged_until.is_not(None))
    return [(row.model, row.version, row.judged_until) for row in conn.execute(statement.order_by(c.model, c.version))]


def _reading_row(model: str, version: str, pane_start: int, pane_s: int, reading: Reading) -> dict[str, Any]:
    subject_id = storable_id(reading.subject.id)
    return {
        "id": derived_id(model, version, reading.detector, reading.subject.type.value, subject_id, pane_start),
        "model": model,
        "version": version,
        "detector": reading.detector,
        "kind": reading.kind.value,
        "subject_type": reading.subject.type.value,
        "subject_id": subject_id,
        "pane_start": pane_start,
        "pane_s": pane_s,
        "level": reading.level.value,
        "log_evidence": storable_number(reading.log_evidence),
        "log_threshold": storable_number(reading.log_threshold),
        "effect": storable_number(reading.effect),
        "effect_unit": storable_text(reading.effect_unit),
        "reason": storable_text(reading.reason),
        "detail": storable_detail(reading.detail),
    }


def _delay(seconds: float | None, until: int | None) -> Delay | None:
    return None if seconds is None or until is None else Delay(seconds, until)


def _is(table: sa.Table, model: str, version: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.model == model, table.c.version == version)


def _lock_key(model: str, version: str) -> int:
    name = f"judge {len(model)} {model} {version}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big", signed=True)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[i : i + _IN_ONE_STATEMENT] for i in range(0, len(items), _IN_ONE_STATEMENT))
