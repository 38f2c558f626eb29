"""A chart on a page: the graph, and under it what it shows in one sentence."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

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
            dcc.Graph(id=f"{name}-graph", figure=_blank(), config=_CONFIG, style={"height": f"{height}px"}),
            html.Figcaption(id=f"{name}-summary", className="summary"),
        ],
        className="chart",
    )


def parts(name: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """The component properties of a slot."""
    return (f"{name}-graph", "figure"), (f"{name}-summary", "children")


def fill(name: str, picture: Picture) -> dict[str, Any]:
    return {f"{name}-graph": picture.figure, f"{name}-summary": picture.summary}


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
