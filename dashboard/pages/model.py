"""One model version: its budget, its traffic, its evidence, and what normal looks like for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, dcc, html

from dashboard import figures, live, routing, words
from dashboard.components import badges, charts, ledger, panels, states
from dashboard.components.accessibility import aria
from monitor.queries import AlertFilter, AlertRow, BudgetRow, LedgerRow, ModelRow, Queries, ReadingRow

RANGES: Mapping[str, str] = {"1h": "1 h", "6h": "6 h", "1d": "1 d", "7d": "7 d", "30d": "30 d", "all": "All"}
_WIDTHS = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
MAX_READINGS = 20_000
MAX_INCIDENTS = 10
MAX_WARNINGS = 12
MAX_COLUMNS = 200
OPEN_COLUMNS = 12
_PARTS = (
    ("model-head", "children"),
    ("model-tiles", "children"),
    ("model-version", "data"),
    ("model-version", "value"),
    ("model-charts", "hidden"),
    ("model-incidents", "children"),
    ("model-warnings", "children"),
    ("model-budget", "children"),
    ("model-reference", "children"),
    *charts.parts("model-volume"),
    *charts.parts("model-evidence"),
)


def layout(route: routing.Route) -> html.Div:
    chosen = route.one("range", "all")
    picker = dmc.SegmentedControl(
        id="model-range",
        value=chosen if chosen in RANGES else "all",
        data=[{"value": value, "label": label} for value, label in RANGES.items()],
        size="xs",
        **aria(label="Time range"),
    )
    version = dmc.Select(
        id="model-version",
        data=[],
        size="xs",
        className="version-select",
        allowDeselect=False,
        **aria(label="Version"),
    )
    params = {"model": route.item, "version": route.one("version") if "version" in route.query else None}
    return live.frame(
        "model",
        [
            dcc.Store(id="model-params", data=params),
            html.Div(
                [panels.link("← Overview", "/", "back"), html.Div([version, picker], className="actions")],
                className="page-head",
            ),
            html.Div(states.loading(2), id="model-head"),
            html.Div(states.loading(2), id="model-tiles", className="tiles"),
            html.Div(
                [
                    html.Div(
                        [
                            html.Div(
                                [
                                    panels.panel("Evidence", charts.slot("model-evidence", 280)),
                                    panels.panel("Volume", charts.slot("model-volume", 180)),
                                ],
                                id="model-charts",
                            ),
                            html.Div(id="model-incidents"),
                            html.Div(id="model-warnings"),
                        ],
                        className="column-main",
                    ),
                    html.Div([html.Div(id="model-budget"), html.Div(id="model-reference")], className="column-side"),
                ],
                className="columns",
            ),
        ],
    )


def register(app: Dash, queries: Queries) -> None:
    live.register(
        app,
        live.Live(
            page="model",
            parts=_PARTS,
            controls=(("model-range", "value"),),
            states=(("model-params", "data"),),
            render=lambda tick, chosen, params: render(queries, tick, chosen, params, datetime.now(UTC)),
        ),
    )
    charts.register(app, "model-volume")
    charts.register(app, "model-evidence")
    live.browser_on_change(app, "rangeToAddress", Input("model-range", "value"))
    live.browser_on_change(app, "openVersion", Input("model-version", "value"))


def render(
    queries: Queries, tick: live.Tick, chosen: str, params: Mapping[str, Any], now: datetime
) -> Mapping[str, Any]:
    """All parts of the page."""
    name, version = str(params.get("model", "")), params.get("version")
    versions = [row for row in queries.models() if row.model == name]
    row = choose(versions, version)
    if row is None:
        return _missing(name, version)
    alerts = queries.alerts(AlertFilter(model=(name,)), limit=200).rows
    own = [item for item in alerts if item.version == row.version]
    budget = queries.budget(row.model, row.version)
    return {
        "model-head": _head(row, now),
        "model-tiles": _tiles(row, budget, own),
        "model-version.data": [
            {"value": item.version or " ", "label": badges.version(item.version)} for item in versions
        ],
        "model-version.value": row.version or " ",
        "model-incidents": _incidents(own, now),
        "model-budget": ledger.panel(budget) if budget is not None else None,
        "model-reference": _reference(row, queries.reference_summary(row.model, row.version)),
        **_charts(queries, row, own, chosen, tick, now),
    }


def choose(versions: Sequence[ModelRow], wanted: object) -> ModelRow | None:
    """The version asked for; without one the version that had events last."""
    if wanted is not None:
        return next((row for row in versions if row.version == wanted), None)
    return max(versions, key=lambda row: row.last_event_at or row.first_seen_at, default=None)


def _charts(
    queries: Queries, row: ModelRow, alerts: Sequence[AlertRow], chosen: str, tick: live.Tick, now: datetime
) -> dict[str, Any]:
    span = queries.event_range(row.model, row.version)
    if span is None:
        blank = figures.detector_evidence([], [], tick.scheme)
        empty = {**charts.fill("model-volume", blank), **charts.fill("model-evidence", blank)}
        return {"model-charts": True, "model-warnings": _waiting(row), **empty}
    until = span[1] + timedelta(seconds=row.pane_s or 1)
    since = max(span[0], until - _WIDTHS[chosen]) if chosen in _WIDTHS else span[0]
    readings = queries.readings(row.model, row.version, since, until, MAX_READINGS)
    spans = [
        figures.Span(
            max(item.onset_at or item.opened_at, since),
            min(item.resolved_at or until, until),
            item.severity,
            item.title,
        )
        for item in alerts
        if (item.resolved_at or until) >= since and (item.onset_at or item.opened_at) <= until
    ]
    view = f"{row.version}:{chosen}"
    points = queries.volume(row.model, row.version, since, until)
    return {
        "model-charts": False,
        "model-warnings": _warnings(readings, now),
        **charts.fill("model-volume", figures.volume(points, spans, tick.scheme), view),
        **charts.fill("model-evidence", figures.detector_evidence(readings, spans, tick.scheme), view),
    }


def _head(row: ModelRow, now: datetime) -> html.Div:
    return html.Div(
        [
            html.Div([badges.model_status(row.status)], className="signs"),
            html.H1(words.clean(row.model, 160)),
            html.Div(
                [
                    html.Span(badges.version(row.version)),
                    html.Span(["first seen ", badges.when(row.first_seen_at, now)]),
                    html.Span(["last event ", badges.when(row.last_event_at, now)]),
                ],
                className="byline",
            ),
        ],
        className="alert-head",
    )


def _tiles(row: ModelRow, budget: BudgetRow | None, alerts: Sequence[AlertRow]) -> Sequence[Any]:
    unresolved = [item for item in alerts if item.status != "resolved"]
    gravest = next((s for s in ("critical", "warning", "info") if any(item.severity == s for item in unresolved)), "")
    week = budget.last_week if budget is not None else None
    watched = words.duration(week.watched_s) if week is not None else "–"
    allowed = f"{words.number(budget.alarms_per_week)} a week" if budget is not None else "–"
    return [
        panels.tile("Unresolved alerts", words.count(row.open_alerts), "of this version", gravest),
        panels.tile(
            "Events", html.Span(words.compact(row.events_total), title=words.count(row.events_total)), "in total"
        ),
        panels.tile("Watched", watched, "of the last week of events"),
        panels.tile("False alarms allowed", allowed, "over all detectors together"),
        panels.tile(
            "Alerts, last week",
            words.count(week.alerts) if week is not None else "–",
            _judged(week) if week is not None else "",
        ),
    ]


def _judged(week: LedgerRow) -> str:
    """What people say of a week's alerts."""
    marks = ((week.false_alarms, "false"), (week.real, "real"), (week.unmarked, "not judged yet"))
    return ", ".join(f"{words.count(number)} {word}" for number, word in marks if number) or "none was raised"


def _incidents(rows: Sequence[AlertRow], now: datetime) -> Any:
    if not rows:
        return panels.panel("Incidents", states.all_good("No alert has ever been raised for this version."))
    lines = [
        (
            badges.severity(row.severity),
            panels.link(words.clean(row.title, 120), routing.alert_path(row.id), "row-link strong"),
            badges.kind_words(row.kind),
            html.Span([badges.alert_status(row.status), " ", badges.verdict(row.verdict) if row.verdict else None]),
            badges.when(row.created_at, now),
        )
        for row in sorted(rows, key=lambda row: (row.status == "resolved", -row.opened_at.timestamp()))[:MAX_INCIDENTS]
    ]
    more = panels.link("All of this model", routing.alerts_path(status="all", model=rows[0].model))
    return panels.panel(
        "Incidents", panels.table(("Severity", "Alert", "Kind", "State", "Raised"), lines, "Incidents"), more
    )


def _warnings(readings: Sequence[ReadingRow], now: datetime) -> Any:
    """Subjects whose latest reading is a warning."""
    latest = {(row.detector, row.subject_type, row.subject_id): row for row in readings}
    rising = [row for row in latest.values() if row.level == "warning"]
    if not rising:
        return None
    lines = [
        (
            html.Span([badges.shape("warning"), words.clean(row.detector, 40)], className="sign sign-warning"),
            badges.subject(row.subject_type, row.subject_id),
            f"{figures.way_to_alarm(row):.0%}",
            html.Span(words.clean(row.reason, 300)),
            badges.when(row.pane_start, now),
        )
        for row in sorted(rising, key=lambda row: -row.pane_start.timestamp())[:MAX_WARNINGS]
    ]
    table = panels.table(("Detector", "Subject", "To alarm", "What it saw", "At"), lines, "Warnings", (2,))
    return panels.panel("Warnings below the alarm threshold", table, "nobody is told of these")


def _waiting(row: ModelRow) -> Any:
    if row.reference_id is not None:
        text = "Events are being read. The first readings come once a whole pane of them has passed."
        return panels.panel("Readings", states.nothing_yet("No readings yet", text))
    return None


def _reference(row: ModelRow, summary: Mapping[str, Any] | None) -> Any:
    if row.reference_id is None or summary is None:
        text = "Vedette counts this model's events but cannot judge them yet: say what normal looks like."
        name = row.model if words.clean(row.model, 200) == row.model and row.model.isprintable() else "NAME"
        fit = states.command(f"vedette reference fit --model {states.quoted(name)} ordinary.ndjson")
        return panels.panel("Reference", states.nothing_yet("No reference yet", text, fit))
    pairs: list[tuple[str, Any]] = [
        ("Events", words.count(row.reference_events or 0)),
        ("Fitted", words.instant(row.reference_created_at) if row.reference_created_at else "–"),
        ("Clients", _clients(summary)),
        ("Pane", words.duration(row.pane_s) if row.pane_s else "–"),
        ("Id", html.Code(words.clean(row.reference_id, 80))),
    ]
    return panels.panel("Reference", [panels.facts(pairs), _columns(summary), _unfit(summary)])


def _clients(summary: Mapping[str, Any]) -> str:
    n = summary.get("n_clients")
    return words.count(n) if isinstance(n, int) else "–"


def _columns(summary: Mapping[str, Any]) -> Any:
    schema = summary.get("schema")
    columns = schema.get("columns") if isinstance(schema, Mapping) else None
    if not isinstance(columns, (list, tuple)) or not columns:
        return None
    shown = [_column(item) for item in columns[:MAX_COLUMNS]]
    rest = len(columns) - len(shown)
    more = html.Li(f"and {rest} more", className="dim") if rest > 0 else None
    return html.Details(
        [html.Summary(words.plural(len(columns), "column")), html.Ul([*shown, more], className="columns-list")],
        open=len(columns) <= OPEN_COLUMNS,
    )


def _column(item: object) -> html.Li:
    name, role = (item[0], item[1]) if isinstance(item, (list, tuple)) and len(item) == 2 else (item, "")
    return html.Li([html.Code(words.clean(name, 60)), html.Span(words.clean(role, 20), className="dim")])


def _unfit(summary: Mapping[str, Any]) -> Any:
    """Detectors that cannot watch this model, and why."""
    reasons = summary.get("unfit")
    if not isinstance(reasons, Mapping) or not reasons:
        return None
    items = [
        html.Li([html.Strong(words.clean(name, 40)), f": {words.clean(why, 300)}"]) for name, why in reasons.items()
    ]
    return html.Div([html.H3("Not watching"), html.Ul(items)], className="unfit")


def _missing(name: str, version: object) -> dict[str, Any]:
    said = f"No event of {words.clean(name, 80)}"
    text = f"{said}{f', version {words.clean(version, 60)},' if version else ''} has been read."
    lost = states.not_found("No such model", text, panels.link("All models", "/"))
    blank = figures.detector_evidence([], [], live.Tick().scheme)
    return {
        **{f"{component}.{prop}" if component == "model-version" else component: None for component, prop in _PARTS},
        "model-version.data": [],
        "model-head": lost,
        "model-charts": True,
        **charts.fill("model-volume", blank),
        **charts.fill("model-evidence", blank),
    }
