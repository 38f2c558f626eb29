"""Pictures and tables behind an alert, whichever of them its detector wrote down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from dashboard import figures, words
from dashboard.components import charts, exposure, health, movement, panels
from dashboard.detail import Comparison, Coordinate, Detail, Head, StrangeClient, StrangeEvent
from dashboard.theme import Scheme

MAX_COLUMNS = 8
MAX_LINES = 12
_LOG10_FULL = 12.0


def pictures(detail: Detail, scheme: Scheme) -> list[Any]:
    """Everything in ``detail`` that has a picture, as panels in a sensible order."""
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
        _clients(detail.clients),
        _strangest(detail.strangest),
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
        said = html.P(f"{words.percent(detail.share_strange)} of events are strange{expected}{of}.", className="reason")
    graphs = [charts.still(figures.comparison(item, "reference", "now", scheme), 240) for item in own]
    return panels.panel("How strange the inputs are", [said, *graphs])


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


def _clients(items: Sequence[StrangeClient]) -> Any:
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
    return panels.panel(
        "Who sends them", panels.table(("Client", "Events", "Strange", "Share"), rows, "Clients", (1, 2, 3))
    )


def _strangest(items: Sequence[StrangeEvent]) -> Any:
    if not items:
        return None
    rows = [
        (
            html.Code(words.clean(item.event_id, 60)),
            _value(item.score),
            _value(item.p_value),
            html.Div(
                [html.Span(f"{words.clean(name, 40)} {z:+.1f} σ", className="chip") for name, z in item.columns[:4]]
            ),
        )
        for item in items[:MAX_LINES]
    ]
    return panels.panel(
        "The strangest events", panels.table(("Event", "Score", "p-value", "Because of"), rows, "Events", (1, 2))
    )


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
