"""What a client has learned of the model, when it asks, and what may be done about it."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboard import words
from dashboard.components import panels
from dashboard.detail import Detail
from dashboard.exposed import Exposed, Exposure, Habit

MAX_LINES = 12


def copied(detail: Detail) -> Any:
    """How good a copy the client could have trained, and how widely it asked."""
    exposure = detail.exposure
    if exposure is None and not detail.coverage:
        return None
    body = [] if exposure is None else _copy(exposure)
    if detail.coverage:
        body.append(html.P(words.clean(detail.coverage, 400), className="reason"))
    return panels.panel("How good a copy it could have trained", body, "a measure, not a test: nobody is accused of it")


def _copy(exposure: Exposure) -> list[Any]:
    body: list[Any] = [html.P(words.clean(exposure.words, 500), className="reason")] if exposure.words else []
    levels = (
        ("always the commonest answer", exposure.usual, "dim"),
        ("a copy from this client's answers", exposure.agreement, "critical"),
        ("a copy from all reference answers", exposure.ceiling, "dim"),
    )
    items = [_level(*level) for level in levels if level[1] is not None]
    return [*body, html.Ul(items, className="heads")] if items else body


def _level(title: str, share: float | None, tone: str) -> html.Li:
    value = share or 0.0
    return html.Li(
        [
            html.Div(html.Strong(f"Agrees with the model: {title}")),
            html.Div(html.Div(words.percent(value), className="strong"), className="head-number"),
            panels.meter(value, tone),
        ]
    )


def exposed(items: tuple[Exposed, ...]) -> Any:
    """The clients that could have trained the best copies."""
    if not items:
        return None
    rows = [
        (
            html.Code(words.clean(item.client, 80)),
            words.count(item.n_queries) if item.n_queries is not None else "–",
            _share(item.agreement),
            _share(item.share),
        )
        for item in items[:MAX_LINES]
    ]
    head = ("Client", "Queries", "Copy agrees on", "Of what can be copied")
    return panels.panel("Who could copy the model best", panels.table(head, rows, "Most exposed clients", (1, 2, 3)))


def tempo(items: tuple[Habit, ...]) -> Any:
    """When the client asks, beside everybody."""
    shown = [item for item in items[:MAX_LINES] if item.words]
    if not shown:
        return None
    rows = [
        (
            words.clean(item.words, 200),
            words.number(item.client) if item.client is not None else "–",
            _share(item.peers),
        )
        for item in shown
    ]
    table = panels.table(("Observed", "Figure", "All clients"), rows, "Tempo of the client", (1, 2))
    return panels.panel("When it asks", table, "context only")


def actions(detail: Detail) -> Any:
    """What may be done, most urgent first."""
    if not detail.actions:
        return None
    items = [
        html.Li(
            [
                html.Div(words.clean(item.words, 300), className="strong"),
                html.Div([html.Code(words.clean(item.id, 40)), f" · {words.clean(item.name, 100)}"], className="dim"),
            ]
        )
        for item in detail.actions[:MAX_LINES]
    ]
    return panels.panel("What you can do", html.Ul(items, className="techniques"))


def _share(value: float | None) -> str:
    return words.percent(value) if value is not None else "–"
