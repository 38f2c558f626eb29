"""Incident: one alert and its life; many readings, one incident. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from detectors.base import Kind, Reading, Subject, SubjectType
from monitor.alerting.storable import derived_id, storable_id
from monitor.config import Severity

VEDETTE = "vedette"
"""The actor of every transition that no person made."""

Identity = tuple[Kind, SubjectType, str]
"""What tells incidents of one model version apart: kind, subject type, subject id."""


class Status(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Verdict(StrEnum):
    """What a person says an alert was, for the record and the alarm budget; it changes nobody's duty."""

    FALSE_ALARM = "false_alarm"
    REAL = "real"


class TransitionKind(StrEnum):
    """What happened to an alert; closed set, part of the public contract."""

    OPENED = "opened"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    MARKED_FALSE_ALARM = "marked_false_alarm"
    MARKED_REAL = "marked_real"
    UNMARKED = "unmarked"


@dataclass(frozen=True, slots=True)
class PaneRef:
    """Which pane of which model version; ``start`` in epoch seconds of event time."""

    model: str
    version: str
    start: float
    width_s: float

    @property
    def end(self) -> datetime:
        """The event time at which the pane is known in full: when what it says has happened."""
        return datetime.fromtimestamp(self.start, UTC) + timedelta(seconds=self.width_s)


@dataclass(frozen=True, slots=True)
class Incident:
    """One alert, as the table ``alerts`` holds it.

    ``opened_at``, ``last_seen_at``, ``resolved_at`` and ``onset_at`` are event time; ``acknowledged_at``,
    ``verdict_at`` and ``created_at`` are wall clock. ``transitions_total`` is the sequence number of the latest
    transition.
    """

    id: str
    model: str
    version: str
    kind: Kind
    detector: str
    subject: Subject
    status: Status
    severity: Severity
    title: str
    reason: str
    opened_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None
    onset_at: datetime | None
    readings_total: int
    quiet_panes: int
    log_evidence: float
    log_threshold: float
    effect: float
    effect_unit: str
    detail: Mapping[str, Any]
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    verdict: Verdict | None
    verdict_by: str | None
    verdict_at: datetime | None
    created_at: datetime
    transitions_total: int

    @property
    def identity(self) -> Identity:
        return self.kind, self.subject.type, self.subject.id

    @property
    def resolved_by_person(self) -> bool:
        """A person resolves what was last seen; Vedette resolves only panes later."""
        return self.resolved_at is not None and self.resolved_at <= self.last_seen_at

    @property
    def settled(self) -> bool:
        """A person is done with it: resolved it, or called it a false alarm once it was. It does not come back."""
        closed = self.status is Status.RESOLVED
        return closed and (self.resolved_by_person or self.verdict is Verdict.FALSE_ALARM)


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in an alert's life. ``detail`` is the evidence as it stood then, ready for the public line."""

    alert_id: str
    sequence: int
    transition: TransitionKind
    severity: Severity
    event_time: datetime
    actor: str
    note: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return derived_id("transition", self.alert_id, self.sequence)


@dataclass(frozen=True, slots=True)
class Change:
    """A transition with the incident it led to."""

    incident: Incident
    transition: Transition


def alert_id(pane: PaneRef, identity: Identity) -> str:
    """The id of the alert that ``identity`` opens with ``pane``."""
    kind, subject_type, subject_id = identity
    return derived_id("alert", pane.model, pane.version, kind.value, subject_type.value, subject_id, int(pane.start))


def identity_of(reading: Reading) -> Identity:
    return reading.kind, reading.subject.type, storable_id(reading.subject.id)
