"""Incidents in the database: written once, owed once, whoever asks again."""

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from detectors.base import MODEL, Kind, Level, Reading, Subject, SubjectType
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef, Status, TransitionKind, Verdict
from monitor.alerting.routing import Route
from monitor.config import Severity
from monitor.errors import Conflict, NotFound
from monitor.storage import alerts as store
from monitor.storage.engine import transaction
from monitor.storage.tables import alert_transitions, alerts, deliveries

THRESHOLD = math.log(60_480)
T0 = 1_700_000_000
NOW = datetime(2026, 1, 2, tzinfo=UTC)
POLICY = BookPolicy(quiet_panes=2, quiet_s=0, attack_quiet_s=0, reopen_within_s=600, attack_reopen_within_s=6_000)
ROUTES = (Route("hook"), Route("pager", min_severity=Severity.CRITICAL))
ALARM = Reading(
    detector="marginals",
    kind=Kind.DRIFT,
    subject=MODEL,
    level=Level.ALARM,
    log_evidence=THRESHOLD + 1,
    log_threshold=THRESHOLD,
    effect=0.1,
    effect_unit="share of traffic",
    minimum_effect=0.02,
    since=T0 - 60.0,
    reason="amount has moved up",
    detail={"top": ["amount"]},
)
QUIET = replace(ALARM, level=Level.OK, log_evidence=-math.inf)
THIEF = replace(ALARM, kind=Kind.EXTRACTION, subject=Subject(SubjectType.CLIENT, "acme-7", ("acme-7",)))


def pane(number: int, model: str = "m") -> PaneRef:
    return PaneRef(model, "1", T0 + 10 * number, 10)


def record(
    engine: sa.Engine, number: int, *readings: Reading, model: str = "m", policy: BookPolicy = POLICY
) -> Sequence[Change]:
    with transaction(engine) as conn:
        return store.record(
            conn, pane=pane(number, model), readings=readings, policy=policy, destinations=ROUTES, now=NOW
        )


def kinds(changes: Sequence[Change]) -> list[TransitionKind]:
    return [change.transition.transition for change in changes]


def count(engine: sa.Engine, table: sa.Table) -> int:
    with transaction(engine) as conn:
        return conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def owed(engine: sa.Engine) -> list[tuple[str, int]]:
    with transaction(engine) as conn:
        c = deliveries.c
        return [tuple(row) for row in conn.execute(sa.select(c.destination, c.sequence).order_by(c.sequence, c[4]))]


def test_a_hundred_alarms_are_one_alert_one_transition_and_one_delivery(engine: sa.Engine) -> None:
    changes = [change for number in range(100) for change in record(engine, number, ALARM)]
    assert kinds(changes) == [TransitionKind.OPENED]
    assert (count(engine, alerts), count(engine, alert_transitions), count(engine, deliveries)) == (1, 1, 1)
    with transaction(engine) as conn:
        stored = store.incident(conn, changes[0].incident.id)
    assert stored is not None
    assert stored.readings_total == 100
    assert stored.last_seen_at == pane(99).end


def test_an_incident_comes_back_as_it_was_stored(engine: sa.Engine) -> None:
    (change,) = record(engine, 0, THIEF)
    with transaction(engine) as conn:
        assert store.incident(conn, change.incident.id) == change.incident


def test_the_detail_of_eight_drifted_columns_is_stored_complete(engine: sa.Engine) -> None:
    bins = {"labels": [str(i) for i in range(23)] + ["missing"], "reference": [0.041667] * 24, "current": [0.5] * 24}
    facts = {"role": "numeric", "effect": 1.5, "effect_unit": "sd", "psi": 0.2, "share_moved": 0.1, **bins}
    detail = {"columns": [{"name": f"c{i}", **facts} for i in range(8)], "n_events": 9_000}
    (change,) = record(engine, 0, replace(ALARM, detail=detail))
    with transaction(engine) as conn:
        stored = store.incident(conn, change.incident.id)
        step = conn.execute(sa.select(alert_transitions)).one()
    assert stored is not None
    assert stored.detail == detail
    assert step.detail["detail"] == detail


def test_a_repeated_pane_writes_nothing_new(engine: sa.Engine) -> None:
    first = record(engine, 0, ALARM, THIEF)
    assert len(first) == 2
    assert record(engine, 0, ALARM, THIEF) == []
    assert (count(engine, alerts), count(engine, alert_transitions)) == (2, 2)
    with transaction(engine) as conn:
        stored = store.incident(conn, first[0].incident.id)
    assert stored == first[0].incident


def test_saving_the_same_outcome_twice_stores_it_once(engine: sa.Engine) -> None:
    outcome = store.book.apply(None, ALARM, pane(0), POLICY, NOW)
    with transaction(engine) as conn:
        assert len(store.save_outcomes(conn, [outcome], NOW)) == 1
        assert store.save_outcomes(conn, [outcome], NOW) == []


def test_a_pane_that_is_rolled_back_leaves_nothing_and_repeats_with_the_same_ids(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        lost = store.record(conn, pane=pane(0), readings=[ALARM], policy=POLICY, destinations=ROUTES, now=NOW)
        conn.rollback()
    assert count(engine, alerts) == 0
    assert [c.transition.id for c in record(engine, 0, ALARM)] == [c.transition.id for c in lost]


def test_subjects_without_a_reading_grow_quiet_and_resolve(engine: sa.Engine) -> None:
    record(engine, 0, THIEF)
    assert record(engine, 1, QUIET) == []
    (change,) = record(engine, 2, QUIET)
    assert change.transition.transition is TransitionKind.RESOLVED
    assert change.incident.resolved_at == pane(2).end
    assert owed(engine) == [("hook", 1), ("pager", 1), ("hook", 2), ("pager", 2)]


def test_a_resolve_goes_only_to_destinations_that_heard_of_the_alert(engine: sa.Engine) -> None:
    for number, reading in enumerate([ALARM, QUIET, QUIET]):
        record(engine, number, reading)
    assert owed(engine) == [("hook", 1), ("hook", 2)]


def test_an_escalation_reaches_who_was_not_told_before_and_so_does_the_resolve(engine: sa.Engine) -> None:
    for number, reading in enumerate([ALARM, replace(ALARM, effect=0.5), QUIET, QUIET]):
        record(engine, number, reading)
    assert sorted(owed(engine)) == [("hook", 1), ("hook", 2), ("hook", 3), ("pager", 2), ("pager", 3)]


def test_an_alarm_after_resolution_reopens_the_same_alert(engine: sa.Engine) -> None:
    (opened,) = record(engine, 0, ALARM)
    record(engine, 1, QUIET)
    record(engine, 2, QUIET)
    (again,) = record(engine, 5, ALARM)
    assert again.transition.transition is TransitionKind.REOPENED
    assert again.incident.id == opened.incident.id
    assert again.transition.sequence == 3
    assert count(engine, alerts) == 1


def test_an_alarm_long_after_resolution_opens_another_alert_beside_the_old_one(engine: sa.Engine) -> None:
    for number, reading in enumerate([ALARM, QUIET, QUIET]):
        record(engine, number, reading)
    (again,) = record(engine, 100, ALARM)
    assert again.transition.transition is TransitionKind.OPENED
    assert count(engine, alerts) == 2


def test_a_thief_that_comes_back_later_than_a_drift_may_is_still_the_same_alert(engine: sa.Engine) -> None:
    first = record(engine, 0, THIEF, ALARM)
    for number in (1, 2):
        record(engine, number, QUIET)
    again = record(engine, 100, THIEF, ALARM)
    assert {change.incident.kind: change.transition.transition for change in again} == {
        Kind.EXTRACTION: TransitionKind.REOPENED,
        Kind.DRIFT: TransitionKind.OPENED,
    }
    assert len({change.incident.id for change in [*first, *again]}) == 3


def test_of_two_resolved_alerts_the_later_one_is_reopened(engine: sa.Engine) -> None:
    (first,) = record(engine, 0, ALARM)
    with transaction(engine) as conn:
        store.resolve_alert(conn, first.incident.id, "ann", "", ROUTES, NOW)
    (second,) = record(engine, 1, ALARM)
    assert second.incident.id != first.incident.id
    record(engine, 2, QUIET)
    record(engine, 3, QUIET)
    (third,) = record(engine, 4, ALARM)
    assert third.incident.id == second.incident.id


def test_models_and_subjects_do_not_touch_each_other(engine: sa.Engine) -> None:
    record(engine, 0, ALARM)
    record(engine, 0, ALARM, model="other")
    record(engine, 1, THIEF)
    record(engine, 2, replace(THIEF, subject=Subject(SubjectType.CLIENT, "b")), policy=BookPolicy())
    assert count(engine, alerts) == 4


def test_without_alarm_or_incident_one_statement_is_enough(engine: sa.Engine) -> None:
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with transaction(engine) as conn:
        statements.clear()
        readings = [replace(QUIET, subject=Subject(SubjectType.FEATURE, str(i))) for i in range(200)]
        store.record(conn, pane=pane(0), readings=readings, policy=POLICY, destinations=ROUTES, now=NOW)
        assert len(statements) == 1


def test_people_acknowledge_and_resolve_and_destinations_hear_of_it(engine: sa.Engine) -> None:
    (opened,) = record(engine, 0, ALARM)
    alert_id = opened.incident.id
    with transaction(engine) as conn:
        taken = store.acknowledge_alert(conn, alert_id, "ann", "on it", ROUTES, NOW)
    assert taken.incident.acknowledged_by == "ann"
    assert record(engine, 1, ALARM) == []
    with transaction(engine) as conn:
        closed = store.resolve_alert(conn, alert_id, "ann", "", ROUTES, NOW)
        stored = store.incident(conn, alert_id)
    assert stored == closed.incident
    assert closed.incident.status is Status.RESOLVED
    assert owed(engine) == [("hook", 1), ("hook", 2), ("hook", 3)]
    (again,) = record(engine, 2, ALARM)
    assert again.transition.transition is TransitionKind.OPENED


def test_people_hear_why_a_request_cannot_be_met(engine: sa.Engine) -> None:
    (opened,) = record(engine, 0, ALARM)
    for unknown in ("nope", "n\x00pe", "", "\ud800"):
        with pytest.raises(NotFound, match="there is no alert"), transaction(engine) as conn:
            store.acknowledge_alert(conn, unknown, "ann", "", ROUTES, NOW)
    with transaction(engine) as conn:
        store.resolve_alert(conn, opened.incident.id, "ann", "", ROUTES, NOW)
    with pytest.raises(Conflict, match="already resolved"), transaction(engine) as conn:
        store.resolve_alert(conn, opened.incident.id, "bob", "", ROUTES, NOW)
    with pytest.raises(Conflict, match="already resolved"), transaction(engine) as conn:
        store.acknowledge_alert(conn, opened.incident.id, "bob", "", ROUTES, NOW)
    assert count(engine, alert_transitions) == 2


def test_a_verdict_is_stored_and_nobody_is_told(engine: sa.Engine) -> None:
    (opened,) = record(engine, 0, ALARM)
    alert_id = opened.incident.id
    for verdict in (Verdict.FALSE_ALARM, None, Verdict.REAL):
        with transaction(engine) as conn:
            marked = store.mark_alert(conn, alert_id, verdict, "ann", "a load test", ROUTES, NOW)
            assert store.incident(conn, alert_id) == marked.incident
    assert owed(engine) == [("hook", 1)]
    assert record(engine, 1, ALARM) == []
    with transaction(engine) as conn:
        assert store.incident(conn, alert_id).verdict is Verdict.REAL  # type: ignore[union-attr]
        steps = conn.execute(sa.select(alert_transitions).order_by(alert_transitions.c.sequence)).all()
    assert [(step.transition, step.actor) for step in steps] == [
        ("opened", "vedette"),
        ("marked_false_alarm", "ann"),
        ("unmarked", "ann"),
        ("marked_real", "ann"),
    ]


def test_dismissing_marks_and_resolves_and_destinations_hear_of_the_second(engine: sa.Engine) -> None:
    (opened,) = record(engine, 0, ALARM)
    with transaction(engine) as conn:
        closed = store.dismiss_alert(conn, opened.incident.id, "ann", "a load test", ROUTES, NOW)
        assert store.incident(conn, opened.incident.id) == closed.incident
    assert (closed.incident.status, closed.incident.verdict) == (Status.RESOLVED, Verdict.FALSE_ALARM)
    assert owed(engine) == [("hook", 1), ("hook", 3)]
    with pytest.raises(Conflict, match="already marked false_alarm"), transaction(engine) as conn:
        store.dismiss_alert(conn, opened.incident.id, "bob", "", ROUTES, NOW)
    (again,) = record(engine, 1, ALARM)
    assert again.transition.transition is TransitionKind.OPENED
    assert again.incident.id != opened.incident.id


def test_dismissing_does_only_what_is_left_to_do(engine: sa.Engine) -> None:
    (marked,) = record(engine, 0, ALARM)
    with transaction(engine) as conn:
        store.mark_alert(conn, marked.incident.id, Verdict.FALSE_ALARM, "ann", "", ROUTES, NOW)
        resolved = store.dismiss_alert(conn, marked.incident.id, "ann", "", ROUTES, NOW)
    assert (resolved.transition.transition, resolved.transition.sequence) == (TransitionKind.RESOLVED, 3)
    (later,) = record(engine, 1, ALARM)
    with transaction(engine) as conn:
        store.resolve_alert(conn, later.incident.id, "ann", "", ROUTES, NOW)
        dismissed = store.dismiss_alert(conn, later.incident.id, "ann", "", ROUTES, NOW)
    assert (dismissed.transition.transition, dismissed.incident.status) == (
        TransitionKind.MARKED_FALSE_ALARM,
        Status.RESOLVED,
    )


def test_loading_gives_open_incidents_and_those_resolved_lately(engine: sa.Engine) -> None:
    for number, reading in enumerate([ALARM, QUIET, QUIET]):
        record(engine, number, reading)
    record(engine, 3, THIEF)
    resolved_at = pane(2).end
    with transaction(engine) as conn:
        late = store.load_incidents(conn, "m", "1", resolved_at)
        later = store.load_incidents(conn, "m", "1", resolved_at + timedelta(seconds=1))
    assert {item.kind for item in late} == {Kind.DRIFT, Kind.EXTRACTION}
    assert {item.kind for item in later} == {Kind.EXTRACTION}


def test_values_from_clients_cannot_stop_the_judge(engine: sa.Engine) -> None:
    client = "a\x00\ud800" + "é" * 5_000
    hostile = replace(
        THIEF,
        subject=Subject(SubjectType.CLIENT, client, (client,)),
        log_evidence=math.inf,
        effect=math.nan,
        reason="\x00" + "r" * 9_000,
        detail={"a\x00": [math.nan, client, 2**70]},
    )
    (change,) = record(engine, 0, hostile)
    assert record(engine, 1, hostile) == []
    with transaction(engine) as conn:
        stored = store.incident(conn, change.incident.id)
    assert stored is not None
    assert stored.readings_total == 2
    assert stored.subject == change.incident.subject


def test_a_person_and_the_judge_at_once_lose_neither_transition(engine: sa.Engine) -> None:
    """Whoever comes second waits for the first and counts on from there."""
    (opened,) = record(engine, 0, ALARM)
    coming = threading.Event()

    def acknowledge() -> None:
        with transaction(engine) as conn:
            coming.set()
            store.acknowledge_alert(conn, opened.incident.id, "ann", "", ROUTES, NOW)

    person = threading.Thread(target=acknowledge)
    with transaction(engine) as conn:
        grave = replace(ALARM, effect=0.9)
        store.record(conn, pane=pane(1), readings=[grave], policy=POLICY, destinations=ROUTES, now=NOW)
        person.start()
        if engine.dialect.name == "postgresql":
            assert coming.wait(10)
    person.join(10)
    with transaction(engine) as conn:
        steps = conn.execute(sa.select(alert_transitions).order_by(alert_transitions.c.sequence)).all()
        stored = store.incident(conn, opened.incident.id)
    assert [(step.sequence, step.transition) for step in steps] == [
        (1, "opened"),
        (2, "escalated"),
        (3, "acknowledged"),
    ]
    assert stored is not None
    assert (stored.severity, stored.status, stored.transitions_total) == (Severity.CRITICAL, Status.ACKNOWLEDGED, 3)
