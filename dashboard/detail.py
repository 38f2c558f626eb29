"""The facts that detectors put behind an alert (``detail``), read into values.

Every key is optional and nothing here is trusted: what is missing or of the wrong type is left out, so an alert of an
older or newer detector still has a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard import strange, values
from dashboard.exposed import (
    Action,
    Exposed,
    Exposure,
    Habit,
    read_action,
    read_exposed,
    read_exposure,
    read_habit,
    read_words,
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Shares of the same bins before and now; the three are equally long."""

    title: str
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One drifted column: how large the change is by several measures, and its picture if there is one.

    ``listed`` says that the column is on the list of those that moved at a false discovery rate of 10 %; None where the
    detector keeps no such list.
    """

    name: str
    role: str
    effect: float | None
    effect_unit: str
    psi: float | None
    js: float | None
    wasserstein_sd: float | None
    share_moved: float | None
    evidence_share: float | None
    e_value_log10: float | None
    listed: bool | None
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who causes a drift: without them ``explains`` of it is gone."""

    type: str
    id: str
    share_of_events: float | None
    explains: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two columns and their correlation, before and now."""

    a: str
    b: str
    reference: float | None
    current: float | None


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the traffic, and how strongly it speaks of a drift by itself."""

    name: str
    n_events: int | None
    log10_evidence: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Check:
    """One measure of data quality: what it usually is and what it is now, as numbers or in words."""

    name: str
    words: str
    expected: float | str | None
    current: float | str | None
    unit: str
    evidence_share: float | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its limits; a limit that is not known is the value."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Metric:
    """One measure of performance: in the reference, estimated without labels, and measured on those that came."""

    name: str
    reference: float | None
    estimated: Interval | None
    measured: Interval | None
    n_labels: int | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each label (row) was predicted as each class (column); square."""

    labels: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """One way of looking at a client, and how strongly it speaks against an honest one."""

    title: str
    words: str
    p_value: float | None
    log10_evidence: float | None


@dataclass(frozen=True, slots=True)
class Coordinate:
    words: str
    client: float | None
    peers: float | None


@dataclass(frozen=True, slots=True)
class Technique:
    id: str
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Detail:
    """All that an alert's page can show, whichever detector wrote it."""

    n_events: int | None = None
    n_strange: int | None = None
    share_strange: float | None = None
    expected_share: float | None = None
    n_queries: int | None = None
    n_columns: int | None = None
    columns: tuple[Column, ...] = ()
    cohort: Cohort | None = None
    segments: tuple[Segment, ...] = ()
    pairs: tuple[Pair, ...] = ()
    checks: tuple[Check, ...] = ()
    metrics: tuple[Metric, ...] = ()
    confusion: Confusion | None = None
    comparisons: tuple[Comparison, ...] = ()
    clients: tuple[strange.StrangeClient, ...] = ()
    strangest: tuple[strange.StrangeEvent, ...] = ()
    n_one_by_one: int | None = None
    false_discovery_rate: float | None = None
    strange_columns: tuple[strange.Share, ...] = ()
    because: tuple[strange.Share, ...] = ()
    strange_segments: tuple[strange.StrangeClient, ...] = ()
    inputs_missing: tuple[strange.Share, ...] = ()
    heads: tuple[Head, ...] = ()
    coordinates: tuple[Coordinate, ...] = ()
    exposure: Exposure | None = None
    exposures: tuple[Exposed, ...] = ()
    coverage: str = ""
    tempo: tuple[Habit, ...] = ()
    actions: tuple[Action, ...] = ()
    techniques: tuple[Technique, ...] = ()
    benign_explanations: tuple[str, ...] = ()
    atlas_release: str = ""
    family: str = ""
    calibration: str = ""


def read_detail(raw: Mapping[str, Any]) -> Detail:
    """Never raises; at most 50 items of any list are kept."""
    return Detail(
        n_events=values.whole(raw.get("n_events")),
        n_strange=values.whole(raw.get("n_strange")),
        share_strange=values.number(raw.get("share_strange")),
        expected_share=values.number(raw.get("expected_share")),
        n_queries=values.whole(raw.get("n_queries")),
        n_columns=values.whole(raw.get("n_columns")),
        columns=tuple(_column(item) for item in values.mappings(raw.get("columns"))),
        cohort=_cohort(raw.get("cohort")),
        segments=tuple(_segment(item) for item in values.mappings(raw.get("segments"))),
        pairs=tuple(
            Pair(
                values.text(item.get("a")),
                values.text(item.get("b")),
                values.number(item.get("reference")),
                values.number(item.get("current")),
            )
            for item in values.mappings(raw.get("pairs"))
        ),
        checks=tuple(_check(item) for item in values.mappings(raw.get("checks"))),
        metrics=tuple(_metric(item) for item in values.mappings(raw.get("metrics"))),
        confusion=_confusion(raw.get("confusion")),
        comparisons=tuple(_comparisons(raw)),
        clients=strange.senders(raw.get("clients"), "client"),
        strangest=tuple(strange.event(item) for item in values.mappings(raw.get("strangest"))),
        n_one_by_one=values.whole(raw.get("n_one_by_one")),
        false_discovery_rate=values.fraction(raw.get("false_discovery_rate")),
        strange_columns=strange.shares(raw.get("strange_columns"), "words", "n_strange"),
        because=strange.shares(raw.get("because"), "words", "n_strange"),
        strange_segments=strange.senders(raw.get("strange_segments"), "segment"),
        inputs_missing=strange.shares(raw.get("inputs_missing"), "input", "n"),
        heads=tuple(_head(item) for item in values.mappings(raw.get("heads"))),
        coordinates=tuple(
            Coordinate(
                values.text(item.get("words")), values.number(item.get("client")), values.number(item.get("peers"))
            )
            for item in values.mappings(raw.get("coordinates"))
        ),
        exposure=read_exposure(raw.get("exposure")),
        exposures=tuple(read_exposed(item) for item in values.mappings(raw.get("exposures"))),
        coverage=read_words(raw.get("coverage")),
        tempo=tuple(read_habit(item) for item in values.mappings(raw.get("tempo"))),
        actions=tuple(read_action(item) for item in values.mappings(raw.get("actions"))),
        techniques=tuple(
            Technique(values.text(item.get("id")), values.text(item.get("name")), values.text(item.get("source")))
            for item in values.mappings(raw.get("techniques"))
        ),
        benign_explanations=tuple(values.text(item) for item in values.items(raw.get("benign_explanations"))),
        atlas_release=values.text(raw.get("atlas_release")),
        family=values.text(raw.get("family")),
        calibration=values.text(raw.get("calibration")),
    )


def _column(item: Mapping[str, Any]) -> Column:
    return Column(
        name=values.text(item.get("name")),
        role=values.text(item.get("role")),
        effect=values.number(item.get("effect")),
        effect_unit=values.text(item.get("effect_unit")),
        psi=values.number(item.get("psi")),
        js=values.number(item.get("js")),
        wasserstein_sd=values.number(item.get("wasserstein_sd")),
        share_moved=values.number(item.get("share_moved")),
        evidence_share=values.number(item.get("evidence_share")),
        e_value_log10=values.number(item.get("e_value_log10")),
        listed=item["listed"] if isinstance(item.get("listed"), bool) else None,
        comparison=_comparison(
            values.text(item.get("name")), item.get("labels"), item.get("reference"), item.get("current")
        ),
    )


def _cohort(value: object) -> Cohort | None:
    if not isinstance(value, Mapping) or not (value.get("id") or value.get("words")):
        return None
    return Cohort(
        type=values.text(value.get("type")),
        id=values.text(value.get("id")),
        share_of_events=values.fraction(value.get("share_of_events")),
        explains=values.fraction(value.get("explains")),
        words=values.text(value.get("words")),
    )


def _pair(item: Mapping[str, Any]) -> Pair:
    before, now = values.number(item.get("reference")), values.number(item.get("current"))
    return Pair(values.text(item.get("a")), values.text(item.get("b")), before, now)


def _segment(item: Mapping[str, Any]) -> Segment:
    return Segment(
        name=values.text(item.get("segment")),
        n_events=values.count(item.get("n_events")),
        log10_evidence=values.number(item.get("log10_evidence")),
        words=values.text(item.get("words")),
    )


def _check(item: Mapping[str, Any]) -> Check:
    return Check(
        name=values.text(item.get("name")),
        words=values.text(item.get("words")),
        expected=values.figure(item.get("expected")),
        current=values.figure(item.get("current")),
        unit=values.text(item.get("unit")),
        evidence_share=values.fraction(item.get("evidence_share")),
    )


def _metric(item: Mapping[str, Any]) -> Metric:
    return Metric(
        name=values.text(item.get("name")),
        reference=values.number(item.get("reference")),
        estimated=_interval(item, "estimated"),
        measured=_interval(item, "measured"),
        n_labels=values.count(item.get("n_labels")),
    )


def _interval(item: Mapping[str, Any], name: str) -> Interval | None:
    value = values.number(item.get(name))
    if value is None:
        return None
    low, high = values.number(item.get(f"{name}_low")), values.number(item.get(f"{name}_high"))
    return Interval(value, min(value, value if low is None else low), max(value, value if high is None else high))


def _confusion(value: object) -> Confusion | None:
    if not isinstance(value, Mapping):
        return None
    labels = tuple(values.text(item) for item in values.items(value.get("labels")))
    counts = tuple(
        tuple(values.number(cell) or 0.0 for cell in values.items(row)) for row in values.items(value.get("counts"))
    )
    square = {len(counts), *map(len, counts)} == {len(labels)}
    if not labels or not square or any(cell < 0 for row in counts for cell in row):
        return None
    return Confusion(labels, counts)


def _head(item: Mapping[str, Any]) -> Head:
    return Head(
        title=values.text(item.get("title") or item.get("name")),
        words=values.text(item.get("words")),
        p_value=values.number(item.get("p_value")),
        log10_evidence=values.number(item.get("log10_evidence")),
    )


def _comparisons(raw: Mapping[str, Any]) -> Iterator[Comparison]:
    strangeness = _comparison(
        "How strange the events are (p-value)", raw.get("p_bins"), raw.get("reference"), raw.get("current")
    )
    if strangeness:
        yield strangeness
    classes = raw.get("classes")
    if isinstance(classes, Mapping):
        shares = _comparison("Classes asked for", classes.get("labels"), classes.get("peers"), classes.get("client"))
        if shares:
            yield shares
    for item in values.mappings(raw.get("histograms")):
        picture = _comparison(
            values.text(item.get("title")), item.get("labels"), item.get("reference"), item.get("current")
        )
        if picture:
            yield picture


def _comparison(title: str, labels: object, reference: object, current: object) -> Comparison | None:
    names = tuple(values.text(item) for item in values.items(labels, 200))
    before, now = (
        tuple(values.number(item) or 0.0 for item in values.items(reference, 200)),
        tuple(values.number(item) or 0.0 for item in values.items(current, 200)),
    )
    if not names or len(before) != len(names) or len(now) != len(names):
        return None
    return Comparison(title, names, before, now)
