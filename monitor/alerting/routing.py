"""Routing: which destinations a transition is owed to, and why not. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from monitor.alerting.book import graver
from monitor.alerting.incident import Change, TransitionKind
from monitor.config import DestinationSettings, Severity

_NEWS = (TransitionKind.OPENED, TransitionKind.ESCALATED, TransitionKind.REOPENED)
_MARKS = (TransitionKind.MARKED_FALSE_ALARM, TransitionKind.MARKED_REAL, TransitionKind.UNMARKED)


class Routing(StrEnum):
    """Whether a destination is told of a change."""

    OWED = "owed"
    BELOW_SEVERITY = "below_severity"
    OTHER_KIND = "other_kind"
    NEVER_TOLD = "never_told"
    """News of an alert that the destination was never told of would only puzzle."""
    RESOLVES_OFF = "resolves_off"
    RECORD_ONLY = "record_only"
    """What a person says an alert was is for the alarm budget; it is no reason to call anyone."""


@dataclass(frozen=True, slots=True)
class Route:
    """What one destination wants to hear; empty ``kinds`` means every kind."""

    destination: str
    min_severity: Severity = Severity.INFO
    kinds: frozenset[str] = frozenset()
    send_resolved: bool = True


def routes_of(destinations: Iterable[DestinationSettings]) -> tuple[Route, ...]:
    return tuple(Route(d.name, d.min_severity, frozenset(d.kinds), d.send_resolved) for d in destinations)


def route(change: Change, to: Route, told: bool) -> Routing:
    """Whether ``to`` is owed the change.

    Args:
        told: an earlier transition of the alert was owed to this destination.
    """
    if change.transition.transition in _MARKS:
        return Routing.RECORD_ONLY
    if to.kinds and change.incident.kind.value not in to.kinds:
        return Routing.OTHER_KIND
    if change.transition.transition in _NEWS:
        return Routing.BELOW_SEVERITY if graver(to.min_severity, than=change.transition.severity) else Routing.OWED
    if not told:
        return Routing.NEVER_TOLD
    if change.transition.transition is TransitionKind.RESOLVED and not to.send_resolved:
        return Routing.RESOLVES_OFF
    return Routing.OWED
