"""How good the data is and how well the model does: checks, metrics with their intervals, confusion of classes."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboard import figures, words
from dashboard.components import charts, panels
from dashboard.components.accessibility import aria
from dashboard.detail import Check, Confusion, Detail, Interval
from dashboard.theme import Scheme

MAX_LINES = 12
MAX_CLASSES = 12


def checks(detail: Detail) -> Any:
    """Measures of data quality, by their part of the evidence."""
    if not detail.checks:
        return None
    ordered = sorted(detail.checks, key=lambda item: -(item.evidence_share or 0.0))[:MAX_LINES]
    rows = [
        (
            html.Div(
                [html.Strong(_named(item.name)), html.Div(words.clean(item.words, 300), className="dim")],
                className="measured",
            ),
            html.Span(figure(item.expected, item.unit), className="wrap"),
            html.Span(figure(item.current, item.unit), className="wrap strong"),
            _share(item),
        )
        for item in ordered
    ]
    head = ("Check", "Expected", "Found", "Part of the alarm")
    return panels.panel("What the checks found", panels.table(head, rows, "Checks of data quality", (1, 2, 3)))


def metrics(detail: Detail, scheme: Scheme) -> Any:
    """Measures of performance: reference, label-free estimate and what labels show, as a picture and in figures."""
    shown = detail.metrics[:MAX_LINES]
    if not shown:
        return None
    rows = [
        (
            html.Div(_named(item.name), className="measured strong"),
            _value(item.reference),
            _between(item.estimated),
            _between(item.measured),
            words.count(item.n_labels) if item.n_labels is not None else "–",
        )
        for item in shown
    ]
    head = ("Metric", "Reference", "Estimated", "Measured", "Labels")
    drawn = figures.metrics_as_shares(shown)
    picture = charts.still(figures.metrics(drawn, scheme), 74 + 46 * len(drawn)) if drawn else None
    aside = "limits hold 95 % of the time; an estimate needs no labels"
    table = panels.table(head, rows, "Performance now and in the reference", (1, 2, 3, 4))
    return panels.panel("How well the model does", [picture, table], aside)


def confusion(detail: Detail) -> Any:
    """Labels against predictions, each cell as a share of its label."""
    if detail.confusion is None:
        return None
    data = detail.confusion
    kept = range(min(len(data.labels), MAX_CLASSES))
    head = html.Tr([html.Th("label \\ prediction"), *(html.Th(_label(data, i), scope="col") for i in kept)])
    rows = [html.Tr([html.Th(_label(data, i), scope="row"), *(_cell(data, i, j) for j in kept)]) for i in kept]
    rest = len(data.labels) - len(kept)
    cut = html.P(f"and {words.count(rest)} more of them", className="dim")
    table = html.Div(
        html.Table(
            [html.Thead(head), html.Tbody(rows)], className="matrix", **aria(label="Labels against predictions")
        ),
        className="table-scroll",
    )
    return panels.panel("What labels were predicted as", [table, cut if rest else None], "share of each label")


def figure(value: float | str | None, unit: str) -> str:
    """A check's value as people read its unit.

    >>> figure(0.031, "share"), figure(95, "s"), figure(12.5, "events/s"), figure("integer", ""), figure(None, "s")
    ('3.1 %', '1 min 35 s', '12.5 events/s', 'integer', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return words.clean(value, 80)
    if unit.startswith("share"):
        return words.percent(value)
    if unit == "s" and value >= 1:
        return words.duration(value)
    return f"{words.number(value)} {words.clean(unit, 30)}".strip()


def _share(item: Check) -> Any:
    if item.evidence_share is None:
        return "–"
    return html.Div([words.percent(item.evidence_share), panels.meter(item.evidence_share)], className="measure-share")


def _named(name: str) -> str:
    said = words.clean(name, 80).replace("_", " ")
    return said[:1].upper() + said[1:]


def _value(value: float | None) -> str:
    return words.number(value) if value is not None else "–"


def _between(item: Interval | None) -> Any:
    if item is None:
        return "–"
    if item.low == item.high:
        return words.number(item.value)
    limits = f"{words.number(item.low)} – {words.number(item.high)}"
    return html.Div([html.Div(words.number(item.value)), html.Div(limits, className="dim small")])


def _label(data: Confusion, index: int) -> str:
    return words.clean(data.labels[index], 24) or "–"


def _cell(data: Confusion, row: int, column: int) -> html.Td:
    whole = sum(data.counts[row])
    share = data.counts[row][column] / whole if whole > 0 else 0.0
    kind = "right" if row == column else "wrong"
    shown = words.percent(share) if share else "·"
    depth: Any = {"--depth": f"{max(0.0, min(share, 1.0)) * 100:.0f}%"}
    return html.Td(shown, className=kind, style=depth, title=f"{words.number(data.counts[row][column])} events")
