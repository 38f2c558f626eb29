"""What is around every page: header, theme, live signal, the dialog that acts on alerts, and the choice of page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, dcc, html, no_update
from fastapi.concurrency import run_in_threadpool

from dashboard import live, routing, words
from dashboard.actions import AlertActions
from dashboard.components import badges, panels, states
from dashboard.components.accessibility import aria
from dashboard.pages import alert, alerts, model, not_found, overview
from dashboard.settings import DashboardSettings
from dashboard.theme import MANTINE
from monitor.errors import TransientError, VedetteError
from monitor.queries import OverviewRow, Queries

MAX_NAME = 80
MAX_NOTE = 2_000
_STALE_S = 120.0
_PAGES: Mapping[str, Callable[[routing.Route], html.Div]] = {
    "overview": overview.layout,
    "alerts": alerts.layout,
    "alert": alert.layout,
    "model": model.layout,
}
_DONE: Mapping[str, str] = {
    "acknowledge": "Acknowledged",
    "resolve": "Resolved",
    "false_alarm": "Marked as false and resolved:",
    "real": "Marked as real:",
    "unmark": "Took back the mark on",
}
_KEYS = (
    ("g o", "Overview"),
    ("g a", "Alerts"),
    ("/", "Search the alerts"),
    ("j  k", "Next, previous row"),
    ("Enter", "Open the row"),
    ("e", "Acknowledge"),
    ("?", "This help"),
)


def layout(settings: DashboardSettings) -> dmc.MantineProvider:
    """Everything that stays while pages come and go."""
    stores = [
        dcc.Location(id="url", refresh="callback-nav"),
        dcc.Interval(id=live.BEAT, interval=int(settings.refresh_s * 1_000)),
        dcc.Store(id="scheme", data="light"),
        dcc.Store(id="revision", data=0),
        dcc.Store(id="request", data=None),
        dcc.Store(id="title", data=""),
        dcc.Store(id="person", storage_type="local", data=""),
        dcc.Store(id={"role": "tick", "page": "shell"}),
        *live.busy(("shell", *_PAGES)),
        dcc.Store(id="shell-seen", data={}),
        html.Div(id="shell-notice", hidden=True),
        html.Div(id="announce", className="unseen", **aria(live="polite")),
    ]
    return dmc.MantineProvider(
        [
            *stores,
            html.A("Skip to content", href="#page", className="skip"),
            _header(),
            html.Main(id="page", children=states.loading(6), tabIndex="-1"),
            _dialog(),
            _help(),
        ],
        id="mantine",
        theme=MANTINE,
        defaultColorScheme="auto",
    )


def register(app: Dash, queries: Queries, actions: AlertActions) -> None:
    """Wire the shell; page modules wire themselves."""
    _register_routing(app)
    _register_browser_side(app)
    _register_action(app, actions)
    live.register(
        app,
        live.Live(
            page="shell",
            parts=(("nav-count", "children"), ("signal", "children")),
            render=lambda _tick: _news(queries.overview(), datetime.now(UTC)),
        ),
    )


def page_of(path: str, search: str) -> tuple[Any, str]:
    """Layout and title of the page at an address."""
    route = routing.match(path, search)
    if route is None:
        return not_found.layout(), "Page not found"
    titles = {"overview": "Overview", "alerts": "Alerts", "alert": "Alert", "model": words.clean(route.item, 80)}
    return _PAGES[route.page](route), titles[route.page]


def act(actions: AlertActions, request: Mapping[str, Any], by: str, note: str) -> str | None:
    """Carry out what the dialog asked for; the error to show, or None if all went well."""
    name = words.clean(by.strip(), MAX_NAME)
    if not name:
        return "Say who you are: the name is written into the alert's history."
    does = _deeds(actions).get(str(request.get("action")))
    if does is None:
        return "This page is of another version; reload it and try again."
    failed = []
    for alert_id in list(request.get("ids") or [])[:1_000]:
        try:
            does(str(alert_id), name, note.strip()[:MAX_NOTE])
        except TransientError as error:
            return f"Not saved, try again: {words.clean(error, 300)}"
        except VedetteError as error:
            failed.append(words.clean(error, 300))
    return "; ".join(failed[:3]) or None


def _deeds(actions: AlertActions) -> Mapping[str, Callable[[str, str, str], object]]:
    """What each word of the dialog does with an alert, a name and a note."""
    return {
        "acknowledge": actions.acknowledge,
        "resolve": actions.resolve,
        "false_alarm": actions.dismiss,
        "real": lambda alert_id, by, note: actions.mark(alert_id, "real", by, note),
        "unmark": lambda alert_id, by, note: actions.mark(alert_id, None, by, note),
    }


def _register_routing(app: Dash) -> None:
    @app.callback(  # type: ignore[untyped-decorator, unused-ignore]
        Output("page", "children"),
        Output("title", "data"),
        Output("nav-overview", "data-active"),
        Output("nav-alerts", "data-active"),
        Input("url", "pathname"),
        Input("url", "search"),
    )
    def show(path: str | None, search: str | None) -> Any:
        body, title = page_of(path or "/", search or "")
        return body, title, str((path or "/") == "/").lower(), str((path or "").startswith("/alerts")).lower()


def _register_browser_side(app: Dash) -> None:
    """Callbacks that run in the browser; their functions are in ``assets/vedette.js``."""
    live.browser(
        app,
        "tick",
        Output({"role": "tick", "page": ALL}, "data"),
        Input(live.BEAT, "n_intervals"),
        Input("scheme", "data"),
        Input("revision", "data"),
        Input({"role": "retry", "page": ALL}, "n_clicks"),
        State({"role": "busy", "page": ALL}, "data"),
    )
    live.browser(
        app, "scheme", Output("mantine", "forceColorScheme"), Output("scheme", "data"), Input("scheme-choice", "value")
    )
    live.browser(app, "title", Input("title", "data"), Input("nav-count", "children"))
    live.browser_on_change(
        app,
        "openDialog",
        Output("request", "data"),
        Output("action-dialog", "opened"),
        Output("action-dialog", "title"),
        Output("action-explained", "children"),
        Output("action-name", "value"),
        Output("action-note", "value"),
        Output("action-error", "children"),
        Input({"role": "act", "action": ALL}, "n_clicks"),
        State({"role": "target", "page": ALL}, "data"),
        State("person", "data"),
    )
    live.browser_on_change(
        app,
        "closeDialog",
        Output("action-dialog", "opened", allow_duplicate=True),
        Input("action-cancel", "n_clicks"),
    )
    live.browser_on_change(app, "deselect", Input("revision", "data"))


def _register_action(app: Dash, actions: AlertActions) -> None:
    @app.callback(  # type: ignore[untyped-decorator, unused-ignore]
        Output("action-dialog", "opened", allow_duplicate=True),
        Output("action-error", "children", allow_duplicate=True),
        Output("person", "data"),
        Output("revision", "data"),
        Output("announce", "children"),
        Input("action-confirm", "n_clicks"),
        Input("action-name", "n_submit"),
        State("request", "data"),
        State("action-name", "value"),
        State("action-note", "value"),
        State("revision", "data"),
        running=[(Output("action-confirm", "loading"), True, False)],
        prevent_initial_call=True,
    )
    async def confirm(
        _clicks: int | None, _submits: int | None, request: Any, by: str | None, note: str | None, revision: int | None
    ) -> Any:
        if not isinstance(request, dict) or not (_clicks or _submits):
            return no_update, no_update, no_update, no_update, no_update
        error = await run_in_threadpool(act, actions, request, by or "", note or "")
        if error is not None:
            return no_update, error, no_update, (revision or 0) + 1, no_update
        said = f"{_DONE[request['action']]} {words.plural(len(request.get('ids') or []), 'alert')}"
        return False, None, (by or "").strip(), (revision or 0) + 1, said


def _news(row: OverviewRow, now: datetime) -> dict[str, Any]:
    """Open alerts in the navigation, and whether events still come."""
    unresolved = sum(row.open_alerts.values())
    return {"nav-count": words.count(unresolved) if unresolved else "", "signal": _signal(row, now)}


def _signal(row: OverviewRow, now: datetime) -> html.Span:
    if row.last_commit_at is None:
        return html.Span([html.Span(className="dot dot-waiting"), "no events yet"], className="signal-text")
    stale = (now - row.last_commit_at).total_seconds() > _STALE_S
    state = "stale" if stale else "live"
    age = badges.when(row.last_commit_at, now)
    return html.Span(
        [html.Span(className=f"dot dot-{state}"), "quiet, last read " if stale else "live, read ", age],
        className="signal-text",
        title="When a worker last stored what it had read",
    )


def _header() -> html.Header:
    choices = [
        {
            "value": value,
            "label": html.Span(className=f"scheme-icon scheme-icon-{value}", title=title, **aria(label=title)),
        }
        for value, title in (("system", "System theme"), ("light", "Light theme"), ("dark", "Dark theme"))
    ]
    return html.Header(
        html.Div(
            [
                panels.link([html.Span(className="brand-mark"), html.Span("Vedette")], "/", "brand"),
                html.Nav(
                    [
                        html.Span(panels.link("Overview", "/"), id="nav-overview", className="nav-item"),
                        html.Span(
                            [panels.link("Alerts", "/alerts"), html.Span(id="nav-count", className="nav-count")],
                            id="nav-alerts",
                            className="nav-item",
                        ),
                    ],
                    **aria(label="Pages"),
                ),
                html.Div(id="signal", className="signal"),
                dmc.SegmentedControl(
                    id="scheme-choice",
                    data=choices,
                    value="system",
                    size="xs",
                    persistence=True,
                    persistence_type="local",
                    **aria(label="Theme"),
                ),
                html.Button("?", id="help-open", className="help-button", title="Keyboard shortcuts (?)"),
            ],
            className="header-inner",
        ),
        className="header",
    )


def _dialog() -> dmc.Modal:
    return dmc.Modal(
        [
            html.P(id="action-explained", className="dim"),
            dmc.TextInput(
                id="action-name",
                label="Your name",
                inputProps={"maxLength": MAX_NAME},
                required=True,
                **{"data-autofocus": ""},
            ),
            dmc.Textarea(
                id="action-note",
                label="Note (optional)",
                placeholder="What you found, or what you do about it",
                inputProps={"maxLength": MAX_NOTE},
                autosize=True,
                minRows=3,
                mt="sm",
            ),
            html.Div(id="action-error", className="form-error", role="alert"),
            dmc.Group(
                [
                    dmc.Button("Cancel", id="action-cancel", variant="default"),
                    dmc.Button("Confirm", id="action-confirm"),
                ],
                justify="flex-end",
                mt="md",
            ),
        ],
        id="action-dialog",
        title="",
        opened=False,
        centered=True,
        keepMounted=True,
        transitionProps={"duration": 0},
    )


def _help() -> html.Dialog:
    rows = [html.Tr([html.Td(html.Kbd(keys)), html.Td(text)]) for keys, text in _KEYS]
    return html.Dialog(
        [html.H2("Keyboard shortcuts"), html.Table(html.Tbody(rows)), html.P("Escape closes this.", className="dim")],
        id="help",
    )
