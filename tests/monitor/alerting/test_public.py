"""The public line is a contract: exactly these keys, instants in UTC, strict JSON of bounded size."""

import json
import math
from datetime import UTC, datetime

import pytest

from detectors.base import Kind, Level, Reading, Subject, SubjectType
from monitor.alerting import book
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef
from monitor.alerting.public import summary_of, transition_line

NOW = datetime(2026, 1, 2, tzinfo=UTC)


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
    text = json.dumps(transition_line(opened), allow_nan=False)
    assert len(text) < 20_000


def test_the_line_keeps_the_evidence_as_it_stood_at_the_transition(opened: Change) -> None:
    later = book.resolve(opened.incident, "ann", "").incident
    assert transition_line(Change(later, opened.transition)) == transition_line(opened)


def test_summaries_say_what_happened_and_who_did_it(opened: Change) -> None:
    assert summary_of(opened) == "two clients walk the decision boundary"
    taken = book.acknowledge(opened.incident, "ann", "calling them", NOW)
    assert summary_of(taken) == "Acknowledged by ann: calling them"
    assert summary_of(book.resolve(taken.incident, "bob", "")) == "Resolved by bob"
