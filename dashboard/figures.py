"""Pictures: data in, Plotly figure and one sentence out; pure functions.

Plotly reads a small HTML dialect in every text it draws, so each name that came from outside passes ``plain``.
Only SVG traces are used: WebGL ones need a looser content security policy. Values above a picture's range are drawn at
its edge; hovering tells the true one.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from dashboard import words
from dashboard.detail import Comparison, Interval, Metric
from dashboard.theme import PALETTES, TEMPLATES, Scheme
from monitor.queries import ReadingRow, VolumePoint

MAX_POINTS = 600
DETECTORS = ("drift", "extraction", "ood", "performance", "quality", "joint", "evasion", "abuse", "privacy")
"""Detectors in the order of the colours that their lines have."""
MAX_POWER = 40.0
"""Evidence is drawn up to this power of ten, or up to four times the way to an alarm if that is more."""
TOP_SHARE = 4.0
"""Evidence is drawn up to this many times the way to an alarm."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and what it shows in one sentence."""

    figure: go.Figure
    summary: str


@dataclass(frozen=True, slots=True)
class Span:
    """An alert on the time axis."""

    start: datetime
    end: datetime
    severity: str
    title: str


def plain(text: object, limit: int = 60) -> str:
    """An outside name for Plotly: cleaned, cut, and with its markup made harmless."""
    return html.escape(words.clean(text, limit), quote=False).replace("%{", "% {")


def volume(points: Sequence[VolumePoint], spans: Sequence[Span], scheme: Scheme) -> Picture:
    """Events per slice of event time, with alerts shaded behind."""
    palette = PALETTES[scheme]
    width_s = _slice_s([point.at for point in points])
    figure = _time_figure(scheme, "events per " + words.duration(width_s), spans)
    figure.add_bar(
        x=[_stamp(point.at + timedelta(seconds=width_s / 2)) for point in points],
        y=[point.n_events for point in points],
        width=width_s * 1_000,
        marker={"color": palette.current, "line": {"width": 0}, "opacity": 0.75},
        hovertemplate="%{y:,} events<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(bargap=0.1)
    figure.update_yaxes(rangemode="tozero")
    return Picture(figure, _volume_summary(points, width_s))


def alert_evidence(
    readings: Sequence[ReadingRow], log_threshold: float, spans: Sequence[Span], scheme: Scheme
) -> Picture:
    """One subject's evidence over time on a scale of powers of ten, with its alarm threshold."""
    palette = PALETTES[scheme]
    top = max([log_threshold, *(_finite(row.log_evidence) for row in readings)]) / math.log(10)
    limit = min(top * 1.08, max(4 * log_threshold / math.log(10), MAX_POWER))
    figure = _time_figure(scheme, "evidence against “nothing changed”", spans)
    kept = peaks(readings, MAX_POINTS)
    figure.add_scatter(
        x=[_end(row) for row in kept],
        y=[min(max(_finite(row.log_evidence) / math.log(10), 0.0), limit) for row in kept],
        mode="lines+markers" if len(kept) <= 60 else "lines",
        line={"color": palette.current, "width": 2},
        marker={
            "size": 5,
            "color": [palette.severity(row.level) if row.level != "ok" else palette.current for row in kept],
        },
        fill="tozeroy",
        fillcolor=_faded(palette.current, 0.10),
        customdata=[[words.odds(row.log_evidence), plain(row.level)] for row in kept],
        hovertemplate="%{customdata[0]} (%{customdata[1]})<extra></extra>",
        showlegend=False,
    )
    _threshold(figure, log_threshold / math.log(10), f"alarm at {words.odds(log_threshold)}", scheme)
    figure.update_yaxes(range=[0, limit * 1.02], **_power_ticks(limit))
    return Picture(figure, _evidence_summary(readings, log_threshold))


def detector_evidence(readings: Sequence[ReadingRow], spans: Sequence[Span], scheme: Scheme) -> Picture:
    """Each detector's strongest evidence over time, as a share of the way (in log) to its own alarm."""
    palette = PALETTES[scheme]
    figure = _time_figure(scheme, "way to an alarm", spans)
    by_detector = strongest(readings)
    dashes = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
    lines = line_of_detector(by_detector)
    for detector, rows in sorted(by_detector.items()):
        index = lines[detector]
        kept = peaks(rows, MAX_POINTS)
        figure.add_scatter(
            x=[_end(row) for row in kept],
            y=[min(way_to_alarm(row), TOP_SHARE) for row in kept],
            name=plain(detector),
            mode="lines" if len(kept) > 1 else "markers",
            line={
                "color": palette.series[index % len(palette.series)],
                "width": 2,
                "dash": dashes[(index + index // len(palette.series)) % len(dashes)],
            },
            customdata=[[words.odds(row.log_evidence), words.odds(row.log_threshold)] for row in kept],
            hovertemplate="%{fullData.name}: %{y:.0%} (%{customdata[0]}, alarm at %{customdata[1]})<extra></extra>",
        )
    _threshold(figure, 1.0, "alarm", scheme)
    highest = max((way_to_alarm(row) for row in readings), default=0.0)
    figure.update_yaxes(range=[0, min(max(highest * 1.1, 1.2), TOP_SHARE)], tickformat=".0%")
    figure.update_layout(showlegend=True)
    return Picture(figure, _detectors_summary(by_detector))


def comparison(data: Comparison, before: str, now: str, scheme: Scheme) -> Picture:
    """Two distributions over the same bins, side by side."""
    palette = PALETTES[scheme]
    figure = go.Figure()
    figure.layout.template = TEMPLATES[scheme]
    labels = _distinct([plain(label, 22) for label in data.labels])
    for name, shares, color in ((before, data.reference, palette.reference), (now, data.current, palette.current)):
        figure.add_bar(
            x=labels,
            y=list(shares),
            name=name,
            marker={"color": color, "line": {"width": 0}},
            hovertemplate="%{x}: %{y:.1%}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.05, showlegend=True, hovermode="x unified")
    figure.update_xaxes(type="category", autotickangles=[0, -30, -60])
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", nticks=5)
    return Picture(figure, _comparison_summary(data, before, now))


def metrics_as_shares(items: Sequence[Metric]) -> list[Metric]:
    """Those that share a scale from 0 to 1 and have something to draw."""
    return [item for item in items if (values := _values(item)) and all(0 <= value <= 1 for value in values)]


def metrics(items: Sequence[Metric], scheme: Scheme) -> Picture:
    """Each metric's reference, estimate and measurement on one scale, with their limits; first one on top."""
    palette = PALETTES[scheme]
    figure = go.Figure()
    figure.layout.template = TEMPLATES[scheme]
    labels = _distinct([plain(item.name.replace("_", " "), 30) for item in items])
    known = [(i, item.reference) for i, item in enumerate(items) if item.reference is not None]
    figure.add_scatter(
        x=[value for _, value in known],
        y=[index for index, _ in known],
        name="reference",
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 16, "color": palette.dim, "line": {"width": 2, "color": palette.dim}},
        customdata=[labels[index] for index, _ in known],
        hovertemplate="%{customdata}: %{x:.3g}<extra>reference</extra>",
    )
    for name, offset, symbol, color, found in (
        ("estimated", -0.14, "circle", palette.current, [item.estimated for item in items]),
        ("measured", 0.14, "diamond", palette.series[1], [item.measured for item in items]),
    ):
        _add_intervals(figure, labels, found, name, offset, {"symbol": symbol, "size": 9, "color": color})
    figure.update_layout(showlegend=True, hovermode="closest")
    figure.update_xaxes(showgrid=True, nticks=7, zeroline=False)
    rows = list(range(len(items)))
    figure.update_yaxes(tickvals=rows, ticktext=labels, range=[len(items) - 0.5, -0.5], showgrid=False, zeroline=False)
    return Picture(figure, _metrics_summary(items))


def peaks(rows: Sequence[ReadingRow], limit: int) -> Sequence[ReadingRow]:
    """At most ``limit`` rows, the strongest of each run of neighbours, in order."""
    if len(rows) <= limit:
        return rows
    step = len(rows) / limit
    cuts = [round(index * step) for index in range(limit + 1)]
    return [max(rows[a:b], key=lambda row: row.log_evidence) for a, b in itertools.pairwise(cuts) if b > a]


def strongest(readings: Sequence[ReadingRow]) -> Mapping[str, Sequence[ReadingRow]]:
    """Per detector and pane the subject that came nearest to an alarm, in time order."""
    best: dict[tuple[str, datetime], ReadingRow] = {}
    for row in readings:
        key = (row.detector, row.pane_start)
        if key not in best or way_to_alarm(row) > way_to_alarm(best[key]):
            best[key] = row
    by_detector: dict[str, list[ReadingRow]] = {}
    for (detector, _), row in sorted(best.items(), key=lambda item: item[0]):
        by_detector.setdefault(detector, []).append(row)
    return by_detector


def line_of_detector(detectors: Collection[str]) -> dict[str, int]:
    """Which colour and dash each detector's line has: the same on every page for those that are known."""
    known = {name: index for index, name in enumerate(DETECTORS)}
    others = (name for name in sorted(detectors) if name not in known)
    return {**known, **{name: index for index, name in enumerate(others, len(known))}}


def way_to_alarm(row: ReadingRow) -> float:
    """Log evidence / log threshold; 1 is an alarm, below 0 counts as 0."""
    return max(_finite(row.log_evidence) / row.log_threshold, 0.0) if row.log_threshold > 0 else 0.0


def _values(item: Metric) -> list[float]:
    intervals = [part for part in (item.estimated, item.measured) if part is not None]
    single = [item.reference] if item.reference is not None else []
    return single + [value for part in intervals for value in (part.low, part.value, part.high)]


def _add_intervals(
    figure: go.Figure,
    labels: Sequence[str],
    found: Sequence[Interval | None],
    name: str,
    offset: float,
    marker: Mapping[str, Any],
) -> None:
    rows = [(i, item) for i, item in enumerate(found) if item is not None]
    if not rows:
        return
    figure.add_scatter(
        x=[item.value for _, item in rows],
        y=[index + offset for index, _ in rows],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [item.high - item.value for _, item in rows],
            "arrayminus": [item.value - item.low for _, item in rows],
            "color": marker["color"],
            "thickness": 1.5,
            "width": 4,
        },
        name=name,
        mode="markers",
        marker=dict(marker),
        customdata=[[labels[index], words.number(item.low), words.number(item.high)] for index, item in rows],
        hovertemplate="%{customdata[0]}: %{x:.3g} (%{customdata[1]} to %{customdata[2]})<extra>" + name + "</extra>",
    )


def _time_figure(scheme: Scheme, y_title: str, spans: Sequence[Span]) -> go.Figure:
    figure = go.Figure()
    figure.layout.template = TEMPLATES[scheme]
    figure.update_layout(hovermode="x unified", showlegend=False)
    figure.update_xaxes(type="date", hoverformat="%-d %b %Y, %H:%M:%S UTC", nticks=8)
    figure.update_yaxes(title_text=y_title, nticks=6, fixedrange=True)
    palette = PALETTES[scheme]
    figure.layout.shapes = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": _stamp(span.start),
            "x1": _stamp(span.end),
            "y0": 0,
            "y1": 1,
            "fillcolor": _faded(palette.severity(span.severity), 0.12),
            "line": {"width": 0},
            "layer": "below",
        }
        for span in spans
    ]
    return figure


def _threshold(figure: go.Figure, y: float, text: str, scheme: Scheme) -> None:
    color = PALETTES[scheme].critical
    figure.add_hline(
        y=y,
        line={"color": color, "width": 1.5, "dash": "dash"},
        annotation={"text": text, "font": {"color": color, "size": 11}, "yanchor": "bottom", "xanchor": "left", "x": 0},
    )


def _power_ticks(limit: float) -> dict[str, Any]:
    step = max(1, math.ceil(limit / 6))
    powers = range(0, math.floor(limit) + 1, step)
    return {"tickvals": list(powers), "ticktext": [f"{_short_power(power)} : 1" for power in powers]}


def _short_power(power: int) -> str:
    return words.compact(10.0**power) if power < 15 else words.power_of_ten(power)


def _slice_s(instants: Sequence[datetime]) -> float:
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(instants)]
    return min((gap for gap in gaps if gap > 0), default=10.0)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


def _end(row: ReadingRow) -> str:
    return _stamp(row.pane_start + timedelta(seconds=row.pane_s))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else (700.0 if value > 0 else 0.0)


def _faded(color: str, alpha: float) -> str:
    red, green, blue = (int(color[index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def _distinct(labels: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result


def _volume_summary(points: Sequence[VolumePoint], width_s: float) -> str:
    if not points:
        return "No events in this time range."
    total = sum(point.n_events for point in points)
    busiest = max(points, key=lambda point: point.n_events)
    return (
        f"{words.plural(total, 'event')} from {words.instant(points[0].at)} to {words.instant(points[-1].at)}; at most "
        f"{words.count(busiest.n_events)} per {words.duration(width_s)}, at {words.instant(busiest.at)}."
    )


def _evidence_summary(readings: Sequence[ReadingRow], log_threshold: float) -> str:
    if not readings:
        return "No readings of this subject are kept for this time range."
    peak = max(readings, key=lambda row: row.log_evidence)
    above = sum(row.log_evidence >= log_threshold for row in readings)
    return (
        f"Evidence peaked at {words.odds(peak.log_evidence)}, {words.instant(peak.pane_start)}; an alarm needs "
        f"{words.odds(log_threshold)}. {words.count(above)} of {words.plural(len(readings), 'reading')} reached it."
    )


def _detectors_summary(by_detector: Mapping[str, Sequence[ReadingRow]]) -> str:
    if not by_detector:
        return "No readings in this time range."
    parts = []
    for detector, rows in sorted(by_detector.items()):
        latest, peak = way_to_alarm(rows[-1]), max(way_to_alarm(row) for row in rows)
        parts.append(f"{words.clean(detector, 40)} is {latest:.0%} of the way to an alarm (peak {peak:.0%})")
    return "; ".join(parts) + "."


def _metrics_summary(items: Sequence[Metric]) -> str:
    """The metric that is furthest from its reference, by what labels show if they came, else by the estimate."""
    latest = [(item, item.measured or item.estimated) for item in items]
    told = [(item, now) for item, now in latest if now is not None and item.reference is not None]
    if not told:
        return "There is nothing in the reference to compare with."
    item, now = max(told, key=lambda pair: abs(pair[1].value - (pair[0].reference or 0.0)))
    how = "measured" if item.measured is not None else "estimated"
    return (
        f"{words.clean(item.name, 60).replace('_', ' ').capitalize()} is {how} at {words.number(now.value)} "
        f"({words.number(now.low)} to {words.number(now.high)}); in the reference it was "
        f"{words.number(item.reference or 0.0)}."
    )


def _comparison_summary(data: Comparison, before: str, now: str) -> str:
    changes = [after - share for share, after in zip(data.reference, data.current, strict=True)]
    index = max(range(len(changes)), key=lambda item: abs(changes[item]))
    return (
        f"Largest change: {words.clean(data.labels[index], 60)} holds {words.percent(data.current[index])} ({now}) "
        f"against {words.percent(data.reference[index])} ({before})."
    )
