"""Colours and type, once for the page (Mantine) and once for the figures (Plotly template).

Severities keep apart for every kind of colour vision, and never speak by colour alone: each has a shape and a word.
``assets/vedette.css`` holds the same values as custom properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import plotly.graph_objects as go

FONT = "Inter, -apple-system, BlinkMacSystemFont, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
MONOSPACE = "ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', monospace"


class Scheme(StrEnum):
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Palette:
    text: str
    dim: str
    line: str
    panel: str
    reference: str
    current: str
    critical: str
    warning: str
    info: str
    ok: str
    series: tuple[str, ...]

    def severity(self, name: str) -> str:
        """Colour of a severity or status word; unknown words are dim."""
        known = {
            "critical": self.critical,
            "alarm": self.critical,
            "warning": self.warning,
            "info": self.info,
            "ok": self.ok,
        }
        return known.get(name, self.dim)


PALETTES: Mapping[Scheme, Palette] = {
    Scheme.LIGHT: Palette(
        text="#1c2530",
        dim="#5b6775",
        line="#e4e8ee",
        panel="#ffffff",
        reference="#a9b4c2",
        current="#2f6fde",
        critical="#c8321b",
        warning="#b26a00",
        info="#0072b2",
        ok="#00806b",
        series=("#2f6fde", "#b0368f", "#00806b", "#b26a00", "#6b5bd2", "#5b6775"),
    ),
    Scheme.DARK: Palette(
        text="#e7ebf1",
        dim="#98a4b5",
        line="#262e39",
        panel="#161c24",
        reference="#566375",
        current="#6ea2ff",
        critical="#ff7257",
        warning="#f2b33d",
        info="#5ab8ee",
        ok="#34c8a6",
        series=("#6ea2ff", "#e587c8", "#34c8a6", "#f2b33d", "#a99cff", "#98a4b5"),
    ),
}


def _template(palette: Palette) -> go.layout.Template:
    axis = {
        "gridcolor": palette.line,
        "linecolor": palette.line,
        "zerolinecolor": palette.line,
        "tickfont": {"size": 11, "color": palette.dim},
        "title": {"font": {"size": 11, "color": palette.dim}, "standoff": 8},
        "ticks": "",
        "automargin": True,
    }
    hover = {"bgcolor": palette.panel, "bordercolor": palette.line, "font": {"size": 12, "color": palette.text}}
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": palette.text},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(palette.series),
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "xaxis": {**axis, "showgrid": False},
            "yaxis": axis,
            "hoverlabel": hover,
            "legend": {
                "orientation": "h",
                "y": 1.02,
                "yanchor": "bottom",
                "x": 0,
                "font": {"size": 11, "color": palette.dim},
                "bgcolor": "rgba(0,0,0,0)",
            },
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": palette.dim, "activecolor": palette.text},
            "bargap": 0.25,
            "dragmode": "zoom",
        }
    )


TEMPLATES: Mapping[Scheme, go.layout.Template] = {scheme: _template(palette) for scheme, palette in PALETTES.items()}

MANTINE: Mapping[str, Any] = {
    "fontFamily": FONT,
    "fontFamilyMonospace": MONOSPACE,
    "primaryColor": "indigo",
    "primaryShade": {"light": 6, "dark": 5},
    "defaultRadius": "sm",
    "cursorType": "pointer",
    "colors": {
        "dark": [
            "#e7ebf1",
            "#c3cbd7",
            "#98a4b5",
            "#6b7788",
            "#3a4452",
            "#262e39",
            "#1d242e",
            "#161c24",
            "#10151b",
            "#0b0f14",
        ],
        "indigo": [
            "#edf3ff",
            "#dbe6ff",
            "#b6ccff",
            "#8fb1ff",
            "#6ea2ff",
            "#4a86f0",
            "#2f6fde",
            "#255cc0",
            "#1e4a9c",
            "#183a7a",
        ],
    },
}
