"""The facts that detectors put behind an alert (``detail``), read into values.

Every key is optional and nothing here is trusted: what is missing or of the wrong type is left out, so an alert of an
older or newer detector still has a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
from dashboard.values import count as _count
from dashboard.values import figure as _figure
from dashboard.values import fraction as _fraction
from dashboard.values import items as _list
from dashboard.values import mappings as _mappings
from dashboard.values import number as _number
from dashboard.values import text as _text
from dashboard.values import whole as _whole


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
class StrangeEvent:
    """One event that an alert names; ``modelled``: its p-value lies beyond what held-out events can say."""

    event_id: str
    client: str
    score: float | None
    p_value: float | None
    modelled: bool
    because: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Share:
    """Something that a share of the strange events, or of all, has in common."""

    words: str
    n: int
    share: float | None


@dataclass(frozen=True, slots=True)
class StrangeClient:
    client: str
    n: int
    n_strange: int


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
    clients: tuple[StrangeClient, ...] = ()
    strangest: tuple[StrangeEvent, ...] = ()
    n_one_by_one: int | None = None
    false_discovery_rate: float | None = None
    strange_columns: tuple[Share, ...] = ()
    because: tuple[Share, ...] = ()
    strange_segments: tuple[StrangeClient, ...] = ()
    inputs_missing: tuple[Share, ...] = ()
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
        n_events=_whole(raw.get("n_events")),
        n_strange=_whole(raw.get("n_strange")),
        share_strange=_number(raw.get("share_strange")),
        expected_share=_number(raw.get("expected_share")),
        n_queries=_whole(raw.get("n_queries")),
        n_columns=_whole(raw.get("n_columns")),
        columns=tuple(_column(item) for item in _mappings(raw.get("columns"))),
        cohort=_cohort(raw.get("cohort")),
        segments=tuple(_segment(item) for item in _mappings(raw.get("segments"))),
        pairs=tuple(
            Pair(
                _text(item.get("a")), _text(item.get("b")), _number(item.get("reference")), _number(item.get("current"))
            )
            for item in _mappings(raw.get("pairs"))
        ),
        checks=tuple(_check(item) for item in _mappings(raw.get("checks"))),
        metrics=tuple(_metric(item) for item in _mappings(raw.get("metrics"))),
        confusion=_confusion(raw.get("confusion")),
        comparisons=tuple(_comparisons(raw)),
        clients=_senders(raw.get("clients"), "client"),
        strangest=tuple(_event(item) for item in _mappings(raw.get("strangest"))),
        n_one_by_one=_whole(raw.get("n_one_by_one")),
        false_discovery_rate=_fraction(raw.get("false_discovery_rate")),
        strange_columns=_shares(raw.get("strange_columns"), "words", "n_strange"),
        because=_shares(raw.get("because"), "words", "n_strange"),
        strange_segments=_senders(raw.get("strange_segments"), "segment"),
        inputs_missing=_shares(raw.get("inputs_missing"), "input", "n"),
        heads=tuple(_head(item) for item in _mappings(raw.get("heads"))),
        coordinates=tuple(
            Coordinate(_text(item.get("words")), _number(item.get("client")), _number(item.get("peers")))
            for item in _mappings(raw.get("coordinates"))
        ),
        exposure=read_exposure(raw.get("exposure")),
        exposures=tuple(read_exposed(item) for item in _mappings(raw.get("exposures"))),
        coverage=read_words(raw.get("coverage")),
        tempo=tuple(read_habit(item) for item in _mappings(raw.get("tempo"))),
        actions=tuple(read_action(item) for item in _mappings(raw.get("actions"))),
        techniques=tuple(
            Technique(_text(item.get("id")), _text(item.get("name")), _text(item.get("source")))
            for item in _mappings(raw.get("techniques"))
        ),
        benign_explanations=tuple(_text(item) for item in _list(raw.get("benign_explanations"))),
        atlas_release=_text(raw.get("atlas_release")),
        family=_text(raw.get("family")),
        calibration=_text(raw.get("calibration")),
    )


def _column(item: Mapping[str, Any]) -> Column:
    return Column(
        name=_text(item.get("name")),
        role=_text(item.get("role")),
        effect=_number(item.get("effect")),
        effect_unit=_text(item.get("effect_unit")),
        psi=_number(item.get("psi")),
        js=_number(item.get("js")),
        wasserstein_sd=_number(item.get("wasserstein_sd")),
        share_moved=_number(item.get("share_moved")),
        evidence_share=_number(item.get("evidence_share")),
        e_value_log10=_number(item.get("e_value_log10")),
        listed=item["listed"] if isinstance(item.get("listed"), bool) else None,
        comparison=_comparison(_text(item.get("name")), item.get("labels"), item.get("reference"), item.get("current")),
    )


def _cohort(value: object) -> Cohort | None:
    if not isinstance(value, Mapping) or not (value.get("id") or value.get("words")):
        return None
    return Cohort(
        type=_text(value.get("type")),
        id=_text(value.get("id")),
        share_of_events=_fraction(value.get("share_of_events")),
        explains=_fraction(value.get("explains")),
        words=_text(value.get("words")),
    )


def _pair(item: Mapping[str, Any]) -> Pair:
    before, now = _number(item.get("reference")), _number(item.get("current"))
    return Pair(_text(item.get("a")), _text(item.get("b")), before, now)


def _segment(item: Mapping[str, Any]) -> Segment:
    return Segment(
        name=_text(item.get("segment")),
        n_events=_count(item.get("n_events")),
        log10_evidence=_number(item.get("log10_evidence")),
        words=_text(item.get("words")),
    )


def _check(item: Mapping[str, Any]) -> Check:
    return Check(
        name=_text(item.get("name")),
        words=_text(item.get("words")),
        expected=_figure(item.get("expected")),
        current=_figure(item.get("current")),
        unit=_text(item.get("unit")),
        evidence_share=_fraction(item.get("evidence_share")),
    )


def _metric(item: Mapping[str, Any]) -> Metric:
    return Metric(
        name=_text(item.get("name")),
        reference=_number(item.get("reference")),
        estimated=_interval(item, "estimated"),
        measured=_interval(item, "measured"),
        n_labels=_count(item.get("n_labels")),
    )


def _interval(item: Mapping[str, Any], name: str) -> Interval | None:
    value = _number(item.get(name))
    if value is None:
        return None
    low, high = _number(item.get(f"{name}_low")), _number(item.get(f"{name}_high"))
    return Interval(value, min(value, value if low is None else low), max(value, value if high is None else high))


def _confusion(value: object) -> Confusion | None:
    if not isinstance(value, Mapping):
        return None
    labels = tuple(_text(item) for item in _list(value.get("labels")))
    counts = tuple(tuple(_number(cell) or 0.0 for cell in _list(row)) for row in _list(value.get("counts")))
    square = {len(counts), *map(len, counts)} == {len(labels)}
    if not labels or not square or any(cell < 0 for row in counts for cell in row):
        return None
    return Confusion(labels, counts)


def _senders(value: object, who: str) -> tuple[StrangeClient, ...]:
    return tuple(
        StrangeClient(_text(item.get(who)), _whole(item.get("n")) or 0, _whole(item.get("n_strange")) or 0)
        for item in _mappings(value)
    )


def _shares(value: object, words: str, n: str) -> tuple[Share, ...]:
    return tuple(
        Share(_text(item.get(words)), _whole(item.get(n)) or 0, _fraction(item.get("share")))
        for item in _mappings(value)
    )


def _event(item: Mapping[str, Any]) -> StrangeEvent:
    return StrangeEvent(
        event_id=_text(item.get("event_id")),
        client=_text(item.get("client_id")),
        score=_number(item.get("score")),
        p_value=_number(item.get("p_value")),
        modelled=item.get("p_from") == "tail model",
        because=_text(item.get("because")),
        columns=tuple((_text(part.get("name")), _text(part.get("words"))) for part in _mappings(item.get("columns"))),
    )


def _head(item: Mapping[str, Any]) -> Head:
    return Head(
        title=_text(item.get("title") or item.get("name")),
        words=_text(item.get("words")),
        p_value=_number(item.get("p_value")),
        log10_evidence=_number(item.get("log10_evidence")),
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
    for item in _mappings(raw.get("histograms")):
        picture = _comparison(_text(item.get("title")), item.get("labels"), item.get("reference"), item.get("current"))
        if picture:
            yield picture


def _comparison(title: str, labels: object, reference: object, current: object) -> Comparison | None:
    names = tuple(_text(item) for item in _list(labels, 200))
    before, now = (
        tuple(_number(item) or 0.0 for item in _list(reference, 200)),
        tuple(_number(item) or 0.0 for item in _list(current, 200)),
    )
    if not names or len(before) != len(names) or len(now) != len(names):
        return None
    return Comparison(title, names, before, now)
