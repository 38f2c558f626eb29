"""The facts that detectors put behind an alert (``detail``), read into values.

Every key is optional and nothing here is trusted: what is missing or of the wrong type is left out, so an alert of an
older or newer detector still has a page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """Shares of the same bins before and now; the three are equally long."""

    title: str
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One drifted column: how large the change is, and its picture if there is one."""

    name: str
    role: str
    effect: float | None
    effect_unit: str
    psi: float | None
    share_moved: float | None
    evidence_share: float | None
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class StrangeEvent:
    event_id: str
    score: float | None
    p_value: float | None
    columns: tuple[tuple[str, float], ...]


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
    columns: tuple[Column, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    clients: tuple[StrangeClient, ...] = ()
    strangest: tuple[StrangeEvent, ...] = ()
    heads: tuple[Head, ...] = ()
    coordinates: tuple[Coordinate, ...] = ()
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
        columns=tuple(_column(item) for item in _mappings(raw.get("columns"))),
        comparisons=tuple(_comparisons(raw)),
        clients=tuple(
            StrangeClient(_text(item.get("client")), _whole(item.get("n")) or 0, _whole(item.get("n_strange")) or 0)
            for item in _mappings(raw.get("clients"))
        ),
        strangest=tuple(_event(item) for item in _mappings(raw.get("strangest"))),
        heads=tuple(_head(item) for item in _mappings(raw.get("heads"))),
        coordinates=tuple(
            Coordinate(_text(item.get("words")), _number(item.get("client")), _number(item.get("peers")))
            for item in _mappings(raw.get("coordinates"))
        ),
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
        share_moved=_number(item.get("share_moved")),
        evidence_share=_number(item.get("evidence_share")),
        comparison=_comparison(_text(item.get("name")), item.get("labels"), item.get("reference"), item.get("current")),
    )


def _event(item: Mapping[str, Any]) -> StrangeEvent:
    columns = [(_text(part.get("name")), _number(part.get("z"))) for part in _mappings(item.get("columns"))]
    return StrangeEvent(
        event_id=_text(item.get("event_id")),
        score=_number(item.get("score")),
        p_value=_number(item.get("p_value")),
        columns=tuple((name, z) for name, z in columns if z is not None),
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


def _list(value: object, limit: int = 50) -> Sequence[Any]:
    return value[:limit] if isinstance(value, (list, tuple)) else ()


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (item for item in _list(value) if isinstance(item, Mapping))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
