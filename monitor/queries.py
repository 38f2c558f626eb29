"""Read side: frozen rows and the questions that the dashboard and the API may ask.

Nothing here writes. Every list is bounded by ``limit`` and paged by a key, so a question costs the same on a table of
a hundred rows and of a hundred million.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from monitor.errors import VedetteError

Row = TypeVar("Row")


class InvalidCursor(VedetteError):
    """A cursor that this list did not give out; start again without one."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model version. ``status`` is warming (no reference), ok, warning or alarm."""

    model: str
    version: str
    status: str
    events_total: int
    first_seen_at: datetime
    last_event_at: datetime | None
    open_alerts: int
    reference_id: str | None
    reference_events: int | None
    reference_created_at: datetime | None
    pane_s: int | None


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One incident, as in the alert list and at the head of its page.

    ``verdict`` is what a person says it was: false_alarm, real, or None while nobody has said.
    """

    id: str
    model: str
    version: str
    kind: str
    detector: str
    subject_type: str
    subject_id: str
    members: tuple[str, ...]
    status: str
    severity: str
    title: str
    reason: str
    opened_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    onset_at: datetime | None
    readings_total: int
    log_evidence: float
    log_threshold: float
    effect: float
    effect_unit: str
    detail: Mapping[str, Any]
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    verdict: str | None
    verdict_by: str | None
    verdict_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TransitionRow:
    id: str
    alert_id: str
    sequence: int
    transition: str
    severity: str
    event_time: datetime
    actor: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One transition owed to one destination, with its last attempt."""

    id: str
    alert_id: str
    transition: str
    destination: str
    status: str
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_outcome: str | None
    last_status_code: int | None
    last_answer: str | None


@dataclass(frozen=True, slots=True)
class ReadingRow:
    detector: str
    kind: str
    subject_type: str
    subject_id: str
    pane_start: datetime
    pane_s: int
    level: str
    log_evidence: float
    log_threshold: float
    effect: float
    effect_unit: str
    reason: str


@dataclass(frozen=True, slots=True)
class VolumePoint:
    """Events of a model version in one time slice."""

    at: datetime
    n_events: int


@dataclass(frozen=True, slots=True)
class PartitionRow:
    source: str
    topic: str
    partition: int
    owner: str
    next_offset: int
    high_offset: int | None
    lag: int | None
    events_total: int
    lost_total: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    id: int
    source: str
    topic: str
    partition: int
    offset: int
    row: int
    reason: str
    message: str
    value_bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DetectorLedgerRow:
    """One detector's part of a ledger: what its share of the budget allows, and what it spent.

    ``share`` is 0 for a detector that raised alerts and watches this model no more.
    """

    detector: str
    share: float
    allowed: float
    alerts: int
    false_alarms: int
    real: int
    unmarked: int


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The alarm budget over one stretch of a model's event time: false alarms allowed against those spent.

    An alert is spent once a person marks it a false alarm; ``unmarked`` ones nobody has judged yet. The rate is a week
    of watched time, with its exact 95 % Poisson interval; all three are None where nothing was watched.
    """

    since: datetime
    until: datetime
    watched_s: float
    allowed: float
    alerts: int
    false_alarms: int
    real: int
    unmarked: int
    false_alarms_per_week: float | None
    false_alarms_per_week_low: float | None
    false_alarms_per_week_high: float | None
    detectors: Sequence[DetectorLedgerRow]


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """The alarm budget of one model version, how its detectors share it, and what came of it."""

    model: str
    version: str
    alarms_per_week: float
    shares: Mapping[str, float]
    last_week: LedgerRow
    last_4_weeks: LedgerRow


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """The numbers at the top of the first page; times are wall clock."""

    open_alerts: Mapping[str, int]
    models: int
    events_total: int
    events_last_minute: int
    dead_letters_total: int
    deliveries_owed: int
    deliveries_dead: int
    last_commit_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """A slice of a list and the cursor of the next one (None at the end)."""

    rows: Sequence[Row]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts; an empty tuple means any. ``search`` matches model, subject, title and reason.

    ``verdict`` holds false_alarm, real, or none for alerts that nobody has judged.
    """

    model: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    search: str = ""
    verdict: tuple[str, ...] = ()


class Queries(Protocol):
    """All that the dashboard and the API may read; ``monitor/storage/reading.py`` answers it from the database.

    Raises (all methods):
        TransientError: the database is away for now.
        InvalidCursor: from the paged methods.
    """

    def overview(self) -> OverviewRow: ...

    def models(self) -> Sequence[ModelRow]: ...

    def model(self, model: str, version: str) -> ModelRow | None: ...

    def alerts(self, where: AlertFilter, limit: int = 100, cursor: str | None = None) -> Page[AlertRow]: ...

    def alert(self, alert_id: str) -> AlertRow | None: ...

    def transitions(self, alert_id: str) -> Sequence[TransitionRow]: ...

    def deliveries(self, alert_id: str) -> Sequence[DeliveryRow]: ...

    def strange_values(self, alert_id: str) -> Mapping[str, Mapping[str, Any]]:
        """Event id → features of the strangest events that an alert names, while the settings keep them."""
        ...

    def readings(
        self, model: str, version: str, since: datetime, until: datetime, limit: int = 5_000
    ) -> Sequence[ReadingRow]: ...

    def volume(
        self, model: str, version: str, since: datetime, until: datetime, points: int = 300
    ) -> Sequence[VolumePoint]:
        """Events over event time, decimated on the server to at most ``points``."""
        ...

    def event_range(self, model: str, version: str) -> tuple[datetime, datetime] | None:
        """First and last judged event time of a model version."""
        ...

    def reference_summary(self, model: str, version: str) -> Mapping[str, Any] | None: ...

    def budget(self, model: str, version: str) -> BudgetRow | None: ...

    def partitions(self) -> Sequence[PartitionRow]: ...

    def dead_letters(self, limit: int = 100, cursor: str | None = None) -> Page[DeadLetterRow]: ...
