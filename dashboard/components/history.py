"""What happened to an alert since it opened, and who was told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dash import html

from dashboard import words
from dashboard.components import badges, panels
from monitor.queries import DeliveryRow, TransitionRow

_TONES = {"resolved": "ok", "marked_false_alarm": "info", "marked_real": "info", "unmarked": "info"}
_DELIVERY_SHAPES = {"delivered": "ok", "owed": "warming", "dead": "critical"}
_DELIVERY_WORDS = {"delivered": "Delivered", "owed": "Owed", "dead": "Given up"}


def transitions(rows: Sequence[TransitionRow], now: datetime) -> Any:
    """Audit, newest first."""
    if not rows:
        return None
    ordered = sorted(rows, key=lambda row: row.sequence, reverse=True)
    return panels.panel("History", html.Ol([_transition(row, now) for row in ordered], className="timeline"))


def _transition(row: TransitionRow, now: datetime) -> html.Li:
    note = html.Div(words.clean(row.note, 2_000), className="note") if row.note else None
    by = html.Span([" by ", html.Strong(words.clean(row.actor, 80))]) if row.actor else None
    tone = _TONES.get(row.transition, row.severity)
    return html.Li(
        [
            badges.shape(tone),
            html.Div(
                [
                    html.Div([html.Strong(words.clean(row.transition, 40).replace("_", " ").capitalize()), by]),
                    html.Div(badges.when(row.created_at, now), className="dim"),
                    note,
                ]
            ),
        ]
    )


def deliveries(rows: Sequence[DeliveryRow], now: datetime) -> Any:
    """Who was told of which transition, and what they answered."""
    body = html.Ul([_delivery(row, now) for row in rows], className="deliveries") if rows else None
    text = html.P("Nobody was told: no destination asks for alerts like this one.", className="dim")
    return panels.panel("Deliveries", body or text)


def _delivery(row: DeliveryRow, now: datetime) -> html.Li:
    shape, word = _DELIVERY_SHAPES.get(row.status, "info"), _DELIVERY_WORDS.get(row.status, words.clean(row.status, 20))
    return html.Li(
        [
            badges.shape(shape),
            html.Div(
                [
                    html.Div(
                        [
                            html.Strong(words.clean(row.destination, 63)),
                            html.Span(f" · {words.clean(row.transition, 30)}"),
                        ]
                    ),
                    html.Div([f"{word} ", *_moment(row, now)], className="dim"),
                    html.Div(_answer(row), className="answer") if _answer(row) else None,
                ]
            ),
        ]
    )


def _moment(row: DeliveryRow, now: datetime) -> list[Any]:
    if row.delivered_at is not None:
        return [badges.when(row.delivered_at, now), _tries(row.attempts)]
    if row.status == "owed" and row.attempts and row.next_attempt_at is not None:
        wait = (row.next_attempt_at - now).total_seconds()
        return [
            f"after {words.plural(row.attempts, 'attempt')}; next ",
            f"in {words.duration(wait)}" if wait > 0 else "now",
        ]
    return [f"after {words.plural(row.attempts, 'attempt')}"] if row.attempts else []


def _tries(attempts: int) -> str:
    return f", attempt {attempts}" if attempts > 1 else ""


def _answer(row: DeliveryRow) -> str:
    parts = [
        str(row.last_status_code) if row.last_status_code is not None else "",
        words.clean(row.last_outcome or "", 60),
        words.clean(row.last_answer or "", 160),
    ]
    return " · ".join(part for part in parts if part) if row.attempts else ""
