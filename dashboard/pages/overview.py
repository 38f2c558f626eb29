"""First page: is anything wrong, and is everything read?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, html

from dashboard import live, routing, words
from dashboard.components import badges, panels, states
from dashboard.components.accessibility import aria
from monitor.queries import AlertFilter, AlertRow, ModelRow, OverviewRow, PartitionRow, Queries, VolumePoint

MAX_INCIDENTS = 12
MAX_MODELS = 30
MAX_PARTITIONS = 60
SPARK_POINTS = 40
_STALE_S = 120.0
_SEVERITIES = ("critical", "warning", "info")


def layout(_route: routing.Route) -> html.Div:
    """The empty page; ``register`` fills it."""
    return live.frame(
        "overview",
        [
            html.H1("Overview", className="unseen"),
            html.Div(states.loading(2), id="overview-tiles", className="tiles"),
            html.Div(states.loading(4), id="overview-incidents"),
            html.Div(states.loading(4), id="overview-models"),
            html.Div(states.loading(3), id="overview-pipeline"),
        ],
    )


def register(app: Dash, queries: Queries) -> None:
    names = ("overview-tiles", "overview-incidents", "overview-models", "overview-pipeline")
    parts = tuple((name, "children") for name in names)
    live.register(app, live.Live("overview", parts, lambda tick: render(queries, tick, datetime.now(UTC))))


def render(queries: Queries, tick: live.Tick, now: datetime) -> Mapping[str, Any]:
    """All parts of the page."""
    numbers = queries.overview()
    models = queries.models()
    if not models and not numbers.events_total:
        return {
            "overview-tiles": None,
            "overview-incidents": states.first_event(tick.origin),
            "overview-models": None,
            "overview-pipeline": _pipeline(queries.partitions(), now) if queries.partitions() else None,
        }
    unresolved = queries.alerts(AlertFilter(status=("open", "acknowledged")), limit=100).rows
    return {
        "overview-tiles": _tiles(numbers),
        "overview-incidents": _incidents(unresolved, sum(numbers.open_alerts.values()), numbers, now),
        "overview-models": _models(queries, models, now),
        "overview-pipeline": _pipeline(queries.partitions(), now),
    }


def by_urgency(rows: Sequence[AlertRow]) -> Sequence[AlertRow]:
    """Open before acknowledged, grave before light, new before old."""
    rank = {name: index for index, name in enumerate(_SEVERITIES)}

    def key(row: AlertRow) -> tuple[bool, int, float]:
        return row.status != "open", rank.get(row.severity, 9), -row.opened_at.timestamp()

    return sorted(rows, key=key)


def _tiles(row: OverviewRow) -> Sequence[Any]:
    unresolved = sum(row.open_alerts.values())
    gravest = next((name for name in _SEVERITIES if row.open_alerts.get(name)), "ok")
    split = [
        html.Span([badges.shape(name), f"{words.count(row.open_alerts[name])} {name}"], className=f"sign sign-{name}")
        for name in _SEVERITIES
        if row.open_alerts.get(name)
    ]
    owed = f"{words.plural(row.deliveries_dead, 'delivery').replace('deliverys', 'deliveries')} given up"
    return [
        panels.tile(
            "Unresolved alerts", panels.link(words.count(unresolved), "/alerts"), split or "nothing needs you", gravest
        ),
        panels.tile("Models watched", words.count(row.models), "model versions"),
        panels.tile(
            "Events read", html.Span(words.compact(row.events_total), title=words.count(row.events_total)), "in total"
        ),
        panels.tile(
            "Events, last minute",
            words.count(row.events_last_minute),
            f"{words.number(row.events_last_minute / 60)} a second",
        ),
        panels.tile(
            "Dead letters",
            words.count(row.dead_letters_total),
            "unreadable records set aside" if row.dead_letters_total else "every record was readable",
            "warning" if row.dead_letters_total else "",
        ),
        panels.tile(
            "Deliveries owed",
            words.count(row.deliveries_owed),
            owed if row.deliveries_dead else "none given up",
            "critical" if row.deliveries_dead else "",
        ),
    ]


def _incidents(rows: Sequence[AlertRow], total: int, numbers: OverviewRow, now: datetime) -> Any:
    if not rows:
        since = "No alert is open"
        text = f"{since} on {words.plural(numbers.models, 'model version')}. New ones appear here on their own."
        return panels.panel("Incidents", states.all_good(text))
    shown = by_urgency(rows)[:MAX_INCIDENTS]
    body = html.Ul([_incident(row, now) for row in shown], className="incidents")
    rest = total - len(shown)
    more = panels.link(f"{words.count(rest)} more" if rest > 0 else "All alerts", "/alerts")
    return panels.panel("Incidents", body, more)


def _incident(row: AlertRow, now: datetime) -> html.Li:
    return html.Li(
        [
            html.Div(badges.severity(row.severity), className="incident-severity"),
            html.Div(
                [
                    panels.link(words.clean(row.title, 160), routing.alert_path(row.id), "row-link incident-title"),
                    html.Div(words.clean(row.reason, 240), className="incident-reason"),
                ],
                className="incident-what",
            ),
            html.Div(
                [badges.kind(row.kind), html.Span(f"{words.clean(row.model, 60)} · {badges.version(row.version)}")],
                className="incident-where",
            ),
            html.Div([badges.alert_status(row.status), badges.when(row.created_at, now)], className="incident-when"),
        ],
        className="incident",
    )


def _models(queries: Queries, models: Sequence[ModelRow], now: datetime) -> Any:
    rank = {"alarm": 0, "warning": 1, "warming": 2, "ok": 3}
    ordered = sorted(models, key=lambda row: (rank.get(row.status, 9), row.model, row.version))
    shown = ordered[:MAX_MODELS]
    rows = [_model(row, recent_volume(queries, row), now) for row in shown]
    head = ("Model", "Status", "Unresolved", "Volume", "Events", "Last event")
    rest = len(ordered) - len(shown)
    body: list[Any] = [panels.table(head, rows, "Models", numeric=(2, 4))]
    if rest > 0:
        body.append(html.P(f"{words.count(rest)} more model versions are not shown.", className="dim"))
    return panels.panel("Models", body, words.plural(len(models), "model version"))


def _model(row: ModelRow, volume: Sequence[VolumePoint], now: datetime) -> Sequence[Any]:
    name = html.Div(
        [
            panels.link(words.clean(row.model, 60), routing.model_path(row.model, row.version), "row-link strong"),
            html.Span(badges.version(row.version), className="dim"),
        ],
        className="model-name",
    )
    alerts = panels.link(words.count(row.open_alerts), routing.alerts_path(model=row.model)) if row.open_alerts else "0"
    return (
        name,
        badges.model_status(row.status),
        alerts,
        _sparkline(volume),
        html.Span(words.compact(row.events_total), title=words.count(row.events_total)),
        badges.when(row.last_event_at, now),
    )


def recent_volume(queries: Queries, row: ModelRow) -> Sequence[VolumePoint]:
    """Volume of the last stretch of event time that was judged, at most a day of it."""
    span = queries.event_range(row.model, row.version)
    if span is None:
        return ()
    since = max(span[0], span[1] - timedelta(days=1))
    return queries.volume(row.model, row.version, since, span[1] + timedelta(seconds=row.pane_s or 1), SPARK_POINTS)


def _sparkline(points: Sequence[VolumePoint]) -> Any:
    if len(points) < 2:
        return html.Span("–", className="dim")
    counts = [point.n_events for point in points]
    label = f"Volume from {min(counts)} to {max(counts)} events a slice"
    return html.Div(
        dmc.Sparkline(data=counts, h=28, w=140, color="indigo.5", curveType="linear", strokeWidth=1.5, fillOpacity=0.2),
        className="sparkline",
        title=label,
        role="img",
        **aria(label=label),
    )


def _pipeline(rows: Sequence[PartitionRow], now: datetime) -> Any:
    if not rows:
        text = "No worker has read anything yet. Start one with vedette up or vedette worker."
        return panels.panel("Pipeline", states.nothing_yet("No partitions yet", text))
    ordered = sorted(rows, key=lambda row: (-(row.lag or 0), row.source, row.topic, row.partition))
    head = ("Partition", "Read up to", "Lag", "Events", "Lost", "Worker", "Last commit")
    body = [panels.table(head, [_partition(row, now) for row in ordered[:MAX_PARTITIONS]], "Partitions", (1, 2, 3, 4))]
    lag = sum(row.lag or 0 for row in rows)
    said = (
        f"{words.plural(len(rows), 'partition')}, {words.count(lag)} behind"
        if lag
        else f"{words.plural(len(rows), 'partition')}, nothing behind"
    )
    return panels.panel("Pipeline", body, said)


def _partition(row: PartitionRow, now: datetime) -> Sequence[Any]:
    stale = (now - row.updated_at).total_seconds() > _STALE_S
    commit = badges.when(row.updated_at, now)
    lost = html.Span([badges.shape("critical"), words.count(row.lost_total)], className="sign sign-critical")
    return (
        html.Span(f"{words.clean(row.topic, 60)} / {row.partition}", title=words.clean(row.source, 40)),
        words.count(max(row.next_offset, 0)),
        words.count(row.lag) if row.lag is not None else "–",
        words.compact(row.events_total),
        lost if row.lost_total else "0",
        html.Span(words.clean(row.owner, 40), className="mono dim"),
        html.Span([badges.shape("warning"), commit], className="sign sign-warning") if stale and row.lag else commit,
    )
