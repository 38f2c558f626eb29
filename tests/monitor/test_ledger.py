"""The ledger's arithmetic: what is allowed, what is spent, and how much a count says about a rate."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from scipy.stats import poisson

from detectors.budget import WEEK_S
from monitor.ledger import Tally, ledger, poisson_interval, total
from monitor.queries import LedgerRow

UNTIL = datetime(2026, 3, 2, tzinfo=UTC)
SHARES = {"ood": 0.25, "drift": 0.75}


def book(weeks: float = 1.0, alarms_per_week: float = 1.0, **tallies: Tally) -> LedgerRow:
    return ledger(UNTIL - timedelta(weeks=4), UNTIL, weeks * WEEK_S, alarms_per_week, SHARES, tallies)


def test_what_is_allowed_is_the_budget_over_the_time_watched() -> None:
    assert book(weeks=0.5, alarms_per_week=3.0).allowed == pytest.approx(1.5)
    assert book(weeks=0).allowed == 0.0


def test_each_detector_has_its_share_and_the_largest_comes_first() -> None:
    lines = book(weeks=4).detectors
    assert [(line.detector, line.share, line.allowed) for line in lines] == [("drift", 0.75, 3.0), ("ood", 0.25, 1.0)]


def test_false_alarms_are_spent_real_ones_are_not_and_the_rest_waits() -> None:
    row = book(weeks=2, drift=Tally(5, false_alarms=2, real=1), ood=Tally(1, real=1))
    assert (row.alerts, row.false_alarms, row.real, row.unmarked) == (6, 2, 2, 2)
    assert row.false_alarms_per_week == pytest.approx(1.0)
    assert [(line.false_alarms, line.unmarked) for line in row.detectors] == [(2, 2), (0, 0)]


def test_the_alerts_of_a_detector_without_a_share_are_not_lost() -> None:
    row = book(retired=Tally(3, false_alarms=1))
    assert (row.alerts, row.false_alarms) == (3, 1)
    last = row.detectors[-1]
    assert (last.detector, last.share, last.allowed, last.alerts) == ("retired", 0.0, 0.0, 3)


def test_where_nothing_was_watched_there_is_no_rate() -> None:
    row = book(weeks=0, drift=Tally(1, false_alarms=1))
    assert row.false_alarms_per_week is None
    assert row.false_alarms_per_week_low is None
    assert row.false_alarms_per_week_high is None


def test_the_rate_s_interval_is_that_of_the_count_over_the_weeks_watched() -> None:
    row = book(weeks=4, drift=Tally(3, false_alarms=3))
    low, high = poisson_interval(3)
    assert (row.false_alarms_per_week_low, row.false_alarms_per_week_high) == pytest.approx((low / 4, high / 4))


@pytest.mark.parametrize("count", [1, 2, 7, 40, 1_000])
def test_at_each_limit_the_count_is_in_the_outer_fortieth(count: int) -> None:
    """The definition of the exact interval, by the distribution of the count itself."""
    low, high = poisson_interval(count)
    assert poisson.sf(count - 1, low) == pytest.approx(0.025, rel=1e-6)
    assert poisson.cdf(count, high) == pytest.approx(0.025, rel=1e-6)


def test_no_false_alarm_at_all_still_leaves_room_for_a_rate() -> None:
    assert poisson_interval(0) == pytest.approx((0.0, -math.log(0.025)))


@pytest.mark.parametrize("mean", [0.2, 1.0, 3.3, 12.0])
def test_the_interval_covers_the_mean_at_least_as_often_as_it_says(mean: float) -> None:
    counts = range(200)
    covered = sum(poisson.pmf(n, mean) for n in counts if poisson_interval(n)[0] <= mean <= poisson_interval(n)[1])
    assert covered >= 0.95


def test_tallies_add_up() -> None:
    assert total([]) == Tally()
    assert total([Tally(3, 1, 1), Tally(2, 0, 2)]) == Tally(5, 1, 3)
