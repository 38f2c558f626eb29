"""What moved in the traffic, by how much, and who moved it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import html

from dashboard import figures, words
from dashboard.components import badges, charts, panels
from dashboard.detail import Cohort, Column, Detail, Segment
from dashboard.theme import Scheme

MAX_PICTURES = 8
MAX_LINES = 12
_DISCOVERY = "These moved, and at most one in ten of them is expected to be named wrongly (e-BH, 10 %)"


def columns(detail: Detail, scheme: Scheme) -> Any:
    """Columns by their part of the evidence: a table of measures, and pictures of the first."""
    if not detail.columns:
        return None
    ordered = sorted(detail.columns, key=lambda item: -(item.evidence_share or 0.0))
    pictures = [item for item in ordered if item.comparison is not None][:MAX_PICTURES]
    cards = html.Div([_card(item, scheme) for item in pictures], className="pictures") if pictures else None
    return panels.panel("What moved", [_measures(ordered), cards], _aside(detail))


def pairs(detail: Detail) -> Any:
    """Columns that no longer belong together as they did."""
    if not detail.pairs:
        return None
    rows = [
        (f"{words.clean(item.a, 60)} and {words.clean(item.b, 60)}", _number(item.reference), _number(item.current))
        for item in detail.pairs[:MAX_LINES]
    ]
    table = panels.table(("Columns", "Reference", "Now"), rows, "Correlations that changed", (1, 2))
    return panels.panel("Correlations that changed", table)


def causes(detail: Detail) -> Any:
    """The cohort behind a drift and the segments it shows in."""
    if detail.cohort is None and not detail.segments:
        return None
    cohort = _cohort(detail.cohort) if detail.cohort is not None else None
    return panels.panel("Where it comes from", [cohort, _segments(detail.segments)])


def _aside(detail: Detail) -> str | None:
    parts = []
    if any(item.listed is not None for item in detail.columns):
        listed = sum(item.listed is True for item in detail.columns)
        of = f" of {words.count(detail.n_columns)}" if detail.n_columns is not None else ""
        noun = "column" if of == "" and listed == 1 else "columns"
        parts.append(f"{words.count(listed)}{of} {noun} confirmed")
    if detail.n_events is not None:
        parts.append(f"{words.count(detail.n_events)} events in this reading")
    return " · ".join(parts) or None


def _measures(items: Sequence[Column]) -> Any:
    """All measures side by side; a measure that no column has gets no room."""
    measures = (
        ("Shift", [_shift(item) for item in items]),
        ("Moved", [_percent(item.share_moved) for item in items]),
        ("PSI", [_number(item.psi) for item in items]),
        ("JS", [_number(item.js) for item in items]),
        (
            "Wasserstein",
            [f"{_number(item.wasserstein_sd)} sd" if _number(item.wasserstein_sd) else "" for item in items],
        ),
        ("Own evidence", [_odds(item.e_value_log10) for item in items]),
        ("Part of the alarm", [_share(item.evidence_share) for item in items]),
    )
    kept = [(name, cells) for name, cells in measures if any(cells)]
    head = ("Column", *(name for name, _ in kept))
    rows = [(_name(item), *(cells[i] or "–" for _, cells in kept)) for i, item in enumerate(items)]
    numeric = range(1, len(head))
    first = panels.table(head, rows[:MAX_LINES], "Columns by their part of the evidence", numeric)
    if len(rows) <= MAX_LINES:
        return html.Div(first, className="measures")
    more = panels.table(head, rows[MAX_LINES:], "Further columns", numeric)
    rest = html.Details([html.Summary(f"{len(rows) - MAX_LINES} more"), more])
    return html.Div([first, rest], className="measures")


def _name(item: Column) -> html.Div:
    role = html.Span(words.clean(item.role, 20), className="dim") if item.role else None
    sure = html.Span("confirmed", className="pill pill-kind", title=_DISCOVERY) if item.listed else None
    name = html.Span(words.clean(item.name, 60), className="strong", title=words.clean(item.name, 400))
    return html.Div([name, role, sure], className="measure-name")


def _card(item: Column, scheme: Scheme) -> html.Div:
    assert item.comparison is not None
    chips = [("shift", _shift(item)), ("moved", _percent(item.share_moved))]
    shown = [html.Span([html.Strong(value), f" {name}"], className="chip") for name, value in chips if value]
    head = html.H3(words.clean(item.name, 80), title=words.clean(item.name, 400))
    figure = charts.still(figures.comparison(item.comparison, "reference", "now", scheme), 190)
    return html.Div([html.Div([head, html.Div(shown)], className="picture-head"), figure], className="picture-card")


def _cohort(item: Cohort) -> html.Div:
    who = badges.subject(item.type, item.id) if item.id else words.clean(item.type, 20).replace("_", " ")
    facts = [
        f"explains {words.percent(item.explains)} of the change" if item.explains is not None else "",
        f"{words.percent(item.share_of_events)} of the events" if item.share_of_events is not None else "",
    ]
    said = item.words or f"{who} causes most of it"
    return html.Div(
        [
            html.P(words.clean(said, 400), className="reason"),
            html.Div(
                [html.Strong(who), *(html.Span(fact, className="dim") for fact in facts if fact)], className="byline"
            ),
            panels.meter(item.explains, "critical") if item.explains is not None else None,
        ],
        className="cohort",
    )


def _segments(items: Sequence[Segment]) -> Any:
    if not items:
        return None
    ordered = sorted(items, key=lambda item: -(item.log10_evidence or 0.0))[:MAX_LINES]
    rows = [
        (
            html.Div(html.Code(words.clean(item.name, 80)), className="measured"),
            words.count(item.n_events) if item.n_events is not None else "–",
            _odds(item.log10_evidence) or "–",
            words.clean(item.words, 300),
        )
        for item in ordered
    ]
    head = ("Segment", "Events", "Evidence", "What it shows")
    return panels.table(head, rows, "Segments by their evidence", (1, 2))


def _shift(item: Column) -> str:
    if item.effect is None or item.effect_unit.startswith("share"):
        return ""
    return f"{item.effect:+.3g} {words.clean(item.effect_unit, 30)}"


def _number(value: float | None) -> str:
    return words.number(value) if value is not None else ""


def _percent(value: float | None) -> str:
    return words.percent(value) if value is not None else ""


def _odds(power: float | None) -> str:
    return f"{words.power_of_ten(min(power, 1e6))} : 1" if power is not None else ""


def _share(value: float | None) -> Any:
    return html.Div([words.percent(value), panels.meter(value)], className="measure-share") if value is not None else ""
