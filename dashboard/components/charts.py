"""A chart on a page: the graph, and under it what it shows in one sentence.

A chart that renews itself gets its figure through a store: the browser puts the reader's zoom into each new figure of
the same view. Plotly's ``uirevision`` does not do it, because the graph component writes zooms back into its figure.
"""

from __future__ import annotations

from typing import Any

from dash import Input, Output, State, dcc, html

from dashboard import live
from dashboard.figures import Picture

_CONFIG: Any = {
    "displaylogo": False,
    "displayModeBar": "hover",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "pan2d"],
    "responsive": True,
    "showTips": False,
    "plotlyServerURL": "",
    "showSendToCloud": False,
}


def slot(name: str, height: int) -> html.Figure:
    """An empty chart that a callback fills: ``fill`` gives the values of ``parts``."""
    return html.Figure(
        [
            dcc.Store(id=f"{name}-figure"),
            dcc.Graph(id=f"{name}-graph", figure=_blank(), config=_CONFIG, style={"height": f"{height}px"}),
            html.Figcaption(id=f"{name}-summary", className="summary"),
        ],
        className="chart",
    )


def parts(name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """The component properties of a slot."""
    return (f"{name}-figure", "data"), (f"{name}-summary", "children")


def register(app: Any, name: str) -> None:
    """Wire a slot: its figure goes from the store to the graph, zoom kept."""
    live.browser(
        app,
        "renewFigure",
        Output(f"{name}-graph", "figure"),
        Input(f"{name}-figure", "data"),
        State(f"{name}-graph", "figure"),
    )


def fill(name: str, picture: Picture, view: str = "") -> dict[str, Any]:
    """Values of a slot's parts; a zoom lasts as long as ``view`` stays the same."""
    picture.figure.update_layout(uirevision=view)
    return {f"{name}-figure": picture.figure, f"{name}-summary": picture.summary}


def still(picture: Picture, height: int) -> html.Figure:
    """A chart that comes whole and has no id."""
    return html.Figure(
        [
            dcc.Graph(figure=picture.figure, config=_CONFIG, style={"height": f"{height}px"}),
            html.Figcaption(picture.summary, className="summary"),
        ],
        className="chart",
    )


def _blank() -> dict[str, Any]:
    hidden = {"visible": False}
    return {
        "data": [],
        "layout": {"xaxis": hidden, "yaxis": hidden, "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"},
    }
