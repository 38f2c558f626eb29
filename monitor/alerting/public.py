"""The public form of a change: the line a backtest prints and the body a webhook gets. A contract with outsiders."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from monitor.alerting.incident import Change, Incident, TransitionKind
from monitor.alerting.storable import TRUNCATED, reduced_detail, storable_detail

MOST_MEMBERS_SHORT = 20
_LN_10 = math.log(10)


def transition_line(change: Change) -> dict[str, Any]:
    """One JSON-ready object per transition; instants are RFC 3339 in UTC, of event time."""
    incident, transition = change.incident, change.transition
    return {
        "alert_id": incident.id,
        "model": incident.model,
        "version": incident.version,
        "kind": incident.kind.value,
        "detector": incident.detector,
        "subject": {
            "type": incident.subject.type.value,
            "id": incident.subject.id,
            "members": list(incident.subject.members),
        },
        "transition": transition.transition.value,
        "severity": transition.severity.value,
        "event_time": rfc3339(transition.event_time),
        "evidence": dict(transition.detail),
    }


def short_line(change: Change, most_bytes: int) -> dict[str, Any]:
    """``transition_line`` in at most ``most_bytes`` of JSON, for receivers that refuse long bodies.

    What does not fit is left out whole: histograms first, then the largest parts of ``evidence.detail``, then all but
    20 members of a group; ``evidence.detail.truncated`` is true then. Texts stay, each bounded by itself.
    """
    line = transition_line(change)
    if len(compact_json(line)) <= most_bytes:
        return line
    detail = line["evidence"].get("detail", {})
    members = line["subject"]["members"]
    if len(members) > MOST_MEMBERS_SHORT and len(compact_json(_with_detail(line, {TRUNCATED: True}))) > most_bytes:
        line["subject"]["members"] = members[:MOST_MEMBERS_SHORT]
        detail = {**detail, TRUNCATED: True}
    return _with_detail(
        line, reduced_detail(detail, lambda kept: len(compact_json(_with_detail(line, kept))) <= most_bytes)
    )


def compact_json(content: Mapping[str, Any]) -> bytes:
    """``content`` as compact JSON in UTF-8."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def evidence_of(incident: Incident) -> dict[str, Any]:
    """What the incident rests on: how sure (``log10`` against ``threshold_log10``), how large, since when, and why."""
    return {
        "log10": round(incident.log_evidence / _LN_10, 3),
        "threshold_log10": round(incident.log_threshold / _LN_10, 3),
        "effect": incident.effect,
        "effect_unit": incident.effect_unit,
        "onset": rfc3339(incident.onset_at) if incident.onset_at else None,
        "reason": incident.reason,
        "detail": storable_detail(incident.detail),
    }


def summary_of(change: Change) -> str:
    """One sentence on what happened and why; plain text."""
    transition = change.transition
    reason = str(transition.detail.get("reason", change.incident.reason))
    by = transition.actor + (f": {transition.note}" if transition.note else "")
    match transition.transition:
        case TransitionKind.OPENED:
            return reason
        case TransitionKind.ESCALATED:
            return f"Now {transition.severity.value}. {reason}"
        case TransitionKind.REOPENED:
            return f"Back again. {reason}"
        case TransitionKind.ACKNOWLEDGED:
            return f"Acknowledged by {by}"
        case TransitionKind.RESOLVED:
            return f"Resolved by {by}"
        case TransitionKind.MARKED_FALSE_ALARM:
            return f"Marked as a false alarm by {by}"
        case TransitionKind.MARKED_REAL:
            return f"Marked as real by {by}"
        case TransitionKind.UNMARKED:
            return f"Mark taken back by {by}"


def rfc3339(instant: datetime) -> str:
    """An instant as outsiders read it.

    >>> rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _with_detail(line: Mapping[str, Any], detail: Mapping[str, Any]) -> dict[str, Any]:
    return {**line, "evidence": {**line["evidence"], "detail": detail}}
