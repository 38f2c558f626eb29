"""Boxes that pages are laid out with: panels, headline tiles, fact lists, tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from dashboard.components.accessibility import aria


def panel(title: str, children: Any, aside: Any = None, class_name: str = "") -> html.Section:
    """A titled box; ``aside`` sits at the right end of the title line."""
    head = html.Div([html.H2(title), html.Div(aside, className="panel-aside")], className="panel-head")
    return html.Section([head, html.Div(children, className="panel-body")], className=f"panel {class_name}".strip())


def tile(label: str, value: Any, hint: Any = "", tone: str = "") -> html.Div:
    """One headline number; ``tone`` is a severity word or nothing."""
    return html.Div(
        [
            html.Div(label, className="tile-label"),
            html.Div(value, className="tile-value"),
            html.Div(hint, className="tile-hint"),
        ],
        className=f"tile tile-{tone}" if tone else "tile",
    )


def facts(pairs: Sequence[tuple[str, Any]]) -> html.Dl:
    """Name–value list."""
    return html.Dl([html.Div([html.Dt(name), html.Dd(value)]) for name, value in pairs], className="facts")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], label: str, numeric: Sequence[int] = ()) -> html.Div:
    """A plain table with a name for screen readers; ``numeric`` columns align right."""

    def kind(index: int) -> str:
        return "numeric" if index in numeric else ""

    header = html.Thead(html.Tr([html.Th(name, className=kind(i), scope="col") for i, name in enumerate(head)]))
    body = html.Tbody([html.Tr([html.Td(cell, className=kind(i)) for i, cell in enumerate(row)]) for row in rows])
    return html.Div(html.Table([header, body], className="table", **aria(label=label)), className="table-scroll")


def meter(share: float, tone: str = "current") -> html.Div:
    """A thin bar filled to ``share`` (0 to 1); decoration beside a number."""
    width = f"{max(0.0, min(share, 1.0)) * 100:.1f}%"
    return html.Div(html.Div(style={"width": width}), className=f"meter meter-{tone}", **aria(hidden="true"))


def link(text: Any, href: str, class_name: str = "") -> dmc.Anchor:
    """A link inside the dashboard; does not reload the page."""
    return dmc.Anchor(text, href=href, refresh=False, className=class_name, underline="hover")
