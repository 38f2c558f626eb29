"""The book of incidents: one pane's readings turned into transitions. One incident, not a hundred alerts.

An alarm opens an incident or counts towards the open one; severity only rises while it is open. An incident closes by
itself once its last alarm is an hour old, an attack's a day, and its latest panes were all quiet, that is without a
word of its subject or with evidence a hundredfold below the alarm line: between that and the alarm line nothing
happens, so evidence that hovers around the line does not flap, nor does a client that comes and goes. An alarm soon
after that reopens the same alert. What a person has resolved, or called a false alarm once it was resolved, stays
resolved: an alarm that goes on opens a new alert.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from detectors.base import Kind, Level, Reading, Subject
from monitor.alerting.incident import (
    VEDETTE,
    Change,
    Identity,
    Incident,
    PaneRef,
    Status,
    Transition,
    TransitionKind,
    Verdict,
    alert_id,
    identity_of,
)
from monitor.alerting.public import evidence_of
from monitor.alerting.storable import storable_detail, storable_id, storable_number, storable_text
from monitor.alerting.wording import cause_of, severity_of, title_of
from monitor.config import Severity
from monitor.errors import Conflict

MOST_MEMBERS = 200
LONGEST_ACTOR = 200
FEWEST_WIDE_PANES = 3
"""Quiet panes in a row that it takes however wide they are, if the policy does not ask for fewer."""
_ATTACKS = frozenset({Kind.EXTRACTION, Kind.EVASION, Kind.PRIVACY, Kind.ABUSE})
_GRAVITY = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_MARKED = {
    Verdict.FALSE_ALARM: TransitionKind.MARKED_FALSE_ALARM,
    Verdict.REAL: TransitionKind.MARKED_REAL,
    None: TransitionKind.UNMARKED,
}


class Decision(StrEnum):
    """What the book did with a reading, doing nothing included."""

    OPENED = "opened"
    REOPENED = "reopened"
    ESCALATED = "escalated"
    COUNTED = "counted"
    QUIETING = "quieting"
    RESOLVED = "resolved"
    UNSETTLED = "unsettled"
    """No alarm, but not quiet either: the incident stays open and its quiet panes start over."""
    REPEATED = "repeated"
    """The incident knows this pane already."""
    IGNORED = "ignored"
    """No alarm and no incident."""


@dataclass(frozen=True, slots=True)
class BookPolicy:
    """When incidents close and come back, by the clock of events.

    An incident resolves when the time for its kind has passed since its last alarm, and the latest ``quiet_panes``
    panes, or with wide panes as many as that time holds but at least three, were all quiet.

    Attributes:
        quiet_panes: how many quiet panes in a row resolve an incident at most, ≥ 1.
        quiet_factor: a pane is quiet when its evidence is this many times below the alarm line, ≥ 1.
        quiet_s: seconds since the last alarm before drift, OOD, quality and performance resolve.
        attack_quiet_s: the same for the attacks of a client: a client that is away has not stopped.
        reopen_within_s: an alarm this soon after Vedette resolved the incident reopens it.
        attack_reopen_within_s: the same for the attacks of a client.
    """

    quiet_panes: int = 30
    quiet_factor: float = 100.0
    quiet_s: float = 3_600.0
    attack_quiet_s: float = 86_400.0
    reopen_within_s: float = 3_600.0
    attack_reopen_within_s: float = 86_400.0

    @property
    def longest_reopen_s(self) -> float:
        """How far back a resolved incident of any kind may matter."""
        return max(self.reopen_within_s, self.attack_reopen_within_s)

    def quiet_s_of(self, kind: Kind) -> float:
        """Seconds since the last alarm before Vedette resolves; infinite for the pipeline, which only a person does."""
        if kind is Kind.PIPELINE:
            return math.inf
        return self.attack_quiet_s if kind in _ATTACKS else self.quiet_s

    def quiet_panes_of(self, kind: Kind, pane_s: float) -> float:
        """How many quiet panes of ``pane_s`` seconds in a row it takes; infinite for the pipeline."""
        in_time = self.quiet_s_of(kind) / pane_s
        if math.isinf(in_time):
            return math.inf
        return min(self.quiet_panes, max(FEWEST_WIDE_PANES, math.ceil(in_time)))

    def reopen_within_s_of(self, kind: Kind) -> float:
        """Seconds after Vedette resolved an incident of this kind in which an alarm reopens it."""
        return self.attack_reopen_within_s if kind in _ATTACKS else self.reopen_within_s


@dataclass(frozen=True, slots=True)
class Outcome:
    """What applying a reading led to; ``incident`` is None when there is none, before or after."""

    decision: Decision
    incident: Incident | None
    transitions: tuple[Transition, ...] = ()


def graver(severity: Severity, than: Severity) -> bool:
    return _GRAVITY[severity] > _GRAVITY[than]


def leading_readings(readings: Iterable[Reading]) -> dict[Identity, Reading]:
    """Per identity the reading that speaks for it in this pane: an alarm, then the more specific, then the surer."""
    leading: dict[Identity, Reading] = {}
    for reading in readings:
        identity = identity_of(reading)
        if identity not in leading or _weight(reading) > _weight(leading[identity]):
            leading[identity] = reading
    return leading


def apply(incident: Incident | None, reading: Reading, pane: PaneRef, policy: BookPolicy, now: datetime) -> Outcome:
    """What ``reading`` does to the latest incident of its identity.

    Args:
        incident: the open incident, else the one resolved last, else None.
        now: wall clock, for ``created_at`` only.
    """
    if incident is None:
        return _open(reading, pane, now) if reading.level is Level.ALARM else Outcome(Decision.IGNORED, None)
    if incident.status is Status.RESOLVED:
        return _apply_to_resolved(incident, reading, pane, policy, now)
    if pane.end <= incident.last_seen_at:
        return Outcome(Decision.REPEATED, incident)
    if reading.level is Level.ALARM:
        return _count(incident, reading, pane)
    if reading.log_evidence < reading.log_threshold - math.log(policy.quiet_factor):
        return absent(incident, pane, policy)
    return Outcome(Decision.UNSETTLED, replace(incident, quiet_panes=0))


def absent(incident: Incident, pane: PaneRef, policy: BookPolicy) -> Outcome:
    """A pane without anything to say about an incident's subject: one more quiet pane."""
    if incident.status is Status.RESOLVED:
        return Outcome(Decision.IGNORED, incident)
    if pane.end <= incident.last_seen_at:
        return Outcome(Decision.REPEATED, incident)
    quiet = replace(incident, quiet_panes=incident.quiet_panes + 1)
    since_alarm_s = (pane.end - incident.last_seen_at).total_seconds()
    too_soon = since_alarm_s < policy.quiet_s_of(incident.kind)
    if too_soon or quiet.quiet_panes < policy.quiet_panes_of(incident.kind, pane.width_s):
        return Outcome(Decision.QUIETING, quiet)
    resolved = replace(quiet, status=Status.RESOLVED, resolved_at=pane.end)
    note = f"Quiet for {quiet.quiet_panes} panes in a row, {since_alarm_s / 3_600:.3g} h after the last alarm"
    return Outcome(Decision.RESOLVED, *_step(resolved, TransitionKind.RESOLVED, pane.end, note=note))


def acknowledge(incident: Incident, by: str, note: str, now: datetime) -> Change:
    """A person takes the incident on.

    Raises:
        Conflict: it is resolved, or somebody has acknowledged it already.
    """
    if incident.status is not Status.OPEN:
        by_whom = f" by {incident.acknowledged_by}" if incident.status is Status.ACKNOWLEDGED else ""
        raise Conflict(f"alert {incident.id} is already {incident.status.value}{by_whom}; reload it to see its state")
    taken = replace(incident, status=Status.ACKNOWLEDGED, acknowledged_by=_actor(by), acknowledged_at=now)
    return _by_person(taken, TransitionKind.ACKNOWLEDGED, by, note)


def resolve(incident: Incident, by: str, note: str) -> Change:
    """A person closes the incident as of what was last seen; an alarm that goes on opens a new one.

    Raises:
        Conflict: it is resolved already.
    """
    if incident.status is Status.RESOLVED:
        raise Conflict(f"alert {incident.id} is already resolved; reload it to see its state")
    resolved = replace(incident, status=Status.RESOLVED, resolved_at=incident.last_seen_at, quiet_panes=0)
    return _by_person(resolved, TransitionKind.RESOLVED, by, note)


def mark(incident: Incident, verdict: Verdict | None, by: str, note: str, now: datetime) -> Change:
    """A person says what the alert was, whatever its state; None takes back what was said.

    Raises:
        Conflict: that is what it is marked already.
    """
    if incident.verdict is verdict:
        stands = f"already marked {verdict.value} by {incident.verdict_by}" if verdict else "not marked"
        raise Conflict(f"alert {incident.id} is {stands}; reload it to see its state")
    said = {"verdict_by": _actor(by), "verdict_at": now} if verdict else {"verdict_by": None, "verdict_at": None}
    return _by_person(replace(incident, verdict=verdict, **said), _MARKED[verdict], by, note)


def _open(reading: Reading, pane: PaneRef, now: datetime) -> Outcome:
    identity = identity_of(reading)
    subject = _subject(reading)
    incident = Incident(
        id=alert_id(pane, identity),
        model=pane.model,
        version=pane.version,
        kind=reading.kind,
        status=Status.OPEN,
        severity=severity_of(reading),
        title=storable_text(title_of(reading.kind, subject, pane.model, cause_of(reading))),
        opened_at=pane.end,
        last_seen_at=pane.end,
        resolved_at=None,
        onset_at=_instant(reading.since),
        readings_total=1,
        quiet_panes=0,
        acknowledged_by=None,
        acknowledged_at=None,
        verdict=None,
        verdict_by=None,
        verdict_at=None,
        created_at=now,
        transitions_total=0,
        **_facts(reading, subject),
    )
    return Outcome(Decision.OPENED, *_step(incident, TransitionKind.OPENED, pane.end))


def _apply_to_resolved(
    incident: Incident, reading: Reading, pane: PaneRef, policy: BookPolicy, now: datetime
) -> Outcome:
    if reading.level is not Level.ALARM:
        return Outcome(Decision.IGNORED, incident)
    resolved_at = incident.resolved_at or incident.last_seen_at
    if pane.end <= resolved_at:
        return Outcome(Decision.REPEATED, incident)
    window = timedelta(seconds=policy.reopen_within_s_of(incident.kind))
    if incident.settled or pane.end - resolved_at > window:
        return _open(reading, pane, now)
    back = replace(
        _seen(incident, reading, pane),
        status=Status.OPEN,
        resolved_at=None,
        acknowledged_by=None,
        acknowledged_at=None,
        **_facts(reading, _subject(reading, incident.subject.members)),
    )
    return Outcome(Decision.REOPENED, *_step(back, TransitionKind.REOPENED, pane.end))


def _count(incident: Incident, reading: Reading, pane: PaneRef) -> Outcome:
    seen = _seen(incident, reading, pane)
    if graver(seen.severity, than=incident.severity):
        return Outcome(Decision.ESCALATED, *_step(seen, TransitionKind.ESCALATED, pane.end))
    return Outcome(Decision.COUNTED, seen)


def _seen(incident: Incident, reading: Reading, pane: PaneRef) -> Incident:
    """``incident`` after one more alarm: it shows its gravest severity and the facts of its strongest reading.

    Where another detector speaks now, its facts are shown if they are more specific, and not compared otherwise.
    """
    severity = severity_of(reading)
    rises = graver(severity, than=incident.severity)
    seen = replace(
        incident,
        last_seen_at=pane.end,
        readings_total=incident.readings_total + 1,
        quiet_panes=0,
        severity=severity if rises else incident.severity,
    )
    if reading.detector != incident.detector:
        tells_more = reading.specificity > 0
        return replace(seen, **_facts(reading, _subject(reading, incident.subject.members))) if tells_more else seen
    if not (rises or _stronger(reading, incident)):
        return seen
    facts = _facts(reading, _subject(reading, incident.subject.members))
    peak = max(facts["log_evidence"], incident.log_evidence)
    return replace(seen, **{**facts, "log_evidence": peak})


def _stronger(reading: Reading, incident: Incident) -> bool:
    larger = reading.effect_unit == incident.effect_unit and abs(reading.effect) >= abs(incident.effect)
    return larger or reading.log_evidence >= incident.log_evidence


def _facts(reading: Reading, subject: Subject) -> dict[str, Any]:
    detail: Mapping[str, Any] = reading.detail
    return {
        "detector": reading.detector,
        "subject": subject,
        "reason": storable_text(reading.reason),
        "log_evidence": storable_number(reading.log_evidence),
        "log_threshold": storable_number(reading.log_threshold),
        "effect": storable_number(reading.effect),
        "effect_unit": storable_text(reading.effect_unit, LONGEST_ACTOR),
        "detail": storable_detail(detail),
    }


def _subject(reading: Reading, known_members: Sequence[str] = ()) -> Subject:
    members = reading.subject.members or tuple(known_members)
    kept = tuple(storable_id(member) for member in members[:MOST_MEMBERS])
    return Subject(reading.subject.type, storable_id(reading.subject.id), kept)


def _step(
    incident: Incident, kind: TransitionKind, event_time: datetime, actor: str = VEDETTE, note: str = ""
) -> tuple[Incident, tuple[Transition, ...]]:
    stepped = replace(incident, transitions_total=incident.transitions_total + 1)
    transition = Transition(
        alert_id=stepped.id,
        sequence=stepped.transitions_total,
        transition=kind,
        severity=stepped.severity,
        event_time=event_time,
        actor=actor,
        note=note,
        detail=evidence_of(stepped),
    )
    return stepped, (transition,)


def _by_person(incident: Incident, kind: TransitionKind, by: str, note: str) -> Change:
    stepped, (transition,) = _step(
        incident, kind, incident.last_seen_at, actor=_actor(by), note=storable_text(note.strip())
    )
    return Change(stepped, transition)


def _actor(by: str) -> str:
    return storable_text(by.strip(), LONGEST_ACTOR) or "somebody"


def _weight(reading: Reading) -> tuple[bool, int, float]:
    alarmed = reading.level is Level.ALARM
    return alarmed, reading.specificity if alarmed else 0, reading.log_evidence - reading.log_threshold


def _instant(event_time: float | None) -> datetime | None:
    if event_time is None or not math.isfinite(event_time):
        return None
    try:
        return datetime.fromtimestamp(event_time, UTC)
    except (OverflowError, ValueError, OSError):
        return None
