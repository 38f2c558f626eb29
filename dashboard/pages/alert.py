"""One alert: what it is, why it fired, what changed, what was done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, dcc, html

from dashboard import figures, live, routing, words
from dashboard.components import badges, charts, evidence, history, panels, states
from dashboard.components.accessibility import aria
from dashboard.detail import Detail, read_detail
from monitor.queries import AlertRow, Queries, ReadingRow

MAX_READINGS = 20_000
RANGES: Mapping[str, str] = {"incident": "Incident", "day": "Day", "week": "Week", "month": "Month"}
_WIDTHS = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}
_PARTS = (
    ("alert-head", "children"),
    ("alert-why", "children"),
    ("alert-pictures", "children"),
    ("alert-side", "children"),
    ("alert-context", "children"),
    ("alert-history", "children"),
    ("alert-deliveries", "children"),
    ("alert-actions", "hidden"),
    ("alert-acknowledge", "hidden"),
    ("alert-resolve", "hidden"),
    ("alert-marks", "hidden"),
    ("alert-false-alarm", "hidden"),
    ("alert-real", "hidden"),
    ("alert-unmark", "hidden"),
    ("alert-chart-box", "hidden"),
    *charts.parts("alert-evidence"),
)


def layout(route: routing.Route) -> html.Div:
    chosen = route.one("range", "incident")
    picker = dmc.SegmentedControl(
        id="alert-range",
        value=chosen if chosen in RANGES else "incident",
        data=[{"value": value, "label": label} for value, label in RANGES.items()],
        size="xs",
        **aria(label="Time range"),
    )
    return live.frame(
        "alert",
        [
            dcc.Store(id="alert-id", data=route.item),
            dcc.Store(id={"role": "target", "page": "alert"}, data=[route.item]),
            html.Div([panels.link("← Alerts", "/alerts", "back"), _actions()], className="page-head"),
            html.Div(states.loading(3), id="alert-head"),
            html.Div(
                [
                    html.Div(
                        [
                            html.Div(states.loading(3), id="alert-why"),
                            html.Div(
                                panels.panel("Evidence over time", charts.slot("alert-evidence", 260), picker),
                                id="alert-chart-box",
                            ),
                            html.Div(id="alert-pictures"),
                        ],
                        className="column-main",
                    ),
                    html.Div(
                        [
                            html.Div(id="alert-side"),
                            html.Div(id="alert-context"),
                            html.Div(id="alert-history"),
                            html.Div(id="alert-deliveries"),
                        ],
                        className="column-side",
                    ),
                ],
                className="columns",
            ),
        ],
    )


def register(app: Dash, queries: Queries) -> None:
    live.register(
        app,
        live.Live(
            page="alert",
            parts=_PARTS,
            controls=(("alert-range", "value"),),
            states=(("alert-id", "data"),),
            render=lambda tick, chosen, alert_id: render(queries, tick, chosen, str(alert_id), datetime.now(UTC)),
        ),
    )
    charts.register(app, "alert-evidence")
    live.browser_on_change(app, "rangeToAddress", Input("alert-range", "value"))


def render(queries: Queries, tick: live.Tick, chosen: str, alert_id: str, now: datetime) -> Mapping[str, Any]:
    """All parts of the page."""
    row = queries.alert(alert_id)
    if row is None:
        return _missing()
    detail = read_detail(row.detail)
    since, until = time_range(row, chosen)
    readings = of_alert(queries.readings(row.model, row.version, since, until, MAX_READINGS), row)
    span = figures.Span(row.onset_at or row.opened_at, row.resolved_at or row.last_seen_at, row.severity, row.title)
    return {
        "alert-head": _head(row, now),
        "alert-why": _why(row),
        "alert-pictures": evidence.pictures(detail, tick.scheme, queries.strange_values(row.id)),
        "alert-side": _side(row, detail),
        "alert-context": evidence.context(detail),
        "alert-history": history.transitions(queries.transitions(row.id), now),
        "alert-deliveries": history.deliveries(queries.deliveries(row.id), now),
        **_hidden(row),
        "alert-chart-box": row.log_threshold <= 0,
        **charts.fill(
            "alert-evidence", figures.alert_evidence(readings, row.log_threshold, [span], tick.scheme), chosen
        ),
    }


def _hidden(row: AlertRow) -> dict[str, bool]:
    """Which actions make no sense now; what the pipeline says is a fact, and no verdict on it counts."""
    return {
        "alert-actions": False,
        "alert-acknowledge": row.status != "open",
        "alert-resolve": row.status == "resolved",
        "alert-marks": row.kind == "pipeline",
        "alert-false-alarm": row.verdict == "false_alarm",
        "alert-real": row.verdict == "real",
        "alert-unmark": row.verdict is None,
    }


def time_range(row: AlertRow, chosen: str) -> tuple[datetime, datetime]:
    """Event time to show: the incident with room on both sides, or a day, week or month that ends with it."""
    start, end = row.onset_at or row.opened_at, row.resolved_at or row.last_seen_at
    if chosen in _WIDTHS:
        return end - _WIDTHS[chosen], end + timedelta(minutes=1)
    room = max((end - start) * 0.6, timedelta(minutes=5))
    return start - room, end + room


def of_alert(readings: Sequence[ReadingRow], row: AlertRow) -> Sequence[ReadingRow]:
    """The readings that are about this alert's subject, by the detector that raised it."""
    return [
        reading
        for reading in readings
        if reading.detector == row.detector
        and (reading.subject_type, reading.subject_id) == (row.subject_type, row.subject_id)
    ]


def _actions() -> html.Div:
    def button(text: str, action: str, variant: str) -> html.Span:
        acting = dmc.Button(text, id={"role": "act", "action": action}, size="sm", variant=variant)
        return html.Span(acting, id=f"alert-{action.replace('_', '-')}")

    marks = [
        button("False alarm", "false_alarm", "default"),
        button("Real", "real", "default"),
        button("Take back", "unmark", "subtle"),
    ]
    return html.Div(
        [
            html.Div(
                [html.Span("Was this alert right?", className="dim"), *marks],
                id="alert-marks",
                className="marks",
                role="group",
                **aria(label="Was this alert right?"),
            ),
            button("Resolve", "resolve", "default"),
            button("Acknowledge", "acknowledge", "filled"),
        ],
        id="alert-actions",
        className="actions",
        hidden=True,
    )


def _head(row: AlertRow, now: datetime) -> html.Div:
    signs = [badges.severity(row.severity), badges.alert_status(row.status), badges.kind(row.kind)]
    said = []
    if row.acknowledged_by and row.status == "acknowledged":
        said.append(_by("Acknowledged by ", row.acknowledged_by, row.acknowledged_at, now))
    if row.verdict:
        signs.append(badges.verdict(row.verdict))
        what = "Marked a false alarm by " if row.verdict == "false_alarm" else "Marked real by "
        said.append(_by(what, row.verdict_by or "somebody", row.verdict_at, now))
    return html.Div(
        [
            html.Div(signs, className="signs"),
            html.H1(words.clean(row.title, 240)),
            html.Div(
                [
                    html.Span(["on ", _model(row)]),
                    html.Span(["about ", badges.subject(row.subject_type, row.subject_id, row.members)]),
                    html.Span(["raised ", badges.when(row.created_at, now)]),
                    *said,
                ],
                className="byline",
            ),
        ],
        className="alert-head",
    )


def _by(what: str, who: str, at: datetime | None, now: datetime) -> html.Span:
    return html.Span([what, html.Strong(words.clean(who, 80)), " ", badges.when(at, now)])


def _model(row: AlertRow) -> Any:
    """The model's name and page; a pipeline alert is about a topic, which has none."""
    name = words.clean(row.model, 80)
    if row.kind == "pipeline":
        return name
    return panels.link(f"{name} · {badges.version(row.version)}", routing.model_path(row.model, row.version))


def _why(row: AlertRow) -> Any:
    numbers = html.Div(
        [
            panels.tile("Evidence", words.odds(row.log_evidence), _against(row)),
            panels.tile("Effect", _effect(row.effect, row.effect_unit), words.clean(row.effect_unit, 60)),
            panels.tile(
                "Lasting", words.duration(_length_s(row)), f"{words.plural(row.readings_total, 'reading')} in alarm"
            ),
        ],
        className="tiles tiles-small",
    )
    return panels.panel("Why it fired", [html.P(words.clean(row.reason, 1_000), className="reason"), numbers])


def _against(row: AlertRow) -> str:
    if row.log_threshold <= 0:
        return "a fact, not an estimate"
    return f"alarms at {words.odds(row.log_threshold)}"


def _effect(value: float, unit: str) -> str:
    return words.percent(value) if unit.startswith("share") else words.number(value)


def _length_s(row: AlertRow) -> float:
    return ((row.resolved_at or row.last_seen_at) - (row.onset_at or row.opened_at)).total_seconds()


def _side(row: AlertRow, detail: Detail) -> Any:
    pairs: list[tuple[str, Any]] = [
        ("Model", words.clean(row.model, 120)),
        ("Version", badges.version(row.version)),
        ("Subject", badges.subject(row.subject_type, row.subject_id, row.members)),
        ("Detector", words.clean(row.detector, 60)),
    ]
    if detail.family:
        pairs.append(("Pattern", words.clean(detail.family, 120)))
    times = (
        ("Began", row.onset_at),
        ("Alarmed", row.opened_at),
        ("Last seen", row.last_seen_at),
        ("Resolved", row.resolved_at),
    )
    pairs += [(name, words.instant(at)) for name, at in times if at is not None]
    pairs.append(("Id", html.Code(words.clean(row.id, 80))))
    members = None
    if row.members:
        shown = [html.Li(html.Code(words.clean(name, 120))) for name in row.members[:20]]
        rest = len(row.members) - len(shown)
        members = html.Details(
            [
                html.Summary(words.plural(len(row.members), "client")),
                html.Ul(shown),
                f"and {rest} more" if rest else None,
            ]
        )
    return panels.panel("Facts", [panels.facts(pairs), members])


def _missing() -> dict[str, Any]:
    text = "No alert has this id. It may have been deleted, or the link may be cut short."
    lost = states.not_found("No such alert", text, panels.link("All alerts", "/alerts?status=all"))
    values: dict[str, Any] = dict.fromkeys((component for component, _ in _PARTS), None)
    blank = figures.alert_evidence([], 1.0, [], live.Tick().scheme)
    return {
        **values,
        "alert-head": lost,
        "alert-actions": True,
        "alert-chart-box": True,
        **charts.fill("alert-evidence", blank),
    }
