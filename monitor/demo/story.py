"""What a demo run showed, as values: phases, alerts with their delays, receipts, and whether it kept its promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from monitor.demo.traffic import Phase

EXPECTED = ((Phase.DRIFT, "drift"), (Phase.FOREIGN, "ood"), (Phase.THEFT, "extraction"))
"""Which kind of incident each stretch must open, exactly once and in no other stretch."""


@dataclass(frozen=True, slots=True)
class PhaseStory:
    """One stretch of the stream; times are event time, epoch seconds."""

    phase: Phase
    events: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class AlertStory:
    """One alert as it opened: when, how many events after its stretch began."""

    alert_id: str
    kind: str
    subject_type: str
    subject_id: str
    severity: str
    title: str
    reason: str
    phase: Phase
    delay_events: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """One notification as the webhook receiver got it."""

    webhook_id: str
    alert_id: str
    transition: str
    answered: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole run."""

    events: int
    seconds: float
    peak_memory_mb: float
    phases: Sequence[PhaseStory]
    alerts: Sequence[AlertStory]
    receipts: Sequence[Receipt]
    thief: str
    verdicts: Sequence[tuple[str, bool]]

    @property
    def as_promised(self) -> bool:
        return all(kept for _, kept in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "seconds": round(self.seconds, 1),
            "events_per_second": round(self.events / self.seconds),
            "peak_memory_mb": round(self.peak_memory_mb),
            "phases": [{**asdict(phase), "phase": phase.phase.value} for phase in self.phases],
            "alerts": [
                {
                    "alert_id": alert.alert_id,
                    "kind": alert.kind,
                    "subject": {"type": alert.subject_type, "id": alert.subject_id},
                    "severity": alert.severity,
                    "title": alert.title,
                    "reason": alert.reason,
                    "phase": alert.phase.value,
                    "delay_events": alert.delay_events,
                }
                for alert in self.alerts
            ],
            "receipts": [asdict(receipt) for receipt in self.receipts],
            "thief": self.thief,
            "promises": [{"promise": words, "kept": kept} for words, kept in self.verdicts],
            "as_promised": self.as_promised,
        }


def verdicts_on(alerts: Sequence[AlertStory], thief: str, receipts: Sequence[Receipt]) -> list[tuple[str, bool]]:
    """The demo's promises in words, and whether this run kept each."""
    quiet = not [alert for alert in alerts if alert.phase is Phase.HONEST]
    verdicts = [("no alert in the honest stretch", quiet)]
    for phase, kind in EXPECTED:
        found = [alert for alert in alerts if alert.kind == kind]
        verdicts.append((f"one {kind} incident, in the {phase.value} stretch", [a.phase for a in found] == [phase]))
    named = [alert.subject_id for alert in alerts if alert.kind == "extraction"]
    verdicts.append(("the thief is named", named == [thief]))
    told = {receipt.alert_id for receipt in receipts if receipt.transition == "opened" and receipt.answered == 204}
    verdicts.append(("every alert reached the webhook", told == {alert.alert_id for alert in alerts} != set()))
    return verdicts
