"""Pictures and tables behind an alert, whichever of them its detector wrote down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from dashboard import figures, words
from dashboard.components import charts, exposure, health, movement, panels
from dashboard.detail import Comparison, Coordinate, Detail, Head
from dashboard.strange import StrangeClient, StrangeEvent
from dashboard.theme import Scheme

MAX_COLUMNS = 8
MAX_LINES = 12
_LOG10_FULL = 12.0


def pictures(detail: Detail, scheme: Scheme, values: Mapping[str, Mapping[str, Any]] | None = None) -> list[Any]:
    """Everything in ``detail`` that has a picture, as panels in a sensible order.

    Args:
        values: event id → its own values, where the settings keep them for now.
    """
    sections = [
        movement.causes(detail),
        health.metrics(detail, scheme),
        health.confusion(detail),
        health.checks(detail),
        movement.columns(detail, scheme),
        movement.pairs(detail),
        _strangeness(detail, scheme),
        _heads(detail.heads, detail.calibration),
        exposure.copied(detail),
        _coordinates(detail.coordinates),
        _client_comparisons(detail, scheme),
        exposure.tempo(detail.tempo),
        exposure.exposed(detail.exposures),
        _strange_about_them(detail),
        _senders("Client", detail.clients),
        _senders("Segment", detail.strange_segments),
        _strangest(detail.strangest, values or {}),
    ]
    return [section for section in sections if section is not None]


def context(detail: Detail) -> list[Any]:
    """What else could explain it, and what it is called elsewhere."""
    sections = [exposure.actions(detail), _benign(detail.benign_explanations), _techniques(detail)]
    return [section for section in sections if section is not None]


def _strangeness(detail: Detail, scheme: Scheme) -> Any:
    own = [item for item in detail.comparisons if item.title.startswith("How strange")]
    if not own and detail.share_strange is None:
        return None
    said = None
    if detail.share_strange is not None:
        expected = (
            f" where {words.percent(detail.expected_share)} is usual" if detail.expected_share is not None else ""
        )
        of = (
            f" ({words.count(detail.n_strange)} of {words.count(detail.n_events)} events)"
            if detail.n_strange and detail.n_events
            else ""
        )
        said = html.P(
            f"{words.percent(detail.share_strange)} of events are strange{expected}{of}.{_one_by_one(detail)}",
            className="reason",
        )
    graphs = [charts.still(figures.comparison(item, "reference", "now", scheme), 240) for item in own]
    return panels.panel("How strange the inputs are", [said, *graphs])


def _one_by_one(detail: Detail) -> str:
    if not detail.n_one_by_one or detail.false_discovery_rate is None:
        return ""
    rate = words.percent(detail.false_discovery_rate)
    return f" {words.count(detail.n_one_by_one)} of them are strange one by one: of such, at most {rate} are ordinary."


def _strange_about_them(detail: Detail) -> Any:
    """Which columns and scores say so, and which inputs were missing when they were scored."""
    parts: list[Any] = []
    for head, items in (("Columns", detail.strange_columns), ("Scores", detail.because)):
        if items:
            rows = [(words.clean(i.words, 200), words.count(i.n), _share(i.share)) for i in items[:MAX_LINES]]
            parts.append(panels.table((head, "Strange events", "Share"), rows, f"{head} that say so", (1, 2)))
    if detail.inputs_missing:
        lacking = [
            f"{words.clean(item.words, 60)} ({_share(item.share)})" for item in detail.inputs_missing[:MAX_LINES]
        ]
        told = f"Events that lack an input are scored by the others. Missing: {', '.join(lacking)}."
        parts.append(html.P(told, className="dim"))
    return panels.panel("What is strange about them", parts) if parts else None


def _client_comparisons(detail: Detail, scheme: Scheme) -> Any:
    others = [item for item in detail.comparisons if not item.title.startswith("How strange")]
    if not others:
        return None
    cards = [_card(item, scheme) for item in others[:MAX_COLUMNS]]
    return panels.panel("How this client asks", html.Div(cards, className="pictures"))


def _card(item: Comparison, scheme: Scheme) -> html.Div:
    figure = figures.comparison(item, "honest clients", "this client", scheme)
    return html.Div([html.H3(words.clean(item.title, 80)), charts.still(figure, 190)], className="picture-card")


def _heads(heads: Sequence[Head], calibration: str) -> Any:
    if not heads:
        return None
    ordered = sorted(heads, key=lambda item: -(item.log10_evidence or 0.0))[:MAX_LINES]
    body = html.Ul([_head(item) for item in ordered], className="heads")
    aside = words.clean(calibration, 120) or None
    return panels.panel("What speaks against an honest client", body, aside)


def _head(item: Head) -> html.Li:
    power = item.log10_evidence
    odds = f"{words.power_of_ten(power)} : 1" if power is not None else "–"
    chance = f"p = {words.number(item.p_value)}" if item.p_value is not None else ""
    strong = power is not None and power >= 1
    return html.Li(
        [
            html.Div(
                [
                    html.Strong(_capital(words.clean(item.title, 100))),
                    html.Div(words.clean(item.words, 300), className="dim"),
                ]
            ),
            html.Div([html.Div(odds, className="strong"), html.Div(chance, className="dim")], className="head-number"),
            panels.meter((power or 0.0) / _LOG10_FULL, "critical" if strong else "dim"),
        ]
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _coordinates(items: Sequence[Coordinate]) -> Any:
    if not items:
        return None
    rows = [
        (words.clean(item.words, 200), _share(item.client), _share(item.peers), _times(item))
        for item in items[:MAX_LINES]
    ]
    table = panels.table(
        ("Measured", "This client", "Honest clients", "Ratio"), rows, "Client against peers", (1, 2, 3)
    )
    return panels.panel("This client beside the others", table)


def _value(value: float | None) -> str:
    return words.number(value) if value is not None else "–"


def _share(value: float | None) -> str:
    return words.percent(value) if value is not None and 0 <= value <= 1 else _value(value)


def _times(item: Coordinate) -> Any:
    if not item.client or not item.peers or item.client * item.peers < 0:
        return "–"
    return html.Span(f"× {words.number(item.client / item.peers)}", className="strong")


def _senders(who: str, items: Sequence[StrangeClient]) -> Any:
    if not items:
        return None
    rows = [
        (
            html.Code(words.clean(item.client, 80)),
            words.count(item.n),
            words.count(item.n_strange),
            words.percent(item.n_strange / item.n) if item.n else "–",
        )
        for item in items[:MAX_LINES]
    ]
    title = "Who sends them" if who == "Client" else "Where they come from"
    return panels.panel(title, panels.table((who, "Events", "Strange", "Share"), rows, f"{who}s", (1, 2, 3)))


def _strangest(items: Sequence[StrangeEvent], values: Mapping[str, Mapping[str, Any]]) -> Any:
    if not items:
        return None
    rows = [
        (
            html.Div([html.Code(words.clean(item.event_id, 60)), _own_values(values.get(item.event_id))]),
            html.Code(words.clean(item.client, 40)) if item.client else "–",
            _value(item.score),
            f"{_value(item.p_value)}{' *' if item.modelled else ''}",
            html.Div(_chips(item) or words.clean(item.because, 160)),
        )
        for item in items[:MAX_LINES]
    ]
    table = panels.table(("Event", "Client", "Score", "p-value", "Because of"), rows, "Events", (2, 3))
    aside = "* from a model of the tail" if any(item.modelled for item in items[:MAX_LINES]) else None
    return panels.panel("The strangest events", table, aside)


def _chips(item: StrangeEvent) -> list[html.Span]:
    return [
        html.Span(f"{words.clean(name, 40)} {words.clean(told, 60)}", className="chip")
        for name, told in item.columns[:4]
    ]


def _own_values(values: Mapping[str, Any] | None) -> Any:
    if not values:
        return None
    told = [f"{words.clean(str(name), 40)} = {words.clean(str(value), 80)}" for name, value in values.items()]
    return html.Details([html.Summary("values"), html.Ul([html.Li(text) for text in told[:50]])])


def _techniques(detail: Detail) -> Any:
    if not detail.techniques:
        return None
    items = [
        html.Li(
            [
                html.Div(words.clean(item.name, 160), className="strong"),
                html.Div([html.Code(words.clean(item.id, 40)), f" · {words.clean(item.source, 60)}"], className="dim"),
            ]
        )
        for item in detail.techniques[:MAX_LINES]
    ]
    aside = f"ATLAS {words.clean(detail.atlas_release, 20)}" if detail.atlas_release else None
    return panels.panel("Known techniques like this", html.Ul(items, className="techniques"), aside)


def _benign(explanations: Sequence[str]) -> Any:
    if not explanations:
        return None
    items = [
        html.Li(dmc.Checkbox(label=_capital(words.clean(text, 300)), size="xs"))
        for text in explanations[:MAX_LINES]
        if text
    ]
    said = html.P("Rule these out before you act on a person:", className="dim")
    return panels.panel("It may be harmless", [said, html.Ul(items, className="checklist")])
