"""Slack: one Block Kit message per transition, through an incoming webhook.

What comes from outside goes into ``plain_text`` objects, where Slack reads no links, mentions or markup, and has its
control characters escaped as well. The limits are Slack's, with the sum kept under what it accepts in practice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from monitor.alerting.incident import TransitionKind
from monitor.alerting.public import rfc3339
from monitor.config import Severity
from monitor.delivery.base import Notification, Receipt, link_to
from monitor.delivery.post import Poster

LONGEST_MESSAGE = 12_000
LONGEST_HEADER = 150
LONGEST_SECTION = 3_000
LONGEST_FIELD = 400
LONGEST_FALLBACK = 1_000
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SIGN = {Severity.INFO: "⚪", Severity.WARNING: "🟠", Severity.CRITICAL: "🔴"}


class Slack:
    type: ClassVar[str] = "slack"

    def __init__(self, poster: Poster, public_url: str | None) -> None:
        self._poster = poster
        self._public_url = public_url

    def send(self, notification: Notification, now: datetime) -> Receipt:
        content = message(notification, link_to(notification.change.incident.id, self._public_url))
        body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        return self._poster.post({"Content-Type": "application/json; charset=utf-8"}, body, now)


def message(notification: Notification, link: str | None) -> dict[str, Any]:
    """The message: plain text fallback, then header, reason, facts and link; at most 12,000 characters."""
    change = notification.change
    sign = "✅" if change.transition.transition is TransitionKind.RESOLVED else _SIGN[change.transition.severity]
    heading = f"{sign} {notification.title}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(heading, LONGEST_HEADER)},
        {"type": "section", "text": _plain(notification.summary or notification.title, LONGEST_SECTION)},
        {"type": "section", "fields": [_plain(f"{k}\n{v}", LONGEST_FIELD) for k, v in _facts(notification).items()]},
    ]
    if link:
        target = escape(link.replace("|", "%7C"), LONGEST_SECTION)
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{target}|Open in Vedette>"}]})
    return {
        "text": escape(f"{heading}: {notification.summary}", LONGEST_FALLBACK),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": blocks,
    }


def escape(text: str, longest: int) -> str:
    """``text`` with ``&``, ``<`` and ``>`` escaped, cut to ``longest`` characters without splitting an escape."""
    escaped = [_ESCAPES.get(char, char) for char in text[:longest].replace("\x00", "")]
    if len(text) <= longest and sum(map(len, escaped)) <= longest:
        return "".join(escaped)
    kept, room = [], longest - 1
    for piece in escaped:
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + "…"


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": escape(text, longest), "emoji": False}


def _facts(notification: Notification) -> Mapping[str, str]:
    incident, transition = notification.change.incident, notification.change.transition
    evidence = transition.detail
    subject = f"{incident.subject.type.value} {incident.subject.id}".strip()
    facts = {
        "Model": f"{incident.model} {incident.version}".strip(),
        "What": f"{incident.kind.value}, {subject}",
        "Severity": transition.severity.value,
        "Transition": transition.transition.value,
        "Event time": rfc3339(transition.event_time),
        "Effect": f"{float(evidence.get('effect', incident.effect)):.3g} {incident.effect_unit}".strip(),
        "Evidence": _evidence(evidence),
    }
    if evidence.get("onset"):
        facts["Since"] = str(evidence["onset"])
    return facts


def _evidence(evidence: Mapping[str, Any]) -> str:
    try:
        return f"10^{float(evidence['log10']):.1f}, alarm at 10^{float(evidence['threshold_log10']):.1f}"
    except (KeyError, TypeError, ValueError):
        return "not stored"
