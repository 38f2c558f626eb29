"""The book over a made-up timeline: panes of ten seconds, one incident at a time."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.base import MODEL, Kind, Level, Reading, Subject, SubjectType
from monitor.alerting import book
from monitor.alerting.book import BookPolicy, Decision, Outcome
from monitor.alerting.incident import Incident, PaneRef, Status, TransitionKind, Verdict
from monitor.config import Severity
from monitor.errors import Conflict

THRESHOLD = math.log(60_480)
QUIET = THRESHOLD - math.log(100) - 0.1
HOVERING = THRESHOLD - 1.0
T0 = 1_700_000_000
NOW = datetime(2026, 1, 2, tzinfo=UTC)
POLICY = BookPolicy(quiet_panes=3, quiet_s=0, reopen_within_s=600)


def reading(evidence: float = THRESHOLD + 1, level: Level | None = None, **values: object) -> Reading:
    standing = level or (Level.ALARM if evidence >= THRESHOLD else Level.OK)
    base = Reading(
        detector="marginals",
        kind=Kind.DRIFT,
        subject=MODEL,
        level=standing,
        log_evidence=evidence,
        log_threshold=THRESHOLD,
        effect=0.1,
        effect_unit="share of traffic",
        minimum_effect=0.02,
        since=T0 - 60.0,
        reason="amount has moved up",
    )
    return replace(base, **values)


def pane(number: int) -> PaneRef:
    return PaneRef("fraud-scorer", "3", T0 + 10 * number, 10)


def end(number: int) -> datetime:
    return datetime.fromtimestamp(T0 + 10 * number + 10, UTC)


class Timeline:
    """Feeds the book one reading a pane and keeps what it said."""

    def __init__(self, policy: BookPolicy = POLICY) -> None:
        self.policy = policy
        self.incident: Incident | None = None
        self.outcomes: list[Outcome] = []
        self.number = 0

    def feed(self, *evidences: float | Reading | None) -> Sequence[Decision]:
        for item in evidences:
            if item is None:
                assert self.incident is not None
                outcome = book.absent(self.incident, pane(self.number), self.policy)
            else:
                given_reading = item if isinstance(item, Reading) else reading(item)
                outcome = book.apply(self.incident, given_reading, pane(self.number), self.policy, NOW)
            self.incident = outcome.incident
            self.outcomes.append(outcome)
            self.number += 1
        return [outcome.decision for outcome in self.outcomes[-len(evidences) :]]

    @property
    def transitions(self) -> list[str]:
        return [step.transition.value for outcome in self.outcomes for step in outcome.transitions]


def test_a_hundred_alarms_are_one_incident() -> None:
    line = Timeline()
    decisions = line.feed(*[THRESHOLD + 1] * 100)
    assert decisions == [Decision.OPENED] + [Decision.COUNTED] * 99
    assert line.transitions == ["opened"]
    assert line.incident is not None
    assert line.incident.readings_total == 100
    assert (line.incident.opened_at, line.incident.last_seen_at) == (end(0), end(99))


def test_an_incident_opens_at_the_end_of_its_pane_with_the_facts_of_the_reading() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1)
    incident = line.incident
    assert incident is not None
    assert incident.opened_at == end(0)
    assert incident.onset_at == datetime.fromtimestamp(T0 - 60, UTC)
    assert incident.title == "Inputs of fraud-scorer have drifted"
    assert incident.reason == "amount has moved up"
    assert incident.created_at == NOW
    (step,) = line.outcomes[0].transitions
    assert (step.sequence, step.event_time, step.actor) == (1, end(0), "vedette")


@pytest.mark.parametrize(
    ("evidence", "level", "why"),
    [
        (QUIET, Level.OK, "nothing is wrong"),
        (HOVERING, Level.WARNING, "a warning opens nothing"),
        (-math.inf, Level.WARMING, "not enough data is no alarm"),
        (THRESHOLD + 5, Level.OK, "the level decides: evidence without effect is no alarm"),
    ],
)
def test_without_an_alarm_nothing_opens(evidence: float, level: Level, why: str) -> None:
    outcome = book.apply(None, reading(evidence, level), pane(0), POLICY, NOW)
    assert outcome == Outcome(Decision.IGNORED, None), why


def test_quiet_panes_in_a_row_resolve() -> None:
    line = Timeline()
    decisions = line.feed(THRESHOLD + 1, QUIET, QUIET, QUIET)
    assert decisions == [Decision.OPENED, Decision.QUIETING, Decision.QUIETING, Decision.RESOLVED]
    assert line.incident is not None
    assert line.incident.status is Status.RESOLVED
    assert line.incident.resolved_at == end(3)
    assert line.outcomes[-1].transitions[0].actor == "vedette"


def test_between_quiet_and_alarm_nothing_happens_and_quiet_starts_over() -> None:
    line = Timeline()
    decisions = line.feed(THRESHOLD + 1, QUIET, QUIET, HOVERING, QUIET, QUIET, HOVERING)
    assert decisions[3] is Decision.UNSETTLED
    assert line.transitions == ["opened"]
    assert line.feed(QUIET, QUIET, QUIET)[-1] is Decision.RESOLVED


def test_an_alarm_starts_quiet_over() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1, QUIET, QUIET, THRESHOLD + 1, QUIET, QUIET)
    assert line.incident is not None
    assert line.incident.quiet_panes == 2
    assert line.transitions == ["opened"]


def test_panes_without_a_reading_are_quiet_too() -> None:
    line = Timeline()
    assert line.feed(THRESHOLD + 1, None, QUIET, None)[-1] is Decision.RESOLVED


def quiet_until_resolved(kind: Kind, width_s: float, most: int) -> int | None:
    """How many panes without a word of the subject it takes to resolve an incident of ``kind``, by default."""
    first = PaneRef("fraud-scorer", "3", T0, width_s)
    outcome = book.apply(None, reading(kind=kind), first, BookPolicy(), NOW)
    for number in range(1, most + 1):
        assert outcome.incident is not None
        outcome = book.absent(outcome.incident, replace(first, start=T0 + number * width_s), BookPolicy())
        if outcome.decision is Decision.RESOLVED:
            return number
        assert outcome.decision is Decision.QUIETING
    return None


@pytest.mark.parametrize(
    ("kind", "width_s", "panes", "why"),
    [
        (Kind.DRIFT, 10, 360, "an hour of narrow panes"),
        (Kind.OOD, 60, 60, "an hour"),
        (Kind.QUALITY, 300, 12, "an hour, however few panes it holds"),
        (Kind.PERFORMANCE, 3_600, 3, "three panes at least"),
        (Kind.DRIFT, 86_400, 3, "three panes, not a month"),
        (Kind.EXTRACTION, 10, 8_640, "a day of narrow panes"),
        (Kind.EVASION, 3_600, 24, "a day"),
        (Kind.EXTRACTION, 86_400, 3, "three panes at least"),
        (Kind.PIPELINE, 86_400, None, "only a person resolves it"),
    ],
)
def test_how_long_an_incident_has_to_be_quiet_depends_on_its_kind(
    kind: Kind, width_s: float, panes: int | None, why: str
) -> None:
    assert quiet_until_resolved(kind, width_s, most=(panes or 400) + 5) == panes, why


def test_a_client_that_asks_every_half_hour_is_one_alert_without_a_flap() -> None:
    line = Timeline(BookPolicy())
    thief = reading(kind=Kind.EXTRACTION, subject=Subject(SubjectType.CLIENT, "a"))
    for _ in range(10):
        line.feed(thief, *[None] * 180)
    assert line.transitions == ["opened"]


def test_time_alone_does_not_resolve_while_panes_are_unsettled() -> None:
    line = Timeline(BookPolicy())
    line.feed(THRESHOLD + 1, *[HOVERING] * 500)
    decisions = line.feed(*[QUIET] * 30)
    assert decisions == [Decision.QUIETING] * 29 + [Decision.RESOLVED]


@pytest.mark.parametrize(
    ("kind", "hours", "decision"),
    [
        (Kind.DRIFT, 1, Decision.REOPENED),
        (Kind.DRIFT, 1.1, Decision.OPENED),
        (Kind.EXTRACTION, 24, Decision.REOPENED),
        (Kind.EXTRACTION, 24.1, Decision.OPENED),
    ],
)
def test_how_soon_an_alarm_reopens_depends_on_the_kind(kind: Kind, hours: float, decision: Decision) -> None:
    line = Timeline(BookPolicy(quiet_panes=1, quiet_s=0, attack_quiet_s=0))
    line.feed(reading(kind=kind), None)
    line.number += int(hours * 360) - 1
    assert line.feed(reading(kind=kind)) == [decision]


def test_severity_rises_once_and_never_falls_while_open() -> None:
    line = Timeline()
    mild, grave = reading(effect=0.1), reading(effect=0.4)
    assert line.feed(mild, grave, mild, grave) == [
        Decision.OPENED,
        Decision.ESCALATED,
        Decision.COUNTED,
        Decision.COUNTED,
    ]
    assert line.incident is not None
    assert line.incident.severity is Severity.CRITICAL
    assert [(s.transition, s.severity) for o in line.outcomes for s in o.transitions] == [
        (TransitionKind.OPENED, Severity.WARNING),
        (TransitionKind.ESCALATED, Severity.CRITICAL),
    ]


def test_an_incident_shows_its_strongest_reading() -> None:
    line = Timeline()
    line.feed(
        reading(THRESHOLD + 1, reason="first"),
        reading(THRESHOLD + 9, reason="peak", effect=0.2),
        reading(THRESHOLD + 2, reason="fading", effect=0.05),
    )
    assert line.incident is not None
    assert (line.incident.reason, line.incident.effect) == ("peak", 0.2)
    assert line.incident.log_evidence == THRESHOLD + 9


def test_a_larger_effect_with_less_evidence_keeps_the_peak_of_the_evidence() -> None:
    line = Timeline()
    line.feed(reading(THRESHOLD + 9, reason="first"), reading(THRESHOLD + 1, reason="larger", effect=0.25))
    assert line.incident is not None
    assert (line.incident.reason, line.incident.log_evidence) == ("larger", THRESHOLD + 9)


def test_an_alarm_soon_after_resolution_reopens_the_same_alert() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1, QUIET, QUIET, QUIET)
    first = line.incident
    assert line.feed(QUIET, THRESHOLD + 1) == [Decision.IGNORED, Decision.REOPENED]
    assert first is not None
    assert line.incident is not None
    assert line.incident.id == first.id
    assert line.incident.status is Status.OPEN
    assert line.incident.resolved_at is None
    assert line.transitions == ["opened", "resolved", "reopened"]
    assert [s.sequence for o in line.outcomes for s in o.transitions] == [1, 2, 3]


def test_reopening_forgets_who_acknowledged() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1)
    assert line.incident is not None
    line.incident = book.acknowledge(line.incident, "ann", "", NOW).incident
    line.feed(QUIET, QUIET, QUIET, THRESHOLD + 1)
    assert line.incident.acknowledged_by is None
    assert line.incident.status is Status.OPEN


def test_an_alarm_long_after_resolution_opens_another_alert() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1, QUIET, QUIET, QUIET)
    first = line.incident
    line.number += 61
    assert line.feed(THRESHOLD + 1) == [Decision.OPENED]
    assert first is not None
    assert line.incident is not None
    assert line.incident.id != first.id


def test_what_a_person_resolved_stays_resolved_and_an_alarm_that_goes_on_opens_another() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1, THRESHOLD + 1)
    assert line.incident is not None
    change = book.resolve(line.incident, "ann", "known release")
    assert (change.transition.actor, change.transition.note) == ("ann", "known release")
    assert change.transition.event_time == end(1)
    line.incident = change.incident
    assert line.feed(THRESHOLD + 1) == [Decision.OPENED]
    assert line.incident.id != change.incident.id


def test_acknowledging_names_who_and_goes_on_counting() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1)
    assert line.incident is not None
    change = book.acknowledge(line.incident, " ann ", " on it ", NOW)
    assert change.incident.status is Status.ACKNOWLEDGED
    assert (change.incident.acknowledged_by, change.incident.acknowledged_at) == ("ann", NOW)
    assert (change.transition.sequence, change.transition.note) == (2, "on it")
    line.incident = change.incident
    assert line.feed(THRESHOLD + 1, reading(effect=0.5)) == [Decision.COUNTED, Decision.ESCALATED]
    assert line.incident.status is Status.ACKNOWLEDGED


def test_people_cannot_do_what_is_done_already() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1)
    assert line.incident is not None
    taken = book.acknowledge(line.incident, "ann", "", NOW).incident
    with pytest.raises(Conflict, match="already acknowledged by ann"):
        book.acknowledge(taken, "bob", "", NOW)
    closed = book.resolve(taken, "bob", "").incident
    with pytest.raises(Conflict, match="already resolved"):
        book.resolve(closed, "ann", "")
    with pytest.raises(Conflict, match="already resolved"):
        book.acknowledge(closed, "ann", "", NOW)


def test_the_same_pane_again_changes_nothing() -> None:
    line = Timeline()
    line.feed(THRESHOLD + 1, THRESHOLD + 1)
    line.number = 1
    before = line.incident
    assert line.feed(THRESHOLD + 1) == [Decision.REPEATED]
    assert line.incident == before
    line.feed(QUIET, QUIET, QUIET)
    line.number = 0
    assert line.feed(THRESHOLD + 1) == [Decision.REPEATED]


def test_replay_gives_identical_ids() -> None:
    evidences = [THRESHOLD + 1, QUIET, QUIET, QUIET, THRESHOLD + 2, QUIET]
    first, second = Timeline(), Timeline()
    first.feed(*evidences)
    second.feed(*evidences)
    assert first.outcomes == second.outcomes
    ids = [s.id for o in first.outcomes for s in o.transitions]
    assert len(set(ids)) == len(ids) == 3


def test_ids_tell_model_version_kind_subject_and_opening_apart() -> None:
    client = Subject(SubjectType.CLIENT, "a")
    readings = [
        reading(),
        reading(kind=Kind.OOD),
        reading(subject=client),
        reading(subject=replace(client, id="b")),
        reading(subject=Subject(SubjectType.FEATURE, "a")),
    ]
    panes = [pane(0), pane(1), replace(pane(0), model="other"), replace(pane(0), version="4")]
    opened = [book.apply(None, r, p, POLICY, NOW).incident for r in readings for p in panes]
    assert len({item.id for item in opened if item}) == len(readings) * len(panes)


def test_one_reading_speaks_for_each_identity() -> None:
    loud, quiet = reading(THRESHOLD + 3, detector="loud"), reading(-math.inf, detector="quiet")
    sure_but_small = reading(THRESHOLD + 9, Level.OK, detector="small")
    other = reading(kind=Kind.OOD)
    leading = book.leading_readings([quiet, loud, sure_but_small, other])
    assert {r.detector for r in leading.values() if r.kind is Kind.DRIFT} == {"loud"}
    assert len(leading) == 2


def test_hostile_values_are_made_storable() -> None:
    client = "a\x00b\ud800" + "x" * 1_000
    hostile = reading(
        math.inf,
        Level.ALARM,
        subject=Subject(SubjectType.CLIENT, client, (client,)),
        effect=math.nan,
        since=math.inf,
        reason="r\x00" * 5_000,
        detail={"n": math.nan, "deep": {"a": [1, float("inf"), "\x00"]}, "many": list(range(10_000))},
    )
    incident = book.apply(None, hostile, pane(0), POLICY, NOW).incident
    assert incident is not None
    text = repr(incident)
    assert "\\x00" not in text
    assert "\\ud800" not in text
    assert len(incident.subject.id) <= 256
    assert len(incident.reason) <= 2_000
    assert incident.onset_at is None
    assert math.isfinite(incident.log_evidence)
    assert math.isfinite(incident.effect)
    assert incident.detail["n"] is None
    assert len(incident.detail["many"]) <= 500
    assert incident.identity == book.identity_of(hostile)
    assert book.apply(incident, hostile, pane(1), POLICY, NOW + timedelta(days=1)).decision is Decision.COUNTED


@given(st.lists(st.sampled_from([QUIET, HOVERING, THRESHOLD + 1, None]), max_size=60))
def test_every_timeline_alternates_between_open_and_resolved(evidences: list[float | None]) -> None:
    """Whatever comes, transitions of one alert are numbered without gaps and every resolve closes an opening."""
    line = Timeline()
    for item in evidences:
        line.feed(-math.inf if item is None and line.incident is None else item)
    steps = [step for outcome in line.outcomes for step in outcome.transitions]
    for alert in {step.alert_id for step in steps}:
        own = [step for step in steps if step.alert_id == alert]
        assert [step.sequence for step in own] == list(range(1, len(own) + 1))
        kinds = [step.transition for step in own]
        assert kinds[0] is TransitionKind.OPENED
        assert all(kind is TransitionKind.RESOLVED for kind in kinds[1::2])
        assert all(kind is TransitionKind.REOPENED for kind in kinds[2::2])
        assert [step.event_time for step in own] == sorted({step.event_time for step in own})


def alarmed() -> tuple[Timeline, Incident]:
    line = Timeline()
    line.feed(THRESHOLD + 1)
    assert line.incident is not None
    return line, line.incident


def test_a_verdict_is_written_down_and_changes_nothing_else() -> None:
    _, incident = alarmed()
    change = book.mark(incident, Verdict.FALSE_ALARM, " ann ", " load test ", NOW)
    expected = replace(incident, verdict=Verdict.FALSE_ALARM, verdict_by="ann", verdict_at=NOW, transitions_total=2)
    assert change.incident == expected
    step = change.transition
    assert (step.transition, step.sequence) == (TransitionKind.MARKED_FALSE_ALARM, 2)
    assert (step.actor, step.note) == ("ann", "load test")


def test_a_verdict_can_be_changed_and_taken_back_but_not_repeated() -> None:
    _, incident = alarmed()
    with pytest.raises(Conflict, match="not marked"):
        book.mark(incident, None, "ann", "", NOW)
    false = book.mark(incident, Verdict.FALSE_ALARM, "ann", "", NOW).incident
    with pytest.raises(Conflict, match="already marked false_alarm by ann"):
        book.mark(false, Verdict.FALSE_ALARM, "bob", "", NOW)
    real = book.mark(false, Verdict.REAL, "bob", "", NOW)
    assert (real.incident.verdict, real.incident.verdict_by) == (Verdict.REAL, "bob")
    taken_back = book.mark(real.incident, None, "ann", "", NOW)
    assert taken_back.transition.transition is TransitionKind.UNMARKED
    assert taken_back.incident == replace(incident, transitions_total=4)


@pytest.mark.parametrize(
    ("verdict", "person_resolves", "decision", "why"),
    [
        (None, False, Decision.REOPENED, "it came back"),
        (Verdict.REAL, False, Decision.REOPENED, "the same trouble came back"),
        (Verdict.FALSE_ALARM, False, Decision.OPENED, "a person has settled the old one"),
        (Verdict.FALSE_ALARM, True, Decision.OPENED, "a person has settled the old one"),
        (None, True, Decision.OPENED, "what a person resolved stays resolved"),
    ],
)
def test_what_a_person_called_a_false_alarm_and_is_resolved_stays_resolved(
    verdict: Verdict | None, person_resolves: bool, decision: Decision, why: str
) -> None:
    line, incident = alarmed()
    if verdict is not None:
        incident = book.mark(incident, verdict, "ann", "", NOW).incident
    if person_resolves:
        line.incident = book.resolve(incident, "ann", "").incident
    else:
        line.incident = incident
        line.feed(QUIET, QUIET, QUIET)
        assert line.incident.status is Status.RESOLVED
    assert line.feed(THRESHOLD + 1) == [decision], why
    assert line.incident.verdict is (verdict if decision is Decision.REOPENED else None)


def test_an_open_alert_that_is_called_false_goes_on_counting_and_resolves_by_itself() -> None:
    line, incident = alarmed()
    line.incident = book.mark(incident, Verdict.FALSE_ALARM, "ann", "", NOW).incident
    assert line.feed(THRESHOLD + 1, QUIET, QUIET, QUIET)[-1] is Decision.RESOLVED
    assert line.incident.verdict is Verdict.FALSE_ALARM


class TestSpecificity:
    """Two detectors, one incident: what explains more speaks for it."""

    def test_of_two_alarms_the_more_specific_one_leads_however_sure_the_other_is(self) -> None:
        vague = reading(THRESHOLD + 200, detector="joint", specificity=0)
        plain = reading(THRESHOLD + 1)
        [leading] = book.leading_readings([vague, plain]).values()
        assert leading is plain
        [leading] = book.leading_readings([vague, reading(THRESHOLD - 1)]).values()
        assert leading is vague

    def test_an_incident_shows_the_specific_facts_once_they_come_and_keeps_them(self) -> None:
        policy = BookPolicy()
        vague = reading(THRESHOLD + 200, detector="joint", specificity=0, reason="something changed")
        opened = book.apply(None, vague, pane(0), policy, NOW).incident
        assert opened is not None
        assert opened.reason == "something changed"
        told = book.apply(opened, reading(THRESHOLD + 1), pane(1), policy, NOW).incident
        assert told is not None
        assert (told.detector, told.reason) == ("marginals", "amount has moved up")
        kept = book.apply(told, vague, pane(2), policy, NOW).incident
        assert kept is not None
        assert (kept.detector, kept.readings_total) == ("marginals", 3)
