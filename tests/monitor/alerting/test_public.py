"""The public line is a contract: exactly these keys, instants in UTC, strict JSON of bounded size."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from detectors.base import Kind, Level, Reading, Subject, SubjectType
from monitor.alerting import book
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef, Verdict
from monitor.alerting.public import compact_json, short_line, summary_of, transition_line

NOW = datetime(2026, 1, 2, tzinfo=UTC)


BINS = [*(f"{i * 1234.5678:.6g} to {(i + 1) * 1234.5678:.6g}" for i in range(22)), "unseen", "missing"]
SHARES = [round(0.041666 + i / 1e6, 6) for i in range(24)]
DRIFT_DETAIL: Mapping[str, Any] = {
    "columns": [
        {
            "name": f"transaction_amount_{i}",
            "role": "numeric",
            "effect": 1.2345678901234567,
            "effect_unit": "sd",
            "psi": 0.1234,
            "share_moved": 0.12345678901234567,
            "evidence_share": 0.12345678901234567,
            "labels": BINS,
            "reference": SHARES,
            "current": SHARES[::-1],
        }
        for i in range(8)
    ],
    "n_events": 123_456,
    "n_columns": 400,
    "n_moved": 37,
}
EXTRACTION_DETAIL: Mapping[str, Any] = {
    "n_queries": 12_000,
    "n_fresh": 11_000,
    "n_exact_repeats": 400,
    "n_near_repeats": 600,
    "window": "total",
    "heads": [
        {"name": f"H{i}", "title": "strange queries", "p_value": 1e-300, "log10_evidence": 300.125, "words": "w" * 80}
        for i in (1, 2, 3)
    ],
    "coordinates": [{"words": "w" * 160, "client": 0.123456789012345, "peers": 0.01} for _ in range(5)],
    "classes": {
        "labels": [*(f"class number {i}" for i in range(40)), "other"],
        "client": [0.02439] * 41,
        "peers": [0.02439] * 41,
    },
    "histograms": [
        {"title": "Rarity", "labels": ["to 1 in 100"] * 9, "reference": [0.11111] * 9, "current": [0.11111] * 9}
        for _ in range(3)
    ],
    "techniques": [{"id": "AML.T0024.002", "name": "Extract ML Model", "source": "MITRE ATLAS"}] * 4,
    "atlas_release": "5.0.1",
    "benign_explanations": ["a load test", "a new product of the customer", "a batch job"],
    "family": "boundary",
    "calibration": "own clients",
}


def changed(opened: Change, detail: Mapping[str, Any], **values: Any) -> Change:
    """``opened`` as it would be with another detail."""
    incident = opened.incident
    reading = Reading(
        "d", Kind.DRIFT, replace(incident.subject, **values), Level.ALARM, 20.0, 11.0, 0.1, "sd", 0.0, None, "why",
        detail,
    )  # fmt: skip
    outcome = book.apply(None, reading, PaneRef("m", "2", 1_767_312_050, 10), BookPolicy(), NOW)
    assert outcome.incident is not None
    return Change(outcome.incident, outcome.transitions[0])


@pytest.fixture
def opened() -> Change:
    reading = Reading(
        detector="clients",
        kind=Kind.EXTRACTION,
        subject=Subject(SubjectType.CLIENT_GROUP, "g-1", ("a", "b")),
        level=Level.ALARM,
        log_evidence=math.log(1e6),
        log_threshold=math.log(1e5),
        effect=4.5,
        effect_unit="queries a minute",
        minimum_effect=1.0,
        since=1_767_312_000.0,
        reason="two clients walk the decision boundary",
        detail={"top": [{"client": f"c{i}", "score": float("nan")} for i in range(5_000)]},
    )
    outcome = book.apply(None, reading, PaneRef("m", "2", 1_767_312_050, 10), BookPolicy(), NOW)
    assert outcome.incident is not None
    return Change(outcome.incident, outcome.transitions[0])


def test_the_line_has_exactly_the_contracted_keys(opened: Change) -> None:
    line = transition_line(opened)
    detail = line["evidence"].pop("detail")
    assert line == {
        "alert_id": opened.incident.id,
        "model": "m",
        "version": "2",
        "kind": "extraction",
        "detector": "clients",
        "subject": {"type": "client_group", "id": "g-1", "members": ["a", "b"]},
        "transition": "opened",
        "severity": "critical",
        "event_time": "2026-01-02T00:01:00Z",
        "evidence": {
            "log10": 6.0,
            "threshold_log10": 5.0,
            "effect": 4.5,
            "effect_unit": "queries a minute",
            "onset": "2026-01-02T00:00:00Z",
            "reason": "two clients walk the decision boundary",
        },
    }
    assert detail["top"][0] == {"client": "c0", "score": None}


def test_the_line_is_strict_json_of_bounded_size(opened: Change) -> None:
    line = transition_line(opened)
    assert len(json.dumps(line, allow_nan=False)) < 20_000
    assert len(line["evidence"]["detail"]["top"]) == 200
    assert line["evidence"]["detail"]["truncated"] is True


@pytest.mark.parametrize("detail", [DRIFT_DETAIL, EXTRACTION_DETAIL, {**DRIFT_DETAIL, **EXTRACTION_DETAIL}])
def test_the_detail_of_every_detector_is_complete_in_the_alert_and_in_the_line(
    opened: Change, detail: Mapping[str, Any]
) -> None:
    change = changed(opened, detail)
    assert change.incident.detail == detail
    assert transition_line(change)["evidence"]["detail"] == detail


@pytest.mark.parametrize("detail", [DRIFT_DETAIL, EXTRACTION_DETAIL])
def test_a_line_that_fits_is_not_shortened(opened: Change, detail: Mapping[str, Any]) -> None:
    change = changed(opened, detail)
    assert short_line(change, 20_000) == transition_line(change)


def test_a_short_line_leaves_out_every_histogram_before_anything_else(opened: Change) -> None:
    change = changed(opened, {**DRIFT_DETAIL, **EXTRACTION_DETAIL})
    line = short_line(change, 8_000)
    assert len(compact_json(line)) <= 8_000
    detail = line["evidence"]["detail"]
    bins = ("labels", "reference", "current")
    assert detail["columns"] == [{k: v for k, v in c.items() if k not in bins} for c in DRIFT_DETAIL["columns"]]
    assert detail["classes"] == {}
    assert "histograms" not in detail
    assert detail["heads"] == EXTRACTION_DETAIL["heads"]
    assert detail["coordinates"] == EXTRACTION_DETAIL["coordinates"]
    assert detail["truncated"] is True


def test_a_shorter_line_leaves_out_the_largest_parts_whole(opened: Change) -> None:
    change = changed(opened, {**DRIFT_DETAIL, **EXTRACTION_DETAIL})
    line = short_line(change, 3_000)
    assert len(compact_json(line)) <= 3_000
    detail = line["evidence"]["detail"]
    assert "columns" not in detail
    assert detail["heads"] == EXTRACTION_DETAIL["heads"]
    assert {**transition_line(change), "evidence": ""} == {**line, "evidence": ""}


def test_a_short_line_of_a_large_group_names_its_first_members(opened: Change) -> None:
    members = tuple(f"{i:03d}" + "x" * 200 for i in range(200))
    change = changed(opened, EXTRACTION_DETAIL, members=members)
    line = short_line(change, 20_000)
    assert len(compact_json(line)) <= 20_000
    assert line["subject"]["members"] == list(members[:20])
    assert line["evidence"]["detail"] == {**EXTRACTION_DETAIL, "truncated": True}
    assert len(transition_line(change)["subject"]["members"]) == 200


def test_the_line_keeps_the_evidence_as_it_stood_at_the_transition(opened: Change) -> None:
    later = book.resolve(opened.incident, "ann", "").incident
    assert transition_line(Change(later, opened.transition)) == transition_line(opened)


def test_summaries_say_what_happened_and_who_did_it(opened: Change) -> None:
    assert summary_of(opened) == "two clients walk the decision boundary"
    taken = book.acknowledge(opened.incident, "ann", "calling them", NOW)
    assert summary_of(taken) == "Acknowledged by ann: calling them"
    assert summary_of(book.resolve(taken.incident, "bob", "")) == "Resolved by bob"
    marked = book.mark(taken.incident, Verdict.FALSE_ALARM, "ann", "a load test", NOW)
    assert summary_of(marked) == "Marked as a false alarm by ann: a load test"
    assert summary_of(book.mark(marked.incident, Verdict.REAL, "ann", "", NOW)) == "Marked as real by ann"
    assert summary_of(book.mark(marked.incident, None, "ann", "", NOW)) == "Mark taken back by ann"
