"""Which destination hears of what, each case with its reason."""

from datetime import UTC, datetime

import pytest

from detectors.base import MODEL, Kind, Level, Reading
from monitor.alerting import book
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef, Verdict
from monitor.alerting.routing import Route, Routing, route, routes_of
from monitor.config import Severity, SlackSettings

NOW = datetime(2026, 1, 2, tzinfo=UTC)
READING = Reading("d", Kind.DRIFT, MODEL, Level.ALARM, 9.0, 8.0, 0.1, "share of traffic", 0.0, None, "why")
OPENED = book.apply(None, READING, PaneRef("m", "", 1_700_000_000, 10), BookPolicy(), NOW)
assert OPENED.incident is not None
NEWS = Change(OPENED.incident, OPENED.transitions[0])
TAKEN = book.acknowledge(OPENED.incident, "ann", "", NOW)
MARKED = book.mark(OPENED.incident, Verdict.FALSE_ALARM, "ann", "", NOW)
CLOSED = book.resolve(OPENED.incident, "ann", "")


@pytest.mark.parametrize(
    ("change", "to", "told", "expected"),
    [
        (NEWS, Route("a"), False, Routing.OWED),
        (NEWS, Route("a", min_severity=Severity.WARNING), False, Routing.OWED),
        (NEWS, Route("a", min_severity=Severity.CRITICAL), False, Routing.BELOW_SEVERITY),
        (NEWS, Route("a", kinds=frozenset({"drift", "ood"})), False, Routing.OWED),
        (NEWS, Route("a", kinds=frozenset({"ood"})), False, Routing.OTHER_KIND),
        (CLOSED, Route("a"), True, Routing.OWED),
        (CLOSED, Route("a"), False, Routing.NEVER_TOLD),
        (CLOSED, Route("a", send_resolved=False), True, Routing.RESOLVES_OFF),
        (CLOSED, Route("a", min_severity=Severity.CRITICAL), True, Routing.OWED),
        (TAKEN, Route("a"), True, Routing.OWED),
        (TAKEN, Route("a"), False, Routing.NEVER_TOLD),
        (TAKEN, Route("a", send_resolved=False), True, Routing.OWED),
        (MARKED, Route("a"), True, Routing.RECORD_ONLY),
        (MARKED, Route("a"), False, Routing.RECORD_ONLY),
    ],
)
def test_route(change: Change, to: Route, told: bool, expected: Routing) -> None:
    assert route(change, to, told) is expected


def test_routes_come_from_settings() -> None:
    slack = SlackSettings(
        type="slack",
        name="oncall",
        url="https://hooks.slack.com/services/T/B/x",
        min_severity=Severity.CRITICAL,
        kinds=("ood",),
        send_resolved=False,
    )
    assert routes_of([slack]) == (Route("oncall", Severity.CRITICAL, frozenset({"ood"}), False),)
