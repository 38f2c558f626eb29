"""What a destination is: it takes a notification and says what came of it. It never raises for a failing receiver."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol

from monitor.alerting.incident import Change
from monitor.alerting.public import summary_of

LONGEST_ANSWER = 1_024


class DeliveryOutcome(StrEnum):
    """What came of one attempt; closed set, used as a metric label."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """Try again later: the receiver is away, busy or confused."""
    PERMANENT = "permanent"
    """Trying again cannot help: the receiver refuses, or the settings forbid its address."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one attempt came to. ``answer`` is at most 1 KiB, free of the destination's secrets."""

    outcome: DeliveryOutcome
    status_code: int | None = None
    answer: str = ""
    retry_after_s: float | None = None
    """What the receiver asked for."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One change for one destination.

    Attributes:
        id: of the delivery; the same over all attempts, so that a receiver can tell a repeat.
    """

    id: str
    change: Change

    @property
    def title(self) -> str:
        return self.change.incident.title

    @property
    def summary(self) -> str:
        return summary_of(self.change)


def link_to(alert_id: str, public_url: str | None) -> str | None:
    """Where a person sees the alert; None when the dashboard has no public address."""
    return f"{public_url.rstrip('/')}/alerts/{alert_id}" if public_url else None


class Destination(Protocol):
    """One place to send to; built once from settings, used by one thread at a time."""

    type: ClassVar[str]

    def send(self, notification: Notification, now: datetime) -> Receipt:
        """One attempt, done within 20 s."""
        ...
