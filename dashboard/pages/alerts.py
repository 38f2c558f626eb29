"""Inbox: every alert, filtered by what the address says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Dash, Input, Output, dcc, html

from dashboard import live, routing, words
from dashboard.components import badges, panels, states
from dashboard.components.accessibility import aria
from monitor.queries import AlertFilter, AlertRow, Page, Queries

MAX_ROWS = 1_000
MAX_SEARCH = 200
VERDICTS: Mapping[str, str] = {"none": "Not judged", **badges.VERDICT_WORDS}
SEVERITIES = ("critical", "warning", "info")
VIEWS: Mapping[str, tuple[str, ...]] = {
    "unresolved": ("open", "acknowledged"),
    "open": ("open",),
    "acknowledged": ("acknowledged",),
    "resolved": ("resolved",),
    "all": (),
}
_CONTROLS = (
    ("alerts-status", "value"),
    ("alerts-severity", "value"),
    ("alerts-kind", "value"),
    ("alerts-model", "value"),
    ("alerts-search", "value"),
    ("alerts-verdict", "value"),
)


def layout(route: routing.Route) -> html.Div:
    """The page with its filters set from the address; ``register`` fills the rest."""
    return live.frame(
        "alerts",
        [
            html.Div(
                [html.H1("Alerts"), html.Div(id="alerts-count", className="dim", role="status")], className="page-head"
            ),
            _filters(route),
            html.Div(
                [
                    html.Span(id="alerts-selected", className="dim"),
                    _button("Acknowledge", "acknowledge", "filled"),
                    _button("Resolve", "resolve", "default"),
                    _button("False alarm", "false_alarm", "default"),
                ],
                id="alerts-toolbar",
                className="toolbar",
                hidden=True,
            ),
            dcc.Store(id={"role": "target", "page": "alerts"}, data=[]),
            html.Div(_grid(), id="alerts-table"),
            html.Div(states.loading(5), id="alerts-empty"),
        ],
    )


def register(app: Dash, queries: Queries) -> None:
    live.register(
        app,
        live.Live(
            page="alerts",
            parts=(
                ("alerts-grid", "rowData"),
                ("alerts-table", "hidden"),
                ("alerts-empty", "children"),
                ("alerts-count", "children"),
                ("alerts-model", "data"),
            ),
            controls=_CONTROLS,
            render=lambda tick, *values: render(queries, tick, read_filter(*values)),
        ),
    )
    live.browser_on_change(app, "filtersToAddress", *(Input(component, prop) for component, prop in _CONTROLS))
    live.browser(
        app,
        "selection",
        Output({"role": "target", "page": "alerts"}, "data"),
        Output("alerts-selected", "children"),
        Output("alerts-toolbar", "hidden"),
        Input("alerts-grid", "selectedRows"),
    )
    live.browser_on_change(app, "openRow", Input("alerts-grid", "cellClicked"))


def read_filter(
    status: str | None,
    severity: Sequence[str] | None,
    kind: Sequence[str] | None,
    model: Sequence[str] | None,
    search: str | None,
    verdict: str | None = None,
) -> AlertFilter:
    """The filter that the controls say; words that are none of ours are ignored."""
    return AlertFilter(
        status=VIEWS.get(status or "", VIEWS["unresolved"]),
        severity=tuple(item for item in severity or () if item in SEVERITIES),
        kind=tuple(item for item in kind or () if item in badges.KIND_WORDS),
        model=tuple(model or ()),
        search=(search or "").strip()[:MAX_SEARCH],
        verdict=(verdict,) if verdict and verdict in VERDICTS else (),
    )


def render(queries: Queries, tick: live.Tick, where: AlertFilter) -> Mapping[str, Any]:
    """All parts of the page."""
    page = queries.alerts(where, limit=MAX_ROWS)
    names = sorted({row.model for row in queries.models()} | set(where.model))
    return {
        "alerts-grid": [grid_row(row) for row in page.rows],
        "alerts-table": not page.rows,
        "alerts-empty": None if page.rows else _empty(queries, tick, where),
        "alerts-count": _count(page),
        "alerts-model": [{"value": name, "label": words.clean(name, 60)} for name in names],
    }


def grid_row(row: AlertRow) -> dict[str, Any]:
    """One line of the table: what is shown, and ranks and times to sort by."""
    return {
        "id": row.id,
        "href": routing.alert_path(row.id),
        "severity": row.severity,
        "severity_rank": SEVERITIES.index(row.severity) if row.severity in SEVERITIES else 9,
        "title": words.clean(row.title, 200),
        "reason": words.clean(row.reason, 300),
        "kind": badges.kind_words(row.kind),
        "model": f"{words.clean(row.model, 80)} · {badges.version(row.version)}",
        "subject": badges.subject(row.subject_type, row.subject_id, row.members),
        "status": row.status,
        "raised": row.created_at.isoformat(),
        "under": _under_status(row),
    }


def _under_status(row: AlertRow) -> str:
    """What a person said of it, else who is on it."""
    if row.verdict:
        return badges.verdict_words(row.verdict).lower()
    return f"by {words.clean(row.acknowledged_by, 60)}" if row.status == "acknowledged" and row.acknowledged_by else ""


def _count(page: Page[AlertRow]) -> str:
    if page.next_cursor is not None:
        return f"The newest {words.count(len(page.rows))}; narrow the filters to see others"
    unresolved = sum(row.status != "resolved" for row in page.rows)
    return f"{words.plural(len(page.rows), 'alert')}, {words.count(unresolved)} unresolved"


def _empty(queries: Queries, tick: live.Tick, where: AlertFilter) -> Any:
    if not queries.models():
        return states.first_event(tick.origin)
    if where == AlertFilter(status=VIEWS["unresolved"]):
        text = ["No alert is unresolved. ", panels.link("See the resolved ones", "/alerts?status=resolved")]
        return states.all_good(text)
    return states.nothing_matches("No alert has all of this.", panels.link("Clear the filters", "/alerts?status=all"))


def _filters(route: routing.Route) -> html.Div:
    status = route.one("status", "unresolved")
    severity = [item for item in _many(route, "severity") if item in SEVERITIES]
    chips = [
        dmc.Chip(
            html.Span([badges.shape(name), name.capitalize()], className="chip-label"),
            value=name,
            size="xs",
            variant="outline",
        )
        for name in SEVERITIES
    ]
    verdict = route.one("verdict")
    models = list(route.query.get("model", ()))
    return html.Div(
        [
            dmc.TextInput(
                id="alerts-search",
                value=route.one("q")[:MAX_SEARCH],
                placeholder="Search model, subject, title, reason",
                debounce=250,
                className="filter-search",
                rightSection=html.Kbd("/"),
                **aria(label="Search"),
            ),
            dmc.SegmentedControl(
                id="alerts-status",
                value=status if status in VIEWS else "unresolved",
                data=[{"value": name, "label": name.capitalize()} for name in VIEWS],
                size="xs",
                **aria(label="State"),
            ),
            dmc.ChipGroup(html.Div(chips, className="chips"), id="alerts-severity", multiple=True, value=severity),
            dmc.MultiSelect(
                id="alerts-kind",
                value=[item for item in _many(route, "kind") if item in badges.KIND_WORDS],
                data=[{"value": name, "label": label} for name, label in badges.KIND_WORDS.items()],
                placeholder="Any kind",
                size="xs",
                clearable=True,
                className="filter-select",
                **aria(label="Kind"),
            ),
            dmc.Select(
                id="alerts-verdict",
                value=verdict if verdict in VERDICTS else None,
                data=[{"value": name, "label": label} for name, label in VERDICTS.items()],
                placeholder="Any verdict",
                size="xs",
                clearable=True,
                className="filter-verdict",
                **aria(label="Verdict"),
            ),
            dmc.MultiSelect(
                id="alerts-model",
                value=models,
                data=[{"value": name, "label": words.clean(name, 60)} for name in dict.fromkeys(models)],
                placeholder="Any model",
                size="xs",
                clearable=True,
                searchable=True,
                className="filter-select",
                **aria(label="Model"),
            ),
        ],
        className="filters",
        role="search",
    )


def _many(route: routing.Route, name: str) -> Sequence[str]:
    return [item for value in route.query.get(name, ()) for item in value.split(",")]


def _button(text: str, action: str, variant: str) -> dmc.Button:
    return dmc.Button(text, id={"role": "act", "action": action}, size="compact-sm", variant=variant)


def _grid() -> dag.AgGrid:
    columns = [
        {
            "field": "severity_rank",
            "headerName": "Severity",
            "cellRenderer": "SeverityCell",
            "width": 130,
            "maxWidth": 150,
        },
        {"field": "title", "headerName": "Alert", "cellRenderer": "TitleCell", "flex": 7, "minWidth": 280},
        {"field": "kind", "headerName": "Kind", "width": 150},
        {"field": "model", "headerName": "Model, subject", "cellRenderer": "ModelCell", "flex": 3, "minWidth": 150},
        {"field": "status", "headerName": "State", "cellRenderer": "StatusCell", "width": 150},
        {"field": "raised", "headerName": "Raised", "cellRenderer": "AgeCell", "width": 130, "sort": "desc"},
    ]
    return dag.AgGrid(
        id="alerts-grid",
        columnDefs=columns,
        rowData=[],
        defaultColDef={"sortable": True, "resizable": True, "suppressMovable": True, "wrapHeaderText": False},
        getRowId="params.data.id",
        dashGridOptions={
            "domLayout": "autoHeight",
            "rowHeight": 58,
            "headerHeight": 38,
            "animateRows": False,
            "suppressCellFocus": False,
            "enableCellTextSelection": True,
            "pagination": True,
            "paginationPageSize": 25,
            "paginationPageSizeSelector": [25, 50, 100],
            "rowSelection": {"mode": "multiRow", "enableClickSelection": False},
            "selectionColumnDef": {"width": 44, "maxWidth": 44, "suppressHeaderMenuButton": True},
        },
        className="inbox",
        style={"height": None, "width": "100%"},
        dangerously_allow_code=False,
    )
