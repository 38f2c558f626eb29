"""What people and model services may change, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from monitor.alerting.incident import Verdict
from monitor.alerting.routing import Route
from monitor.api.commands import EventIntake
from monitor.errors import NotFound
from monitor.queries import AlertRow
from monitor.storage import ingest
from monitor.storage.alerts import acknowledge_alert, dismiss_alert, mark_alert, resolve_alert
from monitor.storage.engine import transaction
from monitor.storage.reading import alert_of


class QueueIntake:
    """``EventIntake`` into the queue in the database, where there is no Kafka."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    def append(self, values: Sequence[bytes]) -> None:
        with transaction(self._engine) as conn:
            ingest.append(conn, values, self._clock())


class DatabaseCommands:
    """``monitor.api.commands.Commands``; a change of an alert is owed to ``routes`` in the same transaction."""

    def __init__(
        self, engine: sa.Engine, routes: Sequence[Route], intake: EventIntake, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._routes = tuple(routes)
        self._intake = intake
        self._clock = clock

    def acknowledge(self, alert_id: str, by: str, note: str) -> AlertRow:
        with transaction(self._engine) as conn:
            acknowledge_alert(conn, alert_id, by, note, self._routes, self._clock())
            return _known(conn, alert_id)

    def resolve(self, alert_id: str, by: str, note: str) -> AlertRow:
        with transaction(self._engine) as conn:
            resolve_alert(conn, alert_id, by, note, self._routes, self._clock())
            return _known(conn, alert_id)

    def mark(self, alert_id: str, verdict: Literal["false_alarm", "real"] | None, by: str, note: str) -> AlertRow:
        said = None if verdict is None else Verdict(verdict)
        with transaction(self._engine) as conn:
            mark_alert(conn, alert_id, said, by, note, self._routes, self._clock())
            return _known(conn, alert_id)

    def dismiss(self, alert_id: str, by: str, note: str) -> AlertRow:
        with transaction(self._engine) as conn:
            dismiss_alert(conn, alert_id, by, note, self._routes, self._clock())
            return _known(conn, alert_id)

    def ingest(self, values: Sequence[bytes]) -> None:
        self._intake.append(values)


def _known(conn: sa.Connection, alert_id: str) -> AlertRow:
    row = alert_of(conn, alert_id)
    if row is None:
        raise NotFound(f"there is no alert {alert_id[:64]!r}; list the alerts to find its id")
    return row
