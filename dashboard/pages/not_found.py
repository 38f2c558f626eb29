"""Page for an address that is none of ours."""

from __future__ import annotations

from dash import html

from dashboard.components import panels, states


def layout() -> html.Div:
    links = html.P([panels.link("Overview", "/"), "  ·  ", panels.link("Alerts", "/alerts")])
    text = "There is no page at this address. It may have been mistyped, or belong to an older version."
    return html.Div(states.not_found("Page not found (404)", text, links), className="page page-lost")
