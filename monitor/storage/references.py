"""References: fitted by ``vedette reference fit``, one active per model version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from monitor.alerting.storable import storable_id
from monitor.errors import NotFound, PermanentError
from monitor.storage.tables import references
from monitor.storage.upsert import insert

_WITHOUT_DATA = [column for column in references.c if column.name != "data"]


@dataclass(frozen=True, slots=True)
class StoredReference:
    """A reference without its data; ``version`` ``""`` serves every version that has none of its own."""

    id: str
    model: str
    version: str
    active: bool
    n_events: int
    pane_s: int
    summary: Mapping[str, Any]
    created_at: datetime


def save_reference(
    conn: sa.Connection,
    *,
    id: str,
    model: str,
    version: str,
    n_events: int,
    pane_s: int,
    summary: Mapping[str, Any],
    data: bytes,
    now: datetime,
) -> None:
    """Store a reference, not active yet; one of the same id is the same reference and stays."""
    conn.execute(
        insert(conn, references)
        .values(
            id=id,
            model=storable_id(model),
            version=storable_id(version),
            active=False,
            n_events=n_events,
            pane_s=pane_s,
            summary=dict(summary),
            data=data,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[references.c.id])
    )


def activate_reference(conn: sa.Connection, reference_id: str) -> None:
    """Make it the one reference of its model version.

    Raises:
        NotFound: there is no such reference.
    """
    c = references.c
    row = conn.execute(sa.select(c.model, c.version).where(c.id == reference_id)).one_or_none()
    if row is None:
        raise NotFound(_unknown(reference_id))
    same = sa.and_(c.model == row.model, c.version == row.version)
    conn.execute(sa.select(c.id).where(same).order_by(c.id).with_for_update()).all()
    conn.execute(sa.update(references).where(same, c.active, c.id != reference_id).values(active=False))
    conn.execute(sa.update(references).where(c.id == reference_id).values(active=True))


def active_reference(conn: sa.Connection, model: str, version: str) -> StoredReference | None:
    """The reference that serves a model version: its own, else the one without a version."""
    c = references.c
    model, version = storable_id(model), storable_id(version)
    own_first = (
        sa.select(*_WITHOUT_DATA)
        .where(c.model == model, c.version.in_((version, "")), c.active)
        .order_by(sa.case((c.version == version, 0), else_=1))
        .limit(1)
    )
    row = conn.execute(own_first).mappings().one_or_none()
    return None if row is None else StoredReference(**row)


def reference_data(conn: sa.Connection, reference_id: str) -> bytes:
    """The reference's bytes.

    Raises:
        PermanentError: there is no such reference.
    """
    data = conn.execute(sa.select(references.c.data).where(references.c.id == reference_id)).scalar_one_or_none()
    if data is None:
        raise PermanentError(_unknown(reference_id))
    return bytes(data)


def list_references(conn: sa.Connection) -> Sequence[StoredReference]:
    """All references by model and version, newest first."""
    c = references.c
    statement = sa.select(*_WITHOUT_DATA).order_by(c.model, c.version, c.created_at.desc(), c.id)
    return [StoredReference(**row) for row in conn.execute(statement).mappings()]


def _unknown(reference_id: str) -> str:
    return f"there is no reference {reference_id!r}: `vedette reference list` shows which there are"


def detectors_watching(conn: sa.Connection, model: str) -> frozenset[str]:
    """Names of the detectors in any active reference of the model."""
    c = references.c
    summaries = conn.scalars(sa.select(c.summary).where(c.model == storable_id(model), c.active))
    return frozenset(str(name) for summary in summaries for name in summary.get("detectors", ()))
