"""Small signs that say one word: severity, status, kind. Each has a shape and its word besides the colour."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dash import html

from dashboard import words
from dashboard.components.accessibility import aria

STATUS_WORDS = {"open": "Open", "acknowledged": "Acknowledged", "resolved": "Resolved"}
KIND_WORDS = {
    "drift": "Drift",
    "ood": "Out of distribution",
    "extraction": "Model theft",
    "evasion": "Evasion",
    "privacy": "Privacy",
    "abuse": "Abuse",
    "quality": "Data quality",
    "performance": "Performance",
    "pipeline": "Pipeline",
}
DETECTOR_WORDS = {**KIND_WORDS, "joint": "Joint drift"}
"""Most detectors are named after the kind of alert they raise."""
VERDICT_WORDS = {"false_alarm": "False alarm", "real": "Real"}
MODEL_STATUS_WORDS = {
    "warming": "No reference yet",
    "ok": "All good",
    "warning": "Warning",
    "alarm": "Alarm",
}
_SHAPES = {"critical", "warning", "info", "ok", "alarm", "warming"}


def shape(name: str) -> html.Span:
    """The bare shape of a severity or level; decoration only."""
    known = name if name in _SHAPES else "info"
    return html.Span(className=f"shape shape-{known}", **aria(hidden="true"))


def severity(name: str) -> html.Span:
    return html.Span([shape(name), words.clean(name, 20).capitalize()], className=f"sign sign-{_tone(name)}")


def alert_status(name: str) -> html.Span:
    known = name if name in STATUS_WORDS else "open"
    return html.Span(STATUS_WORDS.get(name, words.clean(name, 20)), className=f"pill pill-{known}")


def kind(name: str) -> html.Span:
    return html.Span(kind_words(name), className="pill pill-kind")


def kind_words(name: str) -> str:
    return KIND_WORDS.get(name, words.clean(name, 30))


def detector_words(name: str) -> str:
    return DETECTOR_WORDS.get(name, words.clean(name, 40))


def verdict(name: str) -> html.Span:
    """What a person says an alert was."""
    known = name if name in VERDICT_WORDS else "real"
    return html.Span(verdict_words(name), className=f"pill pill-{known.replace('_', '-')}")


def verdict_words(name: str) -> str:
    return VERDICT_WORDS.get(name, words.clean(name, 20))


def model_status(name: str) -> html.Span:
    word = MODEL_STATUS_WORDS.get(name, words.clean(name, 30))
    return html.Span([shape(name), word], className=f"sign sign-{_tone(name)}")


def subject(subject_type: str, subject_id: str, members: tuple[str, ...] = ()) -> str:
    """Who or what an alert is about, in words."""
    if subject_type == "model":
        return "the whole model"
    if subject_type == "client_group" and members:
        return f"{len(members)} clients together"
    return f"{words.clean(subject_type, 20).replace('_', ' ')} {words.clean(subject_id, 120)}"


def when(at: datetime | None, now: datetime) -> Any:
    """An instant as "3 min ago", kept current by the browser; the full time is in the tooltip."""
    if at is None:
        return html.Span("never", className="dim")
    return html.Time(words.ago(at, now), dateTime=at.isoformat(), title=words.instant(at), className="ago")


def version(name: str) -> str:
    return words.clean(name, 60) if name else "no version"


def _tone(name: str) -> str:
    return {"alarm": "critical", "warming": "dim"}.get(name, name if name in _SHAPES else "dim")
